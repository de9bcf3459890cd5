#include "clipself/datasets/class_lists.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/class_lists_data.h"
#include "clipself/datasets/json_walker.h"

namespace clipself::datasets {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::size_t kMostNames = 1 << 20;
constexpr std::size_t kLongestName = 1000;

const std::map<std::string, const char*, std::less<>>& class_list_table() {
  static const std::map<std::string, const char*, std::less<>> lists{
      {"ade20k", kAde20kNames},
      {"coco", kCocoNames},
      {"coco_panoptic", kCocoPanopticNames},
      {"lvis", kLvisNames},
      {"lvis_rare", kLvisRareNames},
      {"lvis_seen", kLvisSeenNames},
      {"objects365", kObjects365Names},
      {"ov_coco", kOvCocoNames},
      {"ov_coco_base", kOvCocoBaseNames},
      {"ov_coco_novel", kOvCocoNovelNames},
      {"pascal_context_59", kPascalContext59Names},
      {"voc", kVocNames},
  };
  return lists;
}

std::vector<std::string> unpack_names(std::string_view text) {
  std::vector<std::string> names;
  std::string name;
  for (const char c : text) {
    if (c == ';') {
      names.push_back(std::move(name));
      name.clear();
    } else if (c != '\n') {
      name += c;
    }
  }
  return names;
}

[[noreturn]] void bad_class_list(const std::string& path, const std::string& found, const std::string& expected) {
  throw Error({.doing = "reading class names", .where = path, .found = found, .expected = expected});
}

std::vector<std::string> names_of_lines(std::string_view text, const std::string& path) {
  std::vector<std::string> names;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size() && names.size() <= kMostNames;) {
    const auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (!simdjson::validate_utf8(line.data(), line.size()))
      bad_class_list(path, fmt::format("line {} in another encoding", number), "UTF-8");
    while (!line.empty() && std::string_view(" \t\r").find(line.back()) != std::string_view::npos)
      line.remove_suffix(1);
    if (!line.empty()) names.emplace_back(line);
  }
  return names;
}

std::vector<std::string> names_of_json(const MappedFile& file) {
  std::vector<std::string> names;
  try {
    ondemand::parser parser;
    auto document = parser.iterate(padded_text(file)).take_value();
    if (document.type().take_value() == ondemand::json_type::array) {
      for (auto name : document.get_array()) names.emplace_back(std::string_view(name.get_string()));
      return names;
    }
    std::map<std::int64_t, std::string> by_id;
    for (auto entry : document.find_field_unordered("categories").get_array()) {
      auto category = entry.get_object().take_value();
      const auto id = category.find_field_unordered("id").get_int64().take_value();
      by_id[id] = std::string(std::string_view(category.find_field_unordered("name").get_string()));
    }
    for (auto& [id, name] : by_id) names.push_back(std::move(name));
  } catch (const simdjson::simdjson_error& error) {
    bad_class_list(file.path().string(), error.what(), "a JSON array of names, or categories with id and name");
  }
  return names;
}

/// "cat, hot dog, tree": a comma-separated list, which no path looks like that has a folder in it.
std::vector<std::string> names_between_commas(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    const auto first = std::min(text.find_first_not_of(' ', at), end);
    const auto last = end == first ? end : text.find_last_not_of(' ', end - 1) + 1;
    names.emplace_back(text.substr(first, last - first));
    at = end + 1;
  }
  return names;
}

void check_names(const std::vector<std::string>& names, const std::string& source) {
  if (names.empty() || names.size() > kMostNames)
    bad_class_list(source, std::to_string(names.size()) + " names", "1 to " + std::to_string(kMostNames));
  for (const auto& name : names) {
    if (name.empty() || name.size() > kLongestName)
      bad_class_list(source, fmt::format("a name of {} bytes", name.size()), fmt::format("1 to {}", kLongestName));
    if (!simdjson::validate_utf8(name.data(), name.size())) bad_class_list(source, "another encoding", "UTF-8");
  }
}

}  // namespace

std::vector<std::string> known_class_lists() {
  std::vector<std::string> names;
  for (const auto& [name, list] : class_list_table()) names.push_back(name);
  return names;
}

std::vector<std::string> listed_names(const std::string& text) {
  auto names = names_between_commas(text);
  check_names(names, text.substr(0, 80));
  return names;
}

std::vector<std::string> class_list(const std::string& name_or_file, const std::string& flag) {
  const auto& lists = class_list_table();
  if (const auto found = lists.find(name_or_file); found != lists.end()) return unpack_names(found->second);
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(name_or_file, ignored)) {
    if (name_or_file.find(',') != std::string::npos && name_or_file.find('/') == std::string::npos)
      return listed_names(name_or_file);
    throw Error({.doing = flag,
                 .where = name_or_file,
                 .found = "neither a known list nor a file",
                 .expected = fmt::format("{}, a file of names, or names between commas",
                                         fmt::join(known_class_lists(), ", "))});
  }
  const MappedFile file(name_or_file);
  const auto head = file.text();
  const auto first = head.find_first_not_of(" \t\r\n");
  const bool json = first != head.npos && (head[first] == '[' || head[first] == '{');
  if (!json && head.substr(0, 4096).find('\0') != head.npos)
    bad_class_list(name_or_file, "bytes that are no text", "a name a line, or JSON");
  const auto names = json ? names_of_json(file) : names_of_lines(head, name_or_file);
  check_names(names, name_or_file);
  return names;
}

}  // namespace clipself::datasets
