#include "clipself/models/html_entities.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

namespace clipself::models {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

/// Name, with its semicolon where it needs one -> what it stands for.
const std::unordered_map<std::u32string, std::u32string>& named_references() {
  static const auto table = [] {
    std::unordered_map<std::u32string, std::u32string> all;
    const std::string_view text = kHtmlEntities;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find_first_of(" \n", at), text.size());
      const auto entry = text.substr(at, end - at);
      at = end + 1;
      const auto colon = entry.find(':');
      if (colon == entry.npos) continue;
      std::u32string value;
      for (const char *digit = entry.data() + colon + 1, *last = entry.data() + entry.size(); digit < last; ++digit) {
        std::uint32_t code = 0;
        digit = std::from_chars(digit, last, code, 16).ptr;
        value += static_cast<char32_t>(code);
      }
      auto name = entry.substr(0, colon);
      const bool bare = name.ends_with('!');
      if (bare) name.remove_suffix(1);
      std::u32string key(name.begin(), name.end());
      if (bare) all.emplace(key, value);
      all.emplace(key + U';', value);
    }
    return all;
  }();
  return table;
}

/// Windows-1252's characters at 0x80 to 0x9F, which old pages mean by those numbers.
constexpr char32_t kWindows1252[32] = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                       0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                       0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                       0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};

std::u32string numeric_reference(std::uint32_t code) {
  if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return {kReplacement};
  if (code >= 0x80 && code <= 0x9F) return {kWindows1252[code - 0x80]};
  const bool control = (code < 0x20 && code != '\t' && code != '\n' && code != '\f' && code != '\r') || code == 0x7F;
  const bool nothing = (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
  if (control || nothing) return {};
  return {static_cast<char32_t>(code)};
}

int digit_value(char32_t c, int base) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (base == 16 && c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (base == 16 && c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

/// The reference whose "&#" ends before `at`: appends what it stands for and returns where it ends; `at` when it is
/// none.
std::size_t take_numeric(std::u32string_view text, std::size_t at, std::u32string& out) {
  std::size_t i = at;
  const int base = i < text.size() && (text[i] == 'x' || text[i] == 'X') ? 16 : 10;
  if (base == 16) ++i;
  const std::size_t first = i;
  std::uint32_t code = 0;
  for (; i < text.size(); ++i) {
    const int digit = digit_value(text[i], base);
    if (digit < 0) break;
    code =
        std::min<std::uint32_t>(code * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit), 0x110000);
  }
  if (i == first) return at;
  out += numeric_reference(code);
  return i < text.size() && text[i] == ';' ? i + 1 : i;
}

/// The same for a name that begins at `at`, behind "&".
std::size_t take_named(std::u32string_view text, std::size_t at, std::u32string& out) {
  constexpr std::size_t kLongest = 32;
  std::size_t end = at;
  while (end < text.size() && end - at < kLongest &&
         std::u32string_view(U"\t\n\f <&#;").find(text[end]) == std::u32string_view::npos)
    ++end;
  if (end == at) return at;
  if (end < text.size() && text[end] == ';') ++end;
  const auto& table = named_references();
  const std::u32string name(text.substr(at, end - at));
  // The whole, whatever its length; of its beginnings those of at least two characters.
  for (std::size_t length = name.size(); length > 0; --length) {
    if (length == 1 && name.size() > 1) break;
    if (const auto found = table.find(name.substr(0, length)); found != table.end()) {
      out += found->second;
      return at + length;
    }
  }
  out += U'&';
  out += name;
  return end;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '&') {
      out += text[i++];
      continue;
    }
    const bool numeric = i + 1 < text.size() && text[i + 1] == '#';
    const std::size_t begin = i + (numeric ? 2 : 1);
    const std::size_t end = numeric ? take_numeric(text, begin, out) : take_named(text, begin, out);
    if (end == begin) {
      out += text[i++];
    } else {
      i = end;
    }
  }
  return out;
}

}  // namespace clipself::models
