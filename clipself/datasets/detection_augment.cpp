// The geometry of a detector's samples: which things there are, and how they follow the picture through resizing,
// cropping and flipping.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "clipself/base/error.h"
#include "clipself/datasets/detection.h"
#include "clipself/datasets/transforms.h"
#include "clipself/ops/masks.h"

namespace clipself::datasets {
namespace {

constexpr float kThinnest = 0.01F;

using CornerBox = std::array<float, 4>;

at::Tensor as_boxes(const std::vector<CornerBox>& boxes) {
  at::Tensor out = at::empty({static_cast<std::int64_t>(boxes.size()), 4}, at::kFloat);
  auto* to = out.mutable_data_ptr<float>();
  for (const CornerBox& box : boxes) to = std::copy(box.begin(), box.end(), to);
  return out;
}

std::vector<CornerBox> as_rows(const at::Tensor& boxes) {
  std::vector<CornerBox> rows(static_cast<std::size_t>(boxes.size(0)));
  const at::Tensor packed = boxes.contiguous();
  const auto* from = packed.const_data_ptr<float>();
  for (CornerBox& row : rows) {
    std::copy(from, from + 4, row.begin());
    from += 4;
  }
  return rows;
}

at::Tensor as_labels(const std::vector<std::int64_t>& labels) {
  at::Tensor out = at::empty({static_cast<std::int64_t>(labels.size())}, at::kLong);
  std::copy(labels.begin(), labels.end(), out.mutable_data_ptr<std::int64_t>());
  return out;
}

void clip_box(CornerBox& box, int width, int height) {
  const auto right = static_cast<float>(width), bottom = static_cast<float>(height);
  box = {std::clamp(box[0], 0.0F, right), std::clamp(box[1], 0.0F, bottom), std::clamp(box[2], 0.0F, right),
         std::clamp(box[3], 0.0F, bottom)};
}

/// The smallest box around a mask's pixels; all 0 without any.
CornerBox bounding_box(const at::Tensor& mask) {
  const auto width = static_cast<std::size_t>(mask.size(1));
  const auto* row = mask.const_data_ptr<std::uint8_t>();
  std::size_t left = width, right = 0;
  std::int64_t top = -1, bottom = -1;
  for (std::int64_t y = 0; y < mask.size(0); ++y, row += width) {
    const auto* set = static_cast<const std::uint8_t*>(std::memchr(row, 1, width));
    if (set == nullptr) continue;
    if (top < 0) top = y;
    bottom = y;
    left = std::min(left, static_cast<std::size_t>(set - row));
    std::size_t last = width;
    while (last > right && row[last - 1] == 0) --last;
    right = std::max(right, last);
  }
  if (top < 0) return {};
  return {static_cast<float>(left), static_cast<float>(top), static_cast<float>(right), static_cast<float>(bottom + 1)};
}

/// Copies rows of `width` bytes to rows `stride` apart, mirrored or not.
void copy_rows(const std::uint8_t* from, std::size_t width, std::size_t height, bool flip, std::uint8_t* to,
               std::size_t stride) {
  for (std::size_t y = 0; y < height; ++y, from += width, to += stride) {
    if (flip)
      std::reverse_copy(from, from + width, to);
    else
      std::memcpy(to, from, width);
  }
}

}  // namespace

DetectionObjects detection_objects(const AnnotationIndex& index, std::size_t image, const CategoryLabels& classes,
                                   bool with_masks) {
  const ImageRecord& record = index.images[image];
  const auto annotations = index.annotations_of(image);
  std::vector<CornerBox> boxes, crowds;
  std::vector<std::int64_t> labels;
  std::vector<std::size_t> sources;
  for (std::size_t i = 0; i < annotations.size(); ++i) {
    const Annotation& annotation = annotations[i];
    if (!annotation.has_bbox()) {
      throw Error({.doing = "reading boxes to detect",
                   .where = index.source,
                   .found = fmt::format("annotation {} of image {} without a bbox", annotation.id, record.id),
                   .expected = "x, y, width, height"});
    }
    const auto [x, y, width, height] = annotation.bbox;
    const double across = std::min(x + width, static_cast<double>(record.width)) - std::max(x, 0.0);
    const double down = std::min(y + height, static_cast<double>(record.height)) - std::max(y, 0.0);
    if (annotation.ignore || !(across > 0 && down > 0) || annotation.area <= 0 || width < 1 || height < 1) continue;
    const auto label = classes.label(annotation.category_id);
    if (!label) continue;
    const CornerBox box{static_cast<float>(x), static_cast<float>(y), static_cast<float>(x + width),
                        static_cast<float>(y + height)};
    if (annotation.is_crowd) {
      crowds.push_back(box);
      continue;
    }
    boxes.push_back(box);
    labels.push_back(*label);
    sources.push_back(i);
  }
  DetectionObjects objects{as_boxes(boxes), as_labels(labels), as_boxes(crowds)};
  if (with_masks) {
    objects.mask = [&index, image, sources = std::move(sources)](std::int64_t i) {
      const Annotation& annotation = index.annotations_of(image)[sources.at(static_cast<std::size_t>(i))];
      return ops::decode_mask(index.mask_of(index.images[image], annotation));
    };
  }
  return objects;
}

std::array<int, 2> augmented_size(int width, int height, int image_size, double ratio) {
  constexpr double kLargest = 1 << 20;
  const int square = static_cast<int>(std::clamp(image_size * ratio, 1.0, kLargest));
  return ops::rescale_size(width, height, square, square);
}

Augmentation draw_augmentation(int width, int height, const DetectionOptions& options, Rng& rng) {
  Augmentation drawn;
  drawn.ratio = rng.uniform() * (options.max_ratio - options.min_ratio) + options.min_ratio;
  const auto [new_width, new_height] = augmented_size(width, height, options.image_size, drawn.ratio);
  const auto offset = [&](int side) {
    const int margin = std::max(side - options.image_size, 0);
    return static_cast<int>(rng.below(static_cast<std::uint64_t>(margin) + 1));
  };
  drawn.crop_y = offset(new_height);
  drawn.crop_x = offset(new_width);
  drawn.flip = rng.uniform() < options.flip_probability;
  return drawn;
}

at::Tensor resize_boxes(const at::Tensor& boxes, std::array<int, 2> from, std::array<int, 2> to) {
  const auto across = static_cast<float>(static_cast<double>(to[0]) / from[0]);
  const auto down = static_cast<float>(static_cast<double>(to[1]) / from[1]);
  auto rows = as_rows(boxes);
  for (CornerBox& box : rows) {
    box = {box[0] * across, box[1] * down, box[2] * across, box[3] * down};
    clip_box(box, to[0], to[1]);
  }
  return as_boxes(rows);
}

CroppedObjects crop_objects(const DetectionObjects& objects, std::array<int, 2> from, std::array<int, 2> to,
                            const ops::Window& window) {
  const auto left = static_cast<float>(window.x), top = static_cast<float>(window.y);
  const at::Tensor packed_labels = objects.labels.contiguous();
  const auto* labels = packed_labels.const_data_ptr<std::int64_t>();
  auto rows = as_rows(resize_boxes(objects.boxes, from, to));
  CroppedObjects cropped;
  std::vector<CornerBox> kept;
  std::vector<std::int64_t> kept_labels;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CornerBox box{rows[i][0] - left, rows[i][1] - top, rows[i][2] - left, rows[i][3] - top};
    clip_box(box, window.width, window.height);
    if (!(box[2] > box[0] && box[3] > box[1])) continue;
    if (objects.mask) {
      const at::Tensor mask = objects.mask(static_cast<std::int64_t>(i));
      if (mask.size(0) != from[1] || mask.size(1) != from[0]) {
        throw Error({.doing = "resizing a mask",
                     .found = fmt::format("{} x {} pixels", mask.size(1), mask.size(0)),
                     .expected = fmt::format("the picture's {} x {}", from[0], from[1])});
      }
      cropped.masks.push_back(ops::resize_masks_opencv(mask.unsqueeze(0), to[0], to[1], window)[0]);
      box = bounding_box(cropped.masks.back());
    }
    kept.push_back(box);
    kept_labels.push_back(labels[i]);
  }
  cropped.boxes = as_boxes(kept);
  cropped.labels = as_labels(kept_labels);
  return cropped;
}

bool CroppedObjects::drop_thin() {
  const auto rows = as_rows(boxes);
  std::vector<CornerBox> kept;
  std::vector<std::int64_t> kept_labels;
  std::vector<at::Tensor> kept_masks;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const CornerBox& box = rows[i];
    if (!(box[2] - box[0] > kThinnest && box[3] - box[1] > kThinnest)) continue;
    kept.push_back(box);
    kept_labels.push_back(labels.const_data_ptr<std::int64_t>()[i]);
    if (!masks.empty()) kept_masks.push_back(masks[i]);
  }
  boxes = as_boxes(kept);
  labels = as_labels(kept_labels);
  masks = std::move(kept_masks);
  return rows.empty() || !kept.empty();
}

at::Tensor place_in_square(const formats::Image& rgb, int image_size, bool flip) {
  const std::int64_t side = image_size;
  at::Tensor out = at::zeros({3, side, side}, at::kByte);
  const at::Tensor planes = to_tensor(rgb);
  const auto width = static_cast<std::size_t>(rgb.width), height = static_cast<std::size_t>(rgb.height);
  for (std::int64_t c = 0; c < 3; ++c) {
    copy_rows(planes.const_data_ptr<std::uint8_t>() + c * planes.stride(0), width, height, flip,
              out.mutable_data_ptr<std::uint8_t>() + c * side * side, static_cast<std::size_t>(side));
  }
  return out;
}

std::optional<Sample> augment(const formats::Image& image, const DetectionObjects& objects,
                              const Augmentation& augmentation, int image_size) {
  const std::array<int, 2> from{image.width, image.height};
  const auto to = augmented_size(image.width, image.height, image_size, augmentation.ratio);
  const ops::Window window{augmentation.crop_x, augmentation.crop_y, std::min(to[0], image_size),
                           std::min(to[1], image_size)};
  auto visible = crop_objects(objects, from, to, window);
  if (!visible.drop_thin()) return std::nullopt;

  Sample sample;
  sample.content = {window.height, window.width};
  sample.image =
      place_in_square(ops::resize_bilinear_opencv(image, to[0], to[1], window), image_size, augmentation.flip);
  sample.labels = visible.labels;
  auto rows = as_rows(visible.boxes);
  if (augmentation.flip) {
    const auto width = static_cast<float>(window.width);
    for (CornerBox& box : rows) box = {width - box[2], box[1], width - box[0], box[3]};
  }
  sample.boxes = as_boxes(rows);
  if (!objects.mask) return sample;
  const std::int64_t side = image_size;
  sample.masks = at::zeros({static_cast<std::int64_t>(visible.masks.size()), side, side}, at::kByte);
  auto* to_mask = sample.masks.mutable_data_ptr<std::uint8_t>();
  for (const at::Tensor& mask : visible.masks) {
    copy_rows(mask.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(window.width),
              static_cast<std::size_t>(window.height), augmentation.flip, to_mask, static_cast<std::size_t>(side));
    to_mask += side * side;
  }
  return sample;
}

}  // namespace clipself::datasets
