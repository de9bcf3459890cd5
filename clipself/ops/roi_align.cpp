#include "clipself/ops/roi_align.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "clipself/base/clones.h"
#include "clipself/base/error.h"
#include "clipself/ops/once_differentiable.h"

namespace clipself::ops {
namespace {

/// The cells of one axis that one bin looks at: weights of `first`, `first` + 1, ...
struct AxisBin {
  std::int64_t first = 0;
  std::vector<float> weights;
};

// Adds the bilinear weights of the sample at `position` (torchvision's border rules) to a row of `length` weights.
template <typename Add>
void add_sample(float position, float weight, std::int64_t length, const Add& add) {
  const auto end = static_cast<float>(length);
  if (position < -1.0F || position > end) return;
  position = std::max(position, 0.0F);
  const auto low = static_cast<std::int64_t>(position);
  if (low >= length - 1) {
    add(length - 1, weight);
    return;
  }
  const float fraction = position - static_cast<float>(low);
  add(low, weight * (1.0F - fraction));
  add(low + 1, weight * fraction);
}

/// `add(bin, cell, weight)` for every sample of a box's extent along one axis.
template <typename Add>
void for_each_weight(float begin, float end, int size, std::int64_t length, const Add& add) {
  const float start = begin - 0.5F;
  const float extent = (end - 0.5F) - start;
  const float bin = extent / static_cast<float>(size);
  if (!(extent > 0.0F) || !std::isfinite(extent)) return;
  const auto samples = static_cast<std::int64_t>(std::ceil(bin));
  const float step = bin / static_cast<float>(samples);
  const float weight = 1.0F / static_cast<float>(samples);
  for (int p = 0; p < size; ++p) {
    const float origin = start + static_cast<float>(p) * bin;
    // A box far larger than the map needs no more samples than land on it; the rest would be zeros one by one.
    const auto first = static_cast<std::int64_t>(std::max(0.0F, std::floor((-1.0F - origin) / step - 1.0F)));
    const auto last = std::min(samples, static_cast<std::int64_t>(std::max(
                                            0.0F, std::ceil((static_cast<float>(length) - origin) / step + 1.0F))));
    for (std::int64_t i = first; i < last; ++i) {
      add_sample(origin + (static_cast<float>(i) + 0.5F) * step, weight, length,
                 [&](std::int64_t cell, float share) { add(p, cell, share); });
    }
  }
}

std::vector<AxisBin> axis_bins(float begin, float end, int size, std::int64_t length) {
  std::vector<AxisBin> bins(static_cast<std::size_t>(size));
  for_each_weight(begin, end, size, length, [&](int p, std::int64_t cell, float weight) {
    AxisBin& bin = bins[static_cast<std::size_t>(p)];
    if (bin.weights.empty()) bin.first = cell;
    // Samples walk upwards, so cells do too.
    const auto place = static_cast<std::size_t>(cell - bin.first);
    if (place >= bin.weights.size()) bin.weights.resize(place + 1, 0.0F);
    bin.weights[place] += weight;
  });
  return bins;
}

/// to += weight * from
CLIPSELF_CLONES
void add_scaled(float weight, const float* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] += weight * from[i];
}

/// Rows of `bins` that any of them looks at.
std::pair<std::int64_t, std::int64_t> span_of(const std::vector<AxisBin>& bins) {
  std::int64_t low = std::numeric_limits<std::int64_t>::max(), high = 0;
  for (const AxisBin& bin : bins) {
    if (bin.weights.empty()) continue;
    low = std::min(low, bin.first);
    high = std::max(high, bin.first + std::ssize(bin.weights));
  }
  return {std::min(low, high), high};
}

float weight_at(const AxisBin& bin, std::int64_t cell) {
  const auto place = cell - bin.first;
  return place >= 0 && place < std::ssize(bin.weights) ? bin.weights[static_cast<std::size_t>(place)] : 0.0F;
}

/// A box in the map of image `image`.
struct Roi {
  std::int64_t image;
  std::vector<AxisBin> xs, ys;
};

std::vector<Roi> rois_of(const std::vector<at::Tensor>& boxes, int size, std::int64_t height, std::int64_t width) {
  std::vector<Roi> rois;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const auto list = boxes[i].to(at::kCPU, at::kFloat).contiguous();
    const auto* corner = list.const_data_ptr<float>();
    for (std::int64_t n = 0; n < list.size(0); ++n, corner += 4) {
      rois.push_back({static_cast<std::int64_t>(i), axis_bins(corner[0], corner[2], size, width),
                      axis_bins(corner[1], corner[3], size, height)});
    }
  }
  return rois;
}

// The kernel for the CPU: channels lie beside one another, a row of the map is summed into the columns' bins once and
// from there into the rows' bins, so that a box costs what reading it costs.
struct RoiAlignKernel : torch::autograd::Function<RoiAlignKernel> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& map,
                            const std::vector<at::Tensor>& boxes, int size) {
    const auto pixels = map.permute({0, 2, 3, 1}).to(at::kFloat).contiguous();
    const std::int64_t height = pixels.size(1), width = pixels.size(2), channels = pixels.size(3);
    const auto rois = rois_of(boxes, size, height, width);
    auto out = at::zeros({std::ssize(rois), size, size, channels}, at::kFloat);
    const auto* in = pixels.const_data_ptr<float>();
    auto* to = out.mutable_data_ptr<float>();
    at::parallel_for(0, std::ssize(rois), 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(size * channels));
      for (std::int64_t n = begin; n < end; ++n) {
        const Roi& roi = rois[static_cast<std::size_t>(n)];
        const auto [top, bottom] = span_of(roi.ys);
        for (std::int64_t y = top; y < bottom; ++y) {
          const float* line = in + (roi.image * height + y) * width * channels;
          std::fill(row.begin(), row.end(), 0.0F);
          for (int px = 0; px < size; ++px) {
            const AxisBin& bin = roi.xs[static_cast<std::size_t>(px)];
            for (std::size_t i = 0; i < bin.weights.size(); ++i)
              add_scaled(bin.weights[i], line + (bin.first + static_cast<std::int64_t>(i)) * channels,
                         row.data() + px * channels, channels);
          }
          for (int py = 0; py < size; ++py) {
            const float weight = weight_at(roi.ys[static_cast<std::size_t>(py)], y);
            if (weight != 0.0F) add_scaled(weight, row.data(), to + (n * size + py) * size * channels, size * channels);
          }
        }
      }
    });
    ctx->saved_data["size"] = size;
    ctx->saved_data["shape"] = map.sizes().vec();
    ctx->saved_data["type"] = static_cast<std::int64_t>(map.scalar_type());
    ctx->saved_data["boxes"] = boxes;
    return out.permute({0, 3, 1, 2}).to(map.scalar_type());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    refuse_gradients_of_gradients("roi_align");
    const auto size = static_cast<int>(ctx->saved_data["size"].toInt());
    const auto shape = ctx->saved_data["shape"].toIntVector();
    const auto boxes = ctx->saved_data["boxes"].toTensorVector();
    const std::int64_t channels = shape[1], height = shape[2], width = shape[3];
    const auto incoming = gradients[0].permute({0, 2, 3, 1}).to(at::kFloat).contiguous();
    const auto rois = rois_of(boxes, size, height, width);
    auto out = at::zeros({shape[0], height, width, channels}, at::kFloat);
    const auto* from = incoming.const_data_ptr<float>();
    auto* to = out.mutable_data_ptr<float>();
    // Boxes overlap, channels do not: each thread has some of the channels to itself.
    constexpr std::int64_t kChannelsAtOnce = 32;
    at::parallel_for(0, channels, kChannelsAtOnce, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t count = end - begin;
      std::vector<float> sums(static_cast<std::size_t>(count));
      for (std::size_t n = 0; n < rois.size(); ++n) {
        const Roi& roi = rois[n];
        const auto [top, bottom] = span_of(roi.ys);
        const float* own = from + static_cast<std::int64_t>(n) * size * size * channels + begin;
        for (std::int64_t y = top; y < bottom; ++y) {
          float* line = to + (roi.image * height + y) * width * channels + begin;
          for (int px = 0; px < size; ++px) {
            const AxisBin& bin = roi.xs[static_cast<std::size_t>(px)];
            if (bin.weights.empty()) continue;
            std::fill(sums.begin(), sums.end(), 0.0F);
            for (int py = 0; py < size; ++py) {
              const float weight = weight_at(roi.ys[static_cast<std::size_t>(py)], y);
              if (weight != 0.0F) add_scaled(weight, own + (py * size + px) * channels, sums.data(), count);
            }
            for (std::size_t i = 0; i < bin.weights.size(); ++i)
              add_scaled(bin.weights[i], sums.data(), line + (bin.first + static_cast<std::int64_t>(i)) * channels,
                         count);
          }
        }
      }
    });
    const auto type = static_cast<at::ScalarType>(ctx->saved_data["type"].toInt());
    return {out.permute({0, 3, 1, 2}).to(type), at::Tensor(), at::Tensor()};
  }
};

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
  float* row = weights.mutable_data_ptr<float>();
  for (std::int64_t n = 0; n < count; ++n, row += size * length) {
    for_each_weight(begins.const_data_ptr<float>()[n], ends.const_data_ptr<float>()[n], size, length,
                    [&](int p, std::int64_t cell, float weight) { row[p * length + cell] += weight; });
  }
  return weights.to(begin.device());
}

at::Tensor roi_align(const at::Tensor& map, const std::vector<at::Tensor>& boxes, int size) {
  check(map, boxes, size);
  const bool ours = map.is_cpu() && (map.scalar_type() == at::kFloat || map.scalar_type() == at::kBFloat16);
  // Of one bin, the products are as good as the kernel.
  return ours && size > 1 ? RoiAlignKernel::apply(map, boxes, size) : roi_align_plain(map, boxes, size);
}

at::Tensor roi_align_plain(const at::Tensor& map, const std::vector<at::Tensor>& boxes, int size) {
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
