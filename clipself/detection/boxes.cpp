#include "clipself/detection/boxes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "clipself/base/error.h"

namespace clipself::detection {
namespace {

/// Of a picture of 1024 pixels with 300 objects, all overlaps with the anchors would be 80 million.
constexpr std::int64_t kMostOverlaps = std::int64_t{1} << 22;

void require_boxes(const at::Tensor& boxes, const char* doing) {
  if (boxes.dim() == 2 && boxes.size(1) == 4) return;
  throw Error({.doing = doing, .found = c10::str("boxes of shape ", boxes.sizes()), .expected = "(N, 4)"});
}

struct CentreSize {
  at::Tensor x, y, w, h;
};

CentreSize centre_size(const at::Tensor& boxes) {
  const auto column = [&](std::int64_t i) { return boxes.select(1, i); };
  return {(column(0) + column(2)) * 0.5, (column(1) + column(3)) * 0.5, column(2) - column(0), column(3) - column(1)};
}

at::Tensor drawn_from(const at::Tensor& candidates, std::int64_t count, Rng& rng) {
  if (candidates.numel() <= count) return candidates;
  std::vector<std::int64_t> order(static_cast<std::size_t>(candidates.numel()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  rng.shuffle(std::span(order));
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return candidates.index_select(0, at::tensor(order, at::kLong).to(candidates.device()));
}

}  // namespace

at::Tensor base_anchors(double stride, double scale, const std::vector<double>& ratios) {
  const auto ratio = at::tensor(ratios, at::kDouble).to(at::kFloat);
  const auto h_ratio = ratio.sqrt(), w_ratio = h_ratio.reciprocal();
  const auto w = w_ratio * stride * scale * 0.5, h = h_ratio * stride * scale * 0.5;
  return at::stack({-w, -h, w, h}, 1);
}

at::Tensor grid_anchors(const at::Tensor& base, double stride, const Extent& map) {
  const auto steps = [&](std::int64_t count) { return at::arange(count, base.options()) * stride; };
  const auto y = steps(map[0]).unsqueeze(1).expand({map[0], map[1]});
  const auto x = steps(map[1]).unsqueeze(0).expand({map[0], map[1]});
  const auto shift = at::stack({x, y, x, y}, 2).reshape({-1, 1, 4});
  return (base.unsqueeze(0) + shift).reshape({-1, 4});
}

at::Tensor valid_anchors(double stride, const Extent& map, const Extent& picture, std::int64_t anchors_a_place) {
  auto valid = at::zeros({map[0], map[1], anchors_a_place}, at::kBool);
  const auto places = [&](std::size_t i) {
    return std::min(map[i], static_cast<std::int64_t>(std::ceil(static_cast<double>(picture[i]) / stride)));
  };
  valid.slice(0, 0, places(0)).slice(1, 0, places(1)).fill_(true);
  return valid.flatten();
}

at::Tensor encode_boxes(const at::Tensor& boxes, const at::Tensor& targets, const std::array<double, 4>& stds) {
  const auto from = centre_size(boxes.to(at::kFloat)), to = centre_size(targets.to(at::kFloat));
  const auto deltas =
      at::stack({(to.x - from.x) / from.w, (to.y - from.y) / from.h, (to.w / from.w).log(), (to.h / from.h).log()}, 1);
  return deltas / at::tensor(at::ArrayRef<double>(stds), deltas.options());
}

at::Tensor decode_boxes(const at::Tensor& boxes, const at::Tensor& deltas, const std::array<double, 4>& stds,
                        const std::optional<Extent>& picture) {
  const std::int64_t count = boxes.size(0);
  if (deltas.numel() == 0) return at::empty_like(deltas, deltas.options().dtype(at::kFloat));
  const std::int64_t classes = deltas.size(1) / 4;
  const auto scaled = deltas.to(at::kFloat).reshape({count, classes, 4}) *
                      at::tensor(at::ArrayRef<double>(stds), boxes.options().dtype(at::kFloat));
  const auto from = centre_size(boxes.to(at::kFloat));
  const auto column = [](const at::Tensor& values) { return values.unsqueeze(1); };
  const double most = std::abs(std::log(16.0 / 1000.0));
  const auto x = column(from.x) + column(from.w) * scaled.select(2, 0);
  const auto y = column(from.y) + column(from.h) * scaled.select(2, 1);
  const auto w = column(from.w) * scaled.select(2, 2).clamp(-most, most).exp();
  const auto h = column(from.h) * scaled.select(2, 3).clamp(-most, most).exp();
  auto x0 = x - w * 0.5, y0 = y - h * 0.5, x1 = x + w * 0.5, y1 = y + h * 0.5;
  if (picture) {
    const auto height = static_cast<double>((*picture)[0]), width = static_cast<double>((*picture)[1]);
    for (auto* edge : {&x0, &x1}) *edge = edge->clamp(0, width);
    for (auto* edge : {&y0, &y1}) *edge = edge->clamp(0, height);
  }
  return at::stack({x0, y0, x1, y1}, 2).reshape({count, classes * 4});
}

at::Tensor box_iou(const at::Tensor& boxes, const at::Tensor& others) {
  require_boxes(boxes, "comparing boxes");
  require_boxes(others, "comparing boxes");
  const auto area = [](const at::Tensor& b) {
    return (b.select(1, 2) - b.select(1, 0)) * (b.select(1, 3) - b.select(1, 1));
  };
  const auto low = at::maximum(boxes.slice(1, 0, 2).unsqueeze(1), others.slice(1, 0, 2).unsqueeze(0));
  const auto high = at::minimum(boxes.slice(1, 2, 4).unsqueeze(1), others.slice(1, 2, 4).unsqueeze(0));
  const auto sides = (high - low).clamp_min(0);
  const auto common = sides.select(2, 0) * sides.select(2, 1);
  return common / (area(boxes).unsqueeze(1) + area(others).unsqueeze(0) - common).clamp_min(1e-6);
}

Assignment assign(const at::Tensor& boxes, const at::Tensor& objects, const AssignOptions& options) {
  const at::NoGradGuard no_grad;
  const std::int64_t count = boxes.size(0), object_count = objects.size(0);
  const auto longs = boxes.options().dtype(at::kLong);
  if (count == 0 || object_count == 0)
    return {at::zeros({count}, longs), at::zeros({count}, boxes.options().dtype(at::kFloat))};
  at::Tensor best, first, last = at::zeros({count}, longs);
  const std::int64_t chunk = std::max<std::int64_t>(1, kMostOverlaps / count);
  for (std::int64_t begin = 0; begin < object_count; begin += chunk) {
    const auto overlaps = box_iou(objects.slice(0, begin, begin + chunk), boxes);  // objects, boxes
    const auto most = overlaps.amax(0);
    // The first of equal objects, which max's own choice does not promise.
    const auto place = (overlaps == most.unsqueeze(0)).to(at::kByte).argmax(0) + begin;
    first = begin == 0 ? place : at::where(most > best, place, first);
    best = begin == 0 ? most : at::maximum(best, most);
    if (!options.low_quality) continue;
    const auto own_best = overlaps.amax(1, /*keepdim=*/true);
    const auto claims = (overlaps == own_best).logical_and(own_best >= options.least);
    // The last of those that claim a box, so looked for from behind.
    const auto from_behind = claims.flip(0).to(at::kByte).argmax(0);
    last = at::where(claims.any(0), begin + overlaps.size(0) - from_behind, last);
  }
  auto object = at::full({count}, -1, longs);
  object = at::where((best >= 0).logical_and(best < options.negative), at::zeros_like(object), object);
  object = at::where(best >= options.positive, first + 1, object);
  return {at::where(last > 0, last, object), best};
}

Drawn draw(const at::Tensor& object, const SampleOptions& options, Rng& rng) {
  const auto wanted = static_cast<std::int64_t>(options.count * options.positive_part);
  auto positive = drawn_from((object > 0).nonzero().squeeze(1), wanted, rng);
  auto negative = drawn_from((object == 0).nonzero().squeeze(1), options.count - positive.numel(), rng);
  return {std::move(positive), std::move(negative)};
}

}  // namespace clipself::detection
