// OpenCV's resize in its own integer arithmetic. A floating-point bilinear resize differs from it by 1 in about an
// eighth of the values, which a detector trained on the one would meet in every picture of the other.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/ops/image_resize.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLIPSELF_OPENCV_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define CLIPSELF_OPENCV_CLONES
#endif

namespace clipself::ops {
namespace {

using formats::Image;
using formats::ImageMode;

constexpr float kWeightOne = 2048;

/// The two inputs of an output along one side and their weights out of 2048.
struct LinearTap {
  int first, second;
  std::int16_t first_weight, second_weight;
};

enum class BorderRule { kClampWeights, kClampInputs };  // OpenCV's columns do the one, its rows the other

std::vector<LinearTap> linear_taps(int in, int out, int begin, int count, BorderRule rule) {
  const double step = 1.0 / (static_cast<double>(out) / in);
  std::vector<LinearTap> taps;
  taps.reserve(static_cast<std::size_t>(count));
  for (int i = begin; i < begin + count; ++i) {
    const auto position = static_cast<float>((i + 0.5) * step - 0.5);
    int cell = static_cast<int>(std::floor(position));
    float part = position - static_cast<float>(cell);
    if (rule == BorderRule::kClampWeights && (cell < 0 || cell >= in - 1)) {
      cell = std::clamp(cell, 0, in - 1);
      part = 0;
    }
    taps.push_back({std::clamp(cell, 0, in - 1), std::clamp(cell + 1, 0, in - 1),
                    static_cast<std::int16_t>(std::nearbyint((1.0F - part) * kWeightOne)),
                    static_cast<std::int16_t>(std::nearbyint(part * kWeightOne))});
  }
  return taps;
}

/// One row interpolated along its width, in units of 1/128: what OpenCV's vertical pass looks at of its row sums.
template <std::size_t kChannels>
void interpolate_columns(const std::uint8_t* in, const std::vector<LinearTap>& taps, std::int16_t* out) {
  for (const LinearTap& tap : taps) {
    const std::uint8_t* a = in + static_cast<std::size_t>(tap.first) * kChannels;
    const std::uint8_t* b = in + static_cast<std::size_t>(tap.second) * kChannels;
    for (std::size_t c = 0; c < kChannels; ++c)
      out[c] = static_cast<std::int16_t>((a[c] * tap.first_weight + b[c] * tap.second_weight) >> 4);
    out += kChannels;
  }
}

CLIPSELF_OPENCV_CLONES
void interpolate_rows(const std::int16_t* above, const std::int16_t* below, std::int16_t above_weight,
                      std::int16_t below_weight, std::uint8_t* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto a = static_cast<std::int16_t>((above[i] * above_weight) >> 16);
    const auto b = static_cast<std::int16_t>((below[i] * below_weight) >> 16);
    out[i] = static_cast<std::uint8_t>(static_cast<std::int16_t>(a + b + 2) >> 2);
  }
}

template <std::size_t kChannels>
void interpolate(const Image& image, int width, int height, const Window& window, Image& out) {
  const auto columns = linear_taps(image.width, width, window.x, window.width, BorderRule::kClampWeights);
  const auto rows = linear_taps(image.height, height, window.y, window.height, BorderRule::kClampInputs);
  const std::size_t row_values = columns.size() * kChannels;
  std::vector<std::int16_t> lines(2 * row_values);
  std::int16_t* line[2] = {lines.data(), lines.data() + row_values};
  int held[2] = {-1, -1};  // which input row each line is of
  for (int y = 0; y < window.height; ++y) {
    const LinearTap& tap = rows[static_cast<std::size_t>(y)];
    if (held[1] == tap.first) {
      std::swap(line[0], line[1]);
      std::swap(held[0], held[1]);
    }
    const int wanted[2] = {tap.first, tap.second};
    for (int side = 0; side < 2; ++side) {
      if (held[side] == wanted[side]) continue;
      interpolate_columns<kChannels>(image.row(wanted[side]), columns, line[side]);
      held[side] = wanted[side];
    }
    interpolate_rows(line[0], line[1], tap.first_weight, tap.second_weight, out.row(y), row_values);
  }
}

void halve(const Image& image, const Window& window, Image& out) {
  const auto channels = static_cast<std::size_t>(formats::bytes_per_pixel(image.mode));
  for (int y = 0; y < window.height; ++y) {
    const std::size_t begin = 2 * static_cast<std::size_t>(window.x) * channels;
    const std::uint8_t* above = image.row(2 * (window.y + y)) + begin;
    const std::uint8_t* below = image.row(2 * (window.y + y) + 1) + begin;
    std::uint8_t* to = out.row(y);
    for (std::size_t x = 0; x < static_cast<std::size_t>(window.width); ++x) {
      for (std::size_t c = 0; c < channels; ++c) {
        const std::size_t left = 2 * x * channels + c;
        const std::size_t right = left + channels;
        to[x * channels + c] =
            static_cast<std::uint8_t>((above[left] + above[right] + below[left] + below[right] + 2) >> 2);
      }
    }
  }
}

void check_resize(std::int64_t from_width, std::int64_t from_height, int width, int height, const Window& window) {
  const bool sizes = from_width >= 1 && from_height >= 1 && width >= 1 && height >= 1;
  const bool inside = window.x >= 0 && window.y >= 0 && window.width >= 0 && window.height >= 0 &&
                      window.x <= width - window.width && window.y <= height - window.height;
  if (sizes && inside) return;
  throw Error({.doing = "resizing an image",
               .found = std::to_string(from_width) + " x " + std::to_string(from_height) + " to " +
                        std::to_string(width) + " x " + std::to_string(height) + " pixels" +
                        (sizes ? ", a window that reaches out of it" : ""),
               .expected = "at least one pixel, and a window inside the result"});
}

std::vector<std::size_t> nearest_inputs(std::int64_t in, int out, int begin, int count) {
  const double step = 1.0 / (static_cast<double>(out) / static_cast<double>(in));
  std::vector<std::size_t> inputs;
  inputs.reserve(static_cast<std::size_t>(count));
  for (int i = begin; i < begin + count; ++i)
    inputs.push_back(static_cast<std::size_t>(std::min(static_cast<std::int64_t>(i * step), in - 1)));
  return inputs;
}

}  // namespace

Image resize_bilinear_opencv(const Image& image, int width, int height, const Window& window) {
  check_resize(image.width, image.height, width, height, window);
  const ImageMode mode = image.mode;
  if (mode == ImageMode::k1 || mode == ImageMode::kP || mode == ImageMode::kI) {
    throw Error({.doing = "resizing an image",
                 .found = std::string("mode ") + formats::name(mode),
                 .expected = "one byte a channel: L, LA, RGB, RGBA or CMYK"});
  }
  if (width == image.width && height == image.height) {
    const double x = window.x, y = window.y;
    return crop(image, {x, y, x + window.width, y + window.height});
  }
  Image out = formats::blank_image(mode, window.width, window.height);
  if (window.width == 0 || window.height == 0) return out;
  if (image.width == std::int64_t{2} * width && image.height == std::int64_t{2} * height) {
    halve(image, window, out);
    return out;
  }
  switch (formats::bytes_per_pixel(mode)) {
    case 1:
      interpolate<1>(image, width, height, window, out);
      break;
    case 2:
      interpolate<2>(image, width, height, window, out);
      break;
    case 3:
      interpolate<3>(image, width, height, window, out);
      break;
    default:
      interpolate<4>(image, width, height, window, out);
  }
  return out;
}

Image resize_bilinear_opencv(const Image& image, int width, int height) {
  return resize_bilinear_opencv(image, width, height, {0, 0, width, height});
}

at::Tensor resize_masks_opencv(const at::Tensor& masks, int width, int height, const Window& window) {
  TORCH_CHECK(masks.dim() == 3 && masks.element_size() == 1 && masks.device().is_cpu(),
              "masks to resize must be uint8 or bool (n, h, w) on the CPU, not ", masks.sizes());
  check_resize(masks.size(2), masks.size(1), width, height, window);
  const auto columns = nearest_inputs(masks.size(2), width, window.x, window.width);
  const auto rows = nearest_inputs(masks.size(1), height, window.y, window.height);
  if (window.width == 0 || window.height == 0)
    return at::empty({masks.size(0), window.height, window.width}, masks.options());
  const at::Tensor input = masks.contiguous();
  at::Tensor out = at::empty({masks.size(0), window.height, window.width}, masks.options());
  const auto* from = static_cast<const std::uint8_t*>(input.const_data_ptr());
  auto* to = static_cast<std::uint8_t*>(out.mutable_data_ptr());
  const auto in_row = static_cast<std::size_t>(masks.size(2));
  const std::size_t in_mask = in_row * static_cast<std::size_t>(masks.size(1));
  for (std::int64_t i = 0; i < masks.size(0); ++i, from += in_mask) {
    const std::size_t* above = nullptr;
    for (const std::size_t& row : rows) {
      if (above != nullptr && *above == row) {  // enlarged: most rows are their neighbour again
        std::memcpy(to, to - columns.size(), columns.size());
      } else {
        const std::uint8_t* line = from + row * in_row;
        for (std::size_t x = 0; x < columns.size(); ++x) to[x] = line[columns[x]];
      }
      above = &row;
      to += columns.size();
    }
  }
  return out;
}

std::array<int, 2> rescale_size(int width, int height, int longest, int shortest) {
  const double factor = std::min(static_cast<double>(std::max(longest, shortest)) / std::max(width, height),
                                 static_cast<double>(std::min(longest, shortest)) / std::min(width, height));
  const auto scaled = [factor](int side) { return std::max(static_cast<int>(side * factor + 0.5), 1); };
  return {scaled(width), scaled(height)};
}

}  // namespace clipself::ops
