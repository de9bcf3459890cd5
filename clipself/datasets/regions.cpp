#include "clipself/datasets/regions.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "clipself/base/error.h"

namespace clipself::datasets {
namespace {

// `count` + 1 marks from 0 to 1, counted from the nearer end as torch.linspace does in float32.
std::vector<float> marks(int count) {
  const float step = 1.0F / static_cast<float>(count);
  std::vector<float> at;
  for (int i = 0; i <= count; ++i) {
    at.push_back(i < (count + 1) / 2 ? step * static_cast<float>(i) : 1.0F - step * static_cast<float>(count - i));
  }
  return at;
}

double round_to_float(double value) {
  return static_cast<double>(static_cast<float>(value));
}

ops::Box corners(const Annotation& annotation) {
  const auto& [x, y, w, h] = annotation.bbox;
  return {round_to_float(x), round_to_float(y), round_to_float(x + w), round_to_float(y + h)};
}

}  // namespace

std::vector<GridChoice> grid_choices(int max_split) {
  std::vector<GridChoice> choices;
  for (int m = 1; m <= max_split; ++m) {
    for (int n = (m + 1) / 2; n <= std::min(2 * m, max_split); ++n) choices.push_back({m, n});
  }
  return choices;
}

at::Tensor grid_boxes(const GridChoice& choice) {
  const auto xs = marks(choice.columns);
  const auto ys = marks(choice.rows);
  at::Tensor boxes = at::empty({choice.rows * choice.columns, 4}, at::kFloat);
  auto* out = boxes.mutable_data_ptr<float>();
  for (std::size_t y = 0; y + 1 < ys.size(); ++y) {
    for (std::size_t x = 0; x + 1 < xs.size(); ++x, out += 4) {
      out[0] = xs[x];
      out[1] = ys[y];
      out[2] = xs[x + 1];
      out[3] = ys[y + 1];
    }
  }
  return boxes;
}

std::vector<Region> grid_regions(int width, int height, const GridChoice& choice, double crop_scale, int max_boxes,
                                 std::span<const int> order) {
  const auto xs = marks(choice.columns);
  const auto ys = marks(choice.rows);
  const auto at = [](const std::vector<float>& marks, int i, int side) {
    return static_cast<double>(marks[static_cast<std::size_t>(i)] * static_cast<float>(side));
  };
  std::vector<Region> regions;
  for (const int cell : order.first(std::min(order.size(), static_cast<std::size_t>(std::max(max_boxes, 0))))) {
    const int row = cell / choice.columns;
    const int column = cell % choice.columns;
    Region region{
        .row = static_cast<int>(regions.size()),
        .box = {at(xs, column, width), at(ys, row, height), at(xs, column + 1, width), at(ys, row + 1, height)},
        .crop = {}};
    const auto& [x0, y0, x1, y1] = region.box;
    region.crop = crop_scale > 1.0
                      ? enlarged_about((x1 + x0) / 2, (y1 + y0) / 2, x1 - x0, y1 - y0, crop_scale, width, height)
                      : region.box;
    regions.push_back(region);
  }
  return regions;
}

std::vector<Region> passing_proposals(int width, int height, std::span<const Annotation> annotations,
                                      const ProposalOptions& options, std::span<const int> order) {
  std::vector<Region> regions;
  const int looked_at = std::min(static_cast<int>(order.size()), options.max_boxes);
  for (int row = 0; row < looked_at; ++row) {
    const Annotation& annotation = annotations[static_cast<std::size_t>(order[static_cast<std::size_t>(row)])];
    const auto& [x, y, w, h] = annotation.bbox;
    const double area = w > 0 ? w * h : 0;  // not of two negative sides
    if (!(area >= options.min_size * options.min_size && area <= options.max_size * options.max_size)) continue;
    const ops::Box crop = enlarged_about(x + w * 0.5, y + h * 0.5, w, h, options.crop_scale, width, height);
    if (crop.x1 <= crop.x0 || crop.y1 <= crop.y0) continue;
    regions.push_back({.row = row, .box = corners(annotation), .crop = crop});
  }
  return regions;
}

std::vector<Region> proposal_regions(int width, int height, std::span<const Annotation> annotations,
                                     const ProposalOptions& options, std::span<const int> order) {
  auto regions = passing_proposals(width, height, annotations, options, order);
  if (regions.empty()) {
    regions.push_back({.row = 0,
                       .box = {0, 0, round_to_float(width / 4.0), round_to_float(height / 4.0)},
                       .crop = {0, 0, static_cast<double>(width / 4), static_cast<double>(height / 4)}});
  }
  return regions;
}

std::vector<Region> labelled_regions(const AnnotationIndex& index, std::size_t image, int max_boxes) {
  std::vector<Region> regions;
  for (const Annotation& annotation : index.annotations_of(image)) {
    if (static_cast<int>(regions.size()) >= max_boxes) break;
    const ops::Box box = corners(annotation);
    regions.push_back({.row = static_cast<int>(regions.size()),
                       .box = box,
                       .crop = box,
                       .label = index.label_of(annotation.category_id)});
  }
  return regions;
}

ops::Box enlarged_about(double cx, double cy, double width, double height, double scale, int image_width,
                        int image_height) {
  const double half = 0.5 * scale;
  return {std::max(cx - width * half, 0.0), std::max(cy - height * half, 0.0),
          std::min(cx + width * half, static_cast<double>(image_width)),
          std::min(cy + height * half, static_cast<double>(image_height))};
}

ops::Box enlarged_crop(const ops::Box& box, double scale, int width, int height) {
  return enlarged_about((box.x0 + box.x1) * 0.5, (box.y0 + box.y1) * 0.5, box.x1 - box.x0, box.y1 - box.y0, scale,
                        width, height);
}

std::array<float, 4> normalized_box(const ops::Box& box, double scale, int image_size) {
  const auto place = [&](double corner) {
    return static_cast<float>(corner) * static_cast<float>(scale) / static_cast<float>(image_size);
  };
  return {place(box.x0), place(box.y0), place(box.x1), place(box.y1)};
}

std::vector<int> random_order(int n, Rng& rng) {
  std::vector<int> order(static_cast<std::size_t>(std::max(n, 0)));
  std::iota(order.begin(), order.end(), 0);
  rng.shuffle(std::span(order));
  return order;
}

}  // namespace clipself::datasets
