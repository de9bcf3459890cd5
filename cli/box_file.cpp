#include "cli/box_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/annotations.h"
#include "clipself/formats/image.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;
using BoxesByName = std::map<std::string, std::vector<NamedBox>>;

[[noreturn]] void bad_boxes(const fs::path& path, const std::string& found, const std::string& expected) {
  throw Error({.doing = "reading --boxes", .where = path.string(), .found = found, .expected = expected});
}

BoxesByName coco_boxes(const fs::path& path) {
  const auto index = datasets::read_coco(path);
  BoxesByName boxes;
  for (std::size_t i = 0; i < index.images.size(); ++i)
    for (const datasets::Annotation& annotation : index.annotations_of(i)) {
      const auto& [x, y, w, h] = annotation.bbox;
      if (!annotation.has_bbox() || annotation.is_crowd || !(w > 0 && h > 0)) continue;
      const auto* category = index.find_category(annotation.category_id);
      boxes[index.images[i].file_name].push_back({{x, y, x + w, y + h}, category == nullptr ? "" : category->name});
    }
  return boxes;
}

BoxesByName plain_boxes(const fs::path& path, const nlohmann::json& document) {
  BoxesByName boxes;
  for (const auto& [name, list] : document.items()) {
    if (!list.is_array()) bad_boxes(path, "no list at '" + name + "'", "[[x, y, width, height], ...]");
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto& row = list[i];
      const bool numbers = row.is_array() && row.size() == 4 &&
                           std::all_of(row.begin(), row.end(), [](const auto& value) { return value.is_number(); });
      if (!numbers) bad_boxes(path, fmt::format("box {} of '{}'", i, name), "four numbers: x, y, width, height");
      const auto values = row.template get<std::vector<double>>();
      boxes[name].push_back({{values[0], values[1], values[0] + values[2], values[1] + values[3]}, ""});
    }
  }
  return boxes;
}

BoxesByName all_boxes(const fs::path& path) {
  const MappedFile file(path);
  // Large files are COCO's; the parser that builds trees is for small ones.
  constexpr std::size_t kSmall = std::size_t{1} << 26;
  if (file.size() < kSmall) {
    const auto document = nlohmann::json::parse(file.text(), nullptr, /*allow_exceptions=*/false);
    if (document.is_discarded()) bad_boxes(path, "no valid JSON", "JSON");
    if (!document.is_object()) bad_boxes(path, "no object", "COCO format, or an object of lists of boxes");
    if (!document.contains("images") && !document.contains("annotations")) return plain_boxes(path, document);
  }
  return coco_boxes(path);
}

// "a/b/c.jpg" ends with "b/c.jpg" and "c.jpg", not with "/c.jpg" or "d/c.jpg".
bool ends_with(const fs::path& path, const fs::path& end) {
  const std::string whole = path.lexically_normal().generic_string(), last = end.lexically_normal().generic_string();
  return whole == last || whole.ends_with("/" + last);
}

}  // namespace

std::map<fs::path, std::vector<NamedBox>> read_boxes(const fs::path& path, const std::vector<fs::path>& pictures) {
  require_file(path, "--boxes");
  const BoxesByName boxes = all_boxes(path);
  std::map<fs::path, std::vector<NamedBox>> result;
  for (const fs::path& picture : pictures) {
    for (const auto& [name, list] : boxes) {
      const bool meant = ends_with(picture, name) || ends_with(name, picture);
      if (!meant || list.empty()) continue;
      const formats::Image image = formats::read_image(picture);
      for (std::size_t i = 0; i < list.size(); ++i) {
        const auto& [x0, y0, x1, y1] = list[i].box;
        const bool inside = x1 > x0 && y1 > y0 && x1 > 0 && y1 > 0 && x0 < image.width && y0 < image.height &&
                            std::isfinite(x0 + y0 + x1 + y1);
        if (!inside)
          bad_boxes(path, fmt::format("box {} of '{}': {}, {}, {} x {}", i, name, x0, y0, x1 - x0, y1 - y0),
                    fmt::format("one of some size within {} x {} pixels", image.width, image.height));
      }
      result[picture].insert(result[picture].end(), list.begin(), list.end());
    }
  }
  if (result.empty())
    bad_boxes(path, "no box for any of the pictures", "their file names: " + pictures.front().filename().string());
  return result;
}

}  // namespace clipself::cli
