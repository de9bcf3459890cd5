#include "clipself/ops/roi_align.h"

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

// Adds the bilinear weights of the sample at `position` (torchvision's border rules) to a row of `length` weights.
void add_sample(float position, float weight, float* row, std::int64_t length) {
  const auto end = static_cast<float>(length);
  if (position < -1.0F || position > end) return;
  position = std::max(position, 0.0F);
  auto low = static_cast<std::int64_t>(position);
  if (low >= length - 1) {
    row[length - 1] += weight;
    return;
  }
  const float fraction = position - static_cast<float>(low);
  row[low] += weight * (1.0F - fraction);
  row[low + 1] += weight * fraction;
}

void check(const at::Tensor& map, const std::vector<at::Tensor>& boxes, int size) {
  if (map.dim() != 4) {
    throw Error({.doing = "roi_align", .found = "a map of shape " + c10::str(map.sizes()), .expected = "(B, C, h, w)"});
  }
  if (static_cast<std::int64_t>(boxes.size()) != map.size(0)) {
    throw Error({.doing = "roi_align",
                 .found = c10::str(boxes.size(), " lists of boxes for ", map.size(0), " maps"),
                 .expected = "one list a map"});
  }
  if (size < 1) throw Error({.doing = "roi_align", .found = c10::str("size ", size), .expected = "at least 1"});
  for (const auto& list : boxes) {
    if (list.dim() != 2 || list.size(1) != 4) {
      throw Error({.doing = "roi_align", .found = "boxes of shape " + c10::str(list.sizes()), .expected = "(n, 4)"});
    }
  }
}

}  // namespace

at::Tensor roi_axis_weights(const at::Tensor& begin, const at::Tensor& end, int size, std::int64_t length) {
  const auto begins = begin.to(at::kCPU, at::kFloat).contiguous();
  const auto ends = end.to(at::kCPU, at::kFloat).contiguous();
  const std::int64_t count = begins.numel();
  auto weights = at::zeros({count, size, length}, at::kFloat);
  const float* b = begins.const_data_ptr<float>();
  const float* e = ends.const_data_ptr<float>();
  float* row = weights.mutable_data_ptr<float>();
  for (std::int64_t n = 0; n < count; ++n) {
    const float start = b[n] - 0.5F;
    const float extent = (e[n] - 0.5F) - start;
    const float bin = extent / static_cast<float>(size);
    const auto samples = static_cast<std::int64_t>(std::ceil(bin));
    // A box far larger than the map needs no more samples than land on it; the rest would be zeros one by one.
    if (!(extent > 0.0F) || !std::isfinite(extent)) {
      row += size * length;
      continue;
    }
    const float step = bin / static_cast<float>(samples);
    const float weight = 1.0F / static_cast<float>(samples);
    for (int p = 0; p < size; ++p, row += length) {
      const float origin = start + static_cast<float>(p) * bin;
      const auto first = static_cast<std::int64_t>(std::max(0.0F, std::floor((-1.0F - origin) / step - 1.0F)));
      const auto last = std::min(samples, static_cast<std::int64_t>(std::max(
                                              0.0F, std::ceil((static_cast<float>(length) - origin) / step + 1.0F))));
      for (std::int64_t i = first; i < last; ++i) {
        add_sample(origin + (static_cast<float>(i) + 0.5F) * step, weight, row, length);
      }
    }
  }
  return weights.to(begin.device());
}

at::Tensor roi_align(const at::Tensor& map, const std::vector<at::Tensor>& boxes, int size) {
  check(map, boxes, size);
  const std::int64_t channels = map.size(1);
  const std::int64_t height = map.size(2);
  const std::int64_t width = map.size(3);
  std::vector<at::Tensor> pooled;
  pooled.reserve(boxes.size());
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const auto& list = boxes[i];
    const std::int64_t count = list.size(0);
    const auto wx = roi_axis_weights(list.select(1, 0), list.select(1, 2), size, width).to(map.device());
    const auto wy = roi_axis_weights(list.select(1, 1), list.select(1, 3), size, height).to(map.device());
    // Weights and sums stay in float32 whatever the map's type.
    const auto tokens = map[static_cast<std::int64_t>(i)].to(at::kFloat).permute({1, 2, 0});  // h, w, C
    at::Tensor result;
    if (size == 1) {
      const auto weights = wy.reshape({count, height, 1}) * wx.reshape({count, 1, width});
      result = weights.reshape({count, height * width}).matmul(tokens.reshape({height * width, channels}));
      result = result.reshape({count, channels, 1, 1});
    } else {
      const auto rows = wy.reshape({count * size, height}).matmul(tokens.reshape({height, width * channels}));
      result = at::matmul(wx.unsqueeze(1), rows.reshape({count, size, width, channels}));  // n, size, size, C
      result = result.permute({0, 3, 1, 2});
    }
    pooled.push_back(result.to(map.scalar_type()));
  }
  return at::cat(pooled);
}

}  // namespace clipself::ops
