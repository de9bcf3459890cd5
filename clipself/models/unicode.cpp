#include "clipself/models/unicode.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "clipself/base/error.h"

namespace clipself::models {
namespace {

constexpr std::size_t kLongestText = std::size_t{1} << 28;  // ICU counts in 32 bits

icu::UnicodeString to_icu(std::u32string_view text) {
  if (text.size() > kLongestText)
    throw Error({.doing = "reading text", .found = std::to_string(text.size()) + " characters", .expected = "less"});
  return icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()),
                                       static_cast<int32_t>(text.size()));
}

std::u32string from_icu(const icu::UnicodeString& text) {
  std::u32string out;
  out.reserve(static_cast<std::size_t>(text.length()));
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) out += static_cast<char32_t>(text.char32At(i));
  return out;
}

bool is_python_space(char32_t c) {
  return is_space(c) || (c >= 0x1C && c <= 0x1F);
}

}  // namespace

std::u32string decode_utf8(std::string_view text) {
  if (text.size() > kLongestText)
    throw Error({.doing = "reading text", .found = std::to_string(text.size()) + " bytes", .expected = "less"});
  return from_icu(icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size()))));
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  to_icu(text).toUTF8String(out);
  return out;
}

std::u32string lower_case(std::u32string_view text) {
  return from_icu(to_icu(text).toLower(icu::Locale::getRoot()));
}

std::u32string compose(std::u32string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const auto* nfc = icu::Normalizer2::getNFCInstance(status);
  const auto composed = U_SUCCESS(status) ? nfc->normalize(to_icu(text), status) : icu::UnicodeString();
  if (U_FAILURE(status)) throw std::runtime_error(std::string("ICU cannot normalise text: ") + u_errorName(status));
  return from_icu(composed);
}

bool is_letter(char32_t c) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_L_MASK) != 0;
}

bool is_number(char32_t c) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_N_MASK) != 0;
}

bool is_space(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}

std::u32string_view strip(std::u32string_view text) {
  while (!text.empty() && is_python_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_python_space(text.back())) text.remove_suffix(1);
  return text;
}

std::u32string collapse_spaces(std::u32string_view text) {
  std::u32string out;
  bool in_run = false;
  for (const char32_t c : text) {
    const bool space = is_space(c);
    if (!space) out += c;
    if (space && !in_run) out += U' ';
    in_run = space;
  }
  return out;
}

std::u32string join_words(std::u32string_view text) {
  std::u32string out;
  bool gap = false;
  for (const char32_t c : text) {
    if (is_python_space(c)) {
      gap = !out.empty();
      continue;
    }
    if (gap) out += U' ';
    gap = false;
    out += c;
  }
  return out;
}

}  // namespace clipself::models
