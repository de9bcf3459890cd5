#include "clipself/datasets/voc.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <pugixml.hpp>
#include <set>
#include <sstream>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/annotations.h"
#include "clipself/datasets/class_lists.h"
#include "clipself/formats/image.h"

namespace clipself::datasets {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

[[noreturn]] void bad_voc(const fs::path& path, const std::string& found, const std::string& expected) {
  throw Error({.doing = "reading VOC annotations", .where = path.string(), .found = found, .expected = expected});
}

/// The images of a split, in order: the first word of each line (lists of one class have a second).
std::vector<std::string> names_of_split(const fs::path& path) {
  std::istringstream lines(read_text(path));
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    if (!(words >> name)) continue;
    if (!simdjson::validate_utf8(name.data(), name.size())) bad_voc(path, "a name in another encoding", "UTF-8");
    if (!seen.insert(name).second) bad_voc(path, "'" + name + "' a second time", "each image once");
    names.push_back(name);
  }
  if (names.empty()) bad_voc(path, "no images", "a name a line");
  return names;
}

/// 000012 is 12; nothing for 2008_000012.
std::optional<std::int64_t> as_id(const std::string& name) {
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc() || end != name.data() + name.size() || id < 0) return std::nullopt;
  return id;
}

/// Ids by number where every name has one of its own, otherwise 1, 2, ...
std::vector<std::int64_t> image_ids(const std::vector<std::string>& names) {
  std::vector<std::int64_t> ids;
  std::set<std::int64_t> seen;
  for (const auto& name : names) {
    const auto id = as_id(name);
    if (!id || !seen.insert(*id).second) break;
    ids.push_back(*id);
  }
  if (ids.size() == names.size()) return ids;
  ids.clear();
  for (std::size_t i = 0; i < names.size(); ++i) ids.push_back(static_cast<std::int64_t>(i) + 1);
  return ids;
}

/// XML writes "diningtable", the class list "dining table".
std::string without_blanks(std::string name) {
  std::erase(name, ' ');
  return name;
}

class VocFile {
 public:
  explicit VocFile(fs::path path) : path_(std::move(path)) {
    const MappedFile file(path_);
    const auto result = document_.load_buffer(file.bytes().data(), file.size());
    if (!result) {
      bad_voc(path_, fmt::format("{} at byte {}", result.description(), result.offset),
              "an <annotation> of Pascal VOC");
    }
    root_ = document_.child("annotation");
    if (!root_) bad_voc(path_, "no <annotation>", "an <annotation> of Pascal VOC");
  }

  /// Width and height; those of the picture where the file does not say.
  std::array<int, 2> size(const fs::path& picture) const {
    const auto element = root_.child("size");
    if (!element) {
      const auto image = formats::read_image(picture);
      return {image.width, image.height};
    }
    return {pixel(element, "width", 1), pixel(element, "height", 1)};
  }

  pugi::xml_object_range<pugi::xml_named_node_iterator> objects() const { return root_.children("object"); }

  std::string text(const pugi::xml_node& element, const char* name) const {
    const auto child = element.child(name);
    if (!child) bad_voc(path_, fmt::format("no <{}> in <{}>", name, element.name()), "one");
    return child.text().get();
  }

  /// A number without its fraction.
  int pixel(const pugi::xml_node& element, const char* name, int least) const {
    constexpr double kFarthest = 1 << 20;
    const std::string written = text(element, name);
    std::istringstream stream(written);
    double number = 0;
    stream >> number;
    if (!stream || !(stream >> std::ws).eof() || !(std::abs(number) <= kFarthest) || number < least)
      bad_voc(path_, fmt::format("'{}' in <{}>", written, name), fmt::format("a number of pixels, {} or more", least));
    return static_cast<int>(number);
  }

  std::array<int, 4> corners(const pugi::xml_node& object) const {
    const auto box = object.child("bndbox");
    if (!box) bad_voc(path_, "an <object> without <bndbox>", "one");
    const std::array<int, 4> corners{pixel(box, "xmin", 0), pixel(box, "ymin", 0), pixel(box, "xmax", 0),
                                     pixel(box, "ymax", 0)};
    if (corners[2] < corners[0] || corners[3] < corners[1])
      bad_voc(path_, fmt::format("a box from {}, {} to {}, {}", corners[0], corners[1], corners[2], corners[3]),
              "xmin <= xmax and ymin <= ymax");
    return corners;
  }

 private:
  fs::path path_;
  pugi::xml_document document_;
  pugi::xml_node root_;
};

}  // namespace

VocCounts voc_to_coco(const fs::path& root, const std::string& split, const fs::path& out) {
  const auto names = names_of_split(resolve_below(root / "ImageSets" / "Main", split + ".txt"));
  const auto ids = image_ids(names);
  Json categories = Json::array(), images = Json::array(), annotations = Json::array();
  std::map<std::string, std::int64_t> category_ids;
  for (const auto& name : class_list("voc", "classes")) {
    const auto id = static_cast<std::int64_t>(categories.size()) + 1;
    category_ids.emplace(without_blanks(name), id);
    categories.push_back({{"id", id}, {"name", name}});
  }
  VocCounts counts;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const VocFile file(resolve_below(root / "Annotations", names[i] + ".xml"));
    const std::string picture = "JPEGImages/" + names[i] + ".jpg";
    const auto [width, height] = file.size(resolve_below(root, picture));
    images.push_back({{"id", ids[i]}, {"file_name", picture}, {"width", width}, {"height", height}});
    ++counts.images;
    for (const auto& object : file.objects()) {
      const auto category = category_ids.find(without_blanks(file.text(object, "name")));
      if (category == category_ids.end()) continue;
      const bool difficult = object.child("difficult") && file.pixel(object, "difficult", 0) != 0;
      const auto [x0, y0, x1, y1] = file.corners(object);
      const std::int64_t across = x1 - x0, down = y1 - y0;
      annotations.push_back({{"id", annotations.size() + 1},
                             {"image_id", ids[i]},
                             {"category_id", category->second},
                             {"bbox", {x0 - 1, y0 - 1, across, down}},
                             {"area", across * down},
                             {"iscrowd", 0},
                             {"ignore", difficult ? 1 : 0}});
      ++counts.objects;
      counts.difficult += difficult ? 1 : 0;
    }
  }
  if (counts.objects == 0) bad_voc(root, "no objects in the images of " + split, "objects of the 20 classes");
  const Json coco{
      {"images", std::move(images)}, {"annotations", std::move(annotations)}, {"categories", std::move(categories)}};
  write_text(out, coco.dump() + "\n");
  return counts;
}

}  // namespace clipself::datasets
