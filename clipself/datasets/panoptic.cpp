#include "clipself/datasets/panoptic.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "clipself/base/error.h"
#include "clipself/datasets/regions.h"
#include "clipself/formats/image.h"

namespace clipself::datasets {
namespace {

using formats::Image;

// The PNG's colours as ids: red + 256 green + 65536 blue.
struct SegmentMap {
  int width = 0;
  int height = 0;
  std::vector<std::uint32_t> ids;
};

SegmentMap read_segment_map(const std::filesystem::path& path, const Image& image) {
  const Image png = formats::read_image(path);
  if (png.mode != formats::ImageMode::kRGB && png.mode != formats::ImageMode::kRGBA) {
    throw Error({.doing = "reading segments",
                 .where = path.string(),
                 .found = std::string("mode ") + formats::name(png.mode),
                 .expected = "an RGB image of segment ids"});
  }
  if (png.width != image.width || png.height != image.height) {
    throw Error({.doing = "reading segments",
                 .where = path.string(),
                 .found = std::to_string(png.width) + " x " + std::to_string(png.height) + " pixels",
                 .expected = std::to_string(image.width) + " x " + std::to_string(image.height) + " like its image"});
  }
  SegmentMap map{png.width, png.height, {}};
  const auto bytes = static_cast<std::size_t>(formats::bytes_per_pixel(png.mode));
  map.ids.reserve(png.pixels.size() / bytes);
  for (std::size_t i = 0; i < png.pixels.size(); i += bytes) {
    const std::uint8_t* p = png.pixels.data() + i;
    map.ids.push_back(static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
                      static_cast<std::uint32_t>(p[2]) << 16);
  }
  return map;
}

// First and last column and row of every id, in one pass.
struct Extent {
  int x0, y0, x1, y1;
};
std::unordered_map<std::uint32_t, Extent> extents_of(const SegmentMap& map) {
  std::unordered_map<std::uint32_t, Extent> extents;
  std::size_t i = 0;
  Extent* last = nullptr;
  std::uint32_t last_id = 0;
  for (int y = 0; y < map.height; ++y) {
    for (int x = 0; x < map.width; ++x, ++i) {
      const std::uint32_t id = map.ids[i];
      if (last == nullptr || id != last_id) {
        last = &extents.try_emplace(id, Extent{x, y, x, y}).first->second;
        last_id = id;
      }
      last->x0 = std::min(last->x0, x);
      last->x1 = std::max(last->x1, x);
      last->y1 = y;
    }
  }
  return extents;
}

at::Tensor mask_of(const SegmentMap& map, std::int64_t id) {
  at::Tensor mask = at::empty({map.height, map.width}, at::kBool);
  auto* out = mask.mutable_data_ptr<bool>();
  for (std::size_t i = 0; i < map.ids.size(); ++i) out[i] = map.ids[i] == id;
  return mask;
}

// The part of the image under `box` with everything that is not the segment at 114, in the image's own mode.
Image masked_crop(const Image& image, const SegmentMap& map, std::int64_t id, const ops::Box& box) {
  Image part = ops::crop(image, box);
  const int left = ops::round_half_even(box.x0);
  const int top = ops::round_half_even(box.y0);
  constexpr std::int32_t kFill = 114;
  const auto bytes = static_cast<std::size_t>(formats::bytes_per_pixel(image.mode));
  std::array<std::uint8_t, 4> fill{kFill, kFill, kFill, kFill};
  if (image.mode == formats::ImageMode::kI) std::memcpy(fill.data(), &kFill, sizeof(kFill));
  if (image.mode == formats::ImageMode::k1) fill.fill(255);  // a bilevel picture only knows zero and not zero
  for (int y = std::max(top, 0); y < std::min(top + part.height, map.height); ++y) {
    for (int x = std::max(left, 0); x < std::min(left + part.width, map.width); ++x) {
      const auto at = static_cast<std::size_t>(y) * static_cast<std::size_t>(map.width) + static_cast<std::size_t>(x);
      if (map.ids[at] == id) continue;
      std::memcpy(part.row(y - top) + static_cast<std::size_t>(x - left) * bytes, fill.data(), bytes);
    }
  }
  return part;
}

/// A segment that counts.
struct Segment {
  int row;
  const Annotation* annotation;
  bool is_thing;
  double size;
  Region region;
};

}  // namespace

PanopticDataset::PanopticDataset(AnnotationIndex index, std::filesystem::path image_root,
                                 std::filesystem::path segmentation_root, PanopticOptions options)
    : index_(std::move(index)),
      image_root_(std::move(image_root)),
      segmentation_root_(std::move(segmentation_root)),
      options_(options) {
  const auto require = [](bool holds, const char* what, int found, const char* expected) {
    if (holds) return;
    throw Error({.doing = "setting up the evaluation data",
                 .where = what,
                 .found = std::to_string(found),
                 .expected = expected});
  };
  require(options_.image_size >= 1, "image size", options_.image_size, "at least 1");
  require(options_.crop_size >= 1, "crop size", options_.crop_size, "at least 1");
  require(options_.downsample_factor >= 1 && options_.downsample_factor <= options_.image_size, "downsample factor",
          options_.downsample_factor, "1 up to the image size");
  for (std::size_t i = 0; i < index_.images.size(); ++i) {
    for (const Annotation& annotation : index_.annotations_of(i)) {
      const Category* category = index_.find_category(annotation.category_id);
      if (category != nullptr && (!category->is_thing || annotation.has_bbox())) continue;
      throw Error({.doing = "setting up the evaluation data",
                   .found = "segment " + std::to_string(annotation.id) + " of image " +
                            std::to_string(index_.images[i].id) +
                            (category == nullptr ? " in an unknown category" : " without a bbox"),
                   .expected = "a known category, and a bbox for things"});
    }
  }
}

std::int64_t PanopticDataset::size() const {
  return static_cast<std::int64_t>(index_.images.size());
}

PanopticSample PanopticDataset::get(std::int64_t index) const {
  const auto position = static_cast<std::size_t>(index);
  const ImageRecord& record = index_.images.at(position);
  const auto annotations = index_.annotations_of(position);
  const Image image = formats::read_image(resolve_below(image_root_, record.file_name));

  SegmentMap map;
  std::unordered_map<std::uint32_t, Extent> extents;
  if (!annotations.empty()) {
    map = read_segment_map(resolve_below(segmentation_root_, record.segmentation_file), image);
    extents = extents_of(map);
  }
  const auto extent_of = [&](std::int64_t id) -> std::optional<Extent> {
    const auto found = id < 0 || id > UINT32_MAX ? extents.end() : extents.find(static_cast<std::uint32_t>(id));
    return found == extents.end() ? std::nullopt : std::optional(found->second);
  };

  std::vector<Segment> segments;
  for (int row = 0; row < std::min(static_cast<int>(annotations.size()), options_.max_segments); ++row) {
    const Annotation& annotation = annotations[static_cast<std::size_t>(row)];
    const bool is_thing = index_.find_category(annotation.category_id)->is_thing;
    std::array<double, 4> box = annotation.bbox;
    ops::Box crop;
    if (is_thing) {
      const auto& [x, y, w, h] = box;
      crop = enlarged_about(x + w * 0.5, y + h * 0.5, w, h, options_.thing_crop_scale, image.width, image.height);
    } else {
      // The last pixel, not the one after it: a pixel less than a bbox would have, as in the published numbers.
      const auto extent = extent_of(annotation.id);
      if (!extent) continue;
      box = {static_cast<double>(extent->x0), static_cast<double>(extent->y0),
             static_cast<double>(extent->x1 - extent->x0), static_cast<double>(extent->y1 - extent->y0)};
      crop = {box[0], box[1], static_cast<double>(extent->x1), static_cast<double>(extent->y1)};
    }
    const auto& [x, y, w, h] = box;
    const double size = w * h;
    if (!(size >= options_.min_size * options_.min_size && size <= options_.max_size * options_.max_size)) continue;
    if (crop.x1 <= crop.x0 || crop.y1 <= crop.y0) continue;
    segments.push_back({row, &annotation, is_thing, size, {.row = row, .box = {x, y, x + w, y + h}, .crop = crop}});
  }

  const auto count = static_cast<std::int64_t>(segments.size());
  const std::int64_t c = options_.crop_size;
  const int grid = options_.image_size / options_.downsample_factor;
  const double scale = longest_scale(image.width, image.height, options_.image_size);
  PanopticSample sample;
  sample.image_id = record.id;
  sample.image = to_tensor(resize_longest(image, options_.image_size));
  sample.boxes = at::empty({count, 4}, at::kFloat);
  sample.labels = at::empty({count}, at::kLong);
  sample.sizes = at::empty({count}, at::kFloat);
  sample.is_thing = at::empty({count}, at::kBool);
  sample.masks = at::empty({count, grid, grid}, at::kBool);
  sample.crops = at::empty({count, 3, c, c}, at::kByte);
  if (options_.masked_crops) sample.masked_crops = at::empty({count, 3, c, c}, at::kByte);
  for (std::int64_t i = 0; i < count; ++i) {
    const Segment& segment = segments[static_cast<std::size_t>(i)];
    const auto box = normalized_box(segment.region.box, scale, options_.image_size);
    std::copy(box.begin(), box.end(), sample.boxes.mutable_data_ptr<float>() + 4 * i);
    sample.labels.mutable_data_ptr<std::int64_t>()[i] = index_.label_of(segment.annotation->category_id);
    sample.sizes.mutable_data_ptr<float>()[i] = static_cast<float>(segment.size);
    sample.is_thing.mutable_data_ptr<bool>()[i] = segment.is_thing;
    sample.rows.push_back(segment.row);

    const at::Tensor mask = resize_mask(mask_of(map, segment.annotation->id), grid, options_.mask_rule);
    const auto* values = mask.const_data_ptr<float>();
    auto* bits = sample.masks.mutable_data_ptr<bool>() + i * mask.numel();
    for (std::int64_t k = 0; k < mask.numel(); ++k) bits[k] = values[k] > 0;

    const ops::Box& crop = segment.region.crop;
    write_planes(crop_and_resize(image, crop, options_.crop_size),
                 sample.crops.mutable_data_ptr<std::uint8_t>() + i * 3 * c * c);
    if (!options_.masked_crops) continue;
    const Image part = masked_crop(image, map, segment.annotation->id, crop);
    write_planes(crop_and_resize(part, {0, 0, static_cast<double>(part.width), static_cast<double>(part.height)},
                                 options_.crop_size),
                 sample.masked_crops.mutable_data_ptr<std::uint8_t>() + i * 3 * c * c);
  }
  return sample;
}

}  // namespace clipself::datasets
