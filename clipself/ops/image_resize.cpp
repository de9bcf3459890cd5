#include "clipself/ops/image_resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "clipself/base/clones.h"
#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

using formats::Image;
using formats::ImageMode;

// A rectangle of pixels somewhere in an image.
struct View {
  const std::uint8_t* data;
  std::size_t stride;  // bytes from row to row
  int width, height;
  ImageMode mode;
  std::size_t channels() const { return static_cast<std::size_t>(formats::bytes_per_pixel(mode)); }
  const std::uint8_t* row(int y) const { return data + static_cast<std::size_t>(y) * stride; }
};

View whole(const Image& image) {
  return {image.pixels.data(), image.row_bytes(), image.width, image.height, image.mode};
}

// Keys' cubic with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// Which inputs, with which weights, make each output along one side.
struct Taps {
  struct Range {
    int first;
    int count;
    std::size_t offset;  // of its weights
  };
  std::vector<Range> ranges;
  std::vector<double> weights;

  int first_input() const { return ranges.front().first; }
  int end_input() const { return ranges.back().first + ranges.back().count; }
};

Taps make_taps(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double stretch = std::max(scale, 1.0);
  const double support = 2.0 * stretch;
  const double shrink = 1.0 / stretch;
  Taps taps;
  taps.ranges.reserve(static_cast<std::size_t>(out));
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in);
    const std::size_t offset = taps.weights.size();
    double sum = 0;
    for (int x = first; x < end; ++x) {
      taps.weights.push_back(cubic((x - center + 0.5) * shrink));
      sum += taps.weights.back();
    }
    if (sum != 0.0) {
      for (std::size_t k = offset; k < taps.weights.size(); ++k) taps.weights[k] /= sum;
    }
    taps.ranges.push_back({first, end - first, offset});
  }
  return taps;
}

// 8 bits of pixel, 2 bits of headroom for sums outside 0..255, the rest for the weight.
constexpr int kPrecision = 32 - 8 - 2;

std::vector<std::int32_t> fixed_point(const std::vector<double>& weights) {
  std::vector<std::int32_t> fixed(weights.size());
  constexpr double one = 1 << kPrecision;
  std::transform(weights.begin(), weights.end(), fixed.begin(),
                 [](double w) { return static_cast<std::int32_t>((w < 0 ? -0.5 : 0.5) + w * one); });
  return fixed;
}

// out[i] = clip(sum over t of weights[t] * in[t * stride + i]), i < n.
CLIPSELF_CLONES
void weigh_rows(const std::uint8_t* in, std::size_t stride, const std::int32_t* weights, int taps, std::uint8_t* out,
                std::size_t n) {
  constexpr std::size_t kBlock = 32;
  constexpr std::int32_t kHalf = 1 << (kPrecision - 1);
  std::size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    std::int32_t sums[kBlock];
    for (auto& sum : sums) sum = kHalf;
    for (int t = 0; t < taps; ++t) {
      const std::uint8_t* pixels = in + static_cast<std::size_t>(t) * stride + i;
      const std::int32_t weight = weights[t];
      for (std::size_t j = 0; j < kBlock; ++j) sums[j] += weight * pixels[j];
    }
    for (std::size_t j = 0; j < kBlock; ++j) {
      out[i + j] = static_cast<std::uint8_t>(std::clamp(sums[j] >> kPrecision, 0, 255));
    }
  }
  for (; i < n; ++i) {
    std::int32_t sum = kHalf;
    for (int t = 0; t < taps; ++t) sum += weights[t] * in[static_cast<std::size_t>(t) * stride + i];
    out[i] = static_cast<std::uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
  }
}

// to[column * rows + row] = from[row * stride + column]
void transpose_bytes(const std::uint8_t* from, std::size_t stride, std::size_t rows, std::size_t columns,
                     std::uint8_t* to, std::size_t to_stride) {
  constexpr std::size_t kTile = 16;
  for (std::size_t c0 = 0; c0 < columns; c0 += kTile) {
    const std::size_t c1 = std::min(c0 + kTile, columns);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::uint8_t* row = from + r * stride;
      for (std::size_t c = c0; c < c1; ++c) to[c * to_stride + r] = row[c];
    }
  }
}

// The horizontal pass is the vertical one on a transposed strip of rows: neighbouring pixels of a row then lie a whole
// strip apart, and the arithmetic runs along contiguous bytes whatever the number of channels.
void resize_width(const View& in, int first_row, int rows, const Taps& taps, std::uint8_t* out) {
  constexpr std::size_t kStrip = 32;
  const std::size_t channels = in.channels();
  const std::size_t in_columns = static_cast<std::size_t>(in.width) * channels;
  const std::size_t out_columns = taps.ranges.size() * channels;
  const auto weights = fixed_point(taps.weights);
  std::vector<std::uint8_t> strip(in_columns * kStrip);
  std::vector<std::uint8_t> weighed(out_columns * kStrip);
  for (int y = 0; y < rows; y += static_cast<int>(kStrip)) {
    const std::size_t count = std::min(kStrip, static_cast<std::size_t>(rows - y));
    transpose_bytes(in.row(first_row + y), in.stride, count, in_columns, strip.data(), kStrip);
    for (std::size_t x = 0; x < taps.ranges.size(); ++x) {
      const auto& range = taps.ranges[x];
      weigh_rows(strip.data() + static_cast<std::size_t>(range.first) * channels * kStrip, channels * kStrip,
                 weights.data() + range.offset, range.count, weighed.data() + x * channels * kStrip, channels * kStrip);
    }
    transpose_bytes(weighed.data(), kStrip, out_columns, count, out + static_cast<std::size_t>(y) * out_columns,
                    out_columns);
  }
}

void resize_height(const std::uint8_t* in, std::size_t stride, int first_row, const Taps& taps, std::uint8_t* out,
                   std::size_t row_bytes) {
  const auto weights = fixed_point(taps.weights);
  for (const auto& range : taps.ranges) {
    weigh_rows(in + static_cast<std::size_t>(range.first - first_row) * stride, stride, weights.data() + range.offset,
               range.count, out, row_bytes);
    out += row_bytes;
  }
}

Image resize_bytes(const View& in, int width, int height) {
  Image out = formats::blank_image(in.mode, width, height);
  const std::size_t row_bytes = out.row_bytes();
  if (height == in.height) {
    resize_width(in, 0, in.height, make_taps(in.width, width), out.pixels.data());
    return out;
  }
  const Taps vertical = make_taps(in.height, height);
  if (width == in.width) {
    resize_height(in.data, in.stride, 0, vertical, out.pixels.data(), row_bytes);
    return out;
  }
  const int first = vertical.first_input();
  const int rows = vertical.end_input() - first;
  std::vector<std::uint8_t> between(static_cast<std::size_t>(rows) * row_bytes);
  resize_width(in, first, rows, make_taps(in.width, width), between.data());
  resize_height(between.data(), row_bytes, first, vertical, out.pixels.data(), row_bytes);
  return out;
}

// Mode I: weights and sums in double, each pass rounded half away from zero.
using Integers = std::vector<std::int32_t>;
void weigh_integers(const std::int32_t* in, std::size_t step, const Taps& taps, std::int32_t* out,
                    std::size_t out_step) {
  for (std::size_t i = 0; i < taps.ranges.size(); ++i) {
    const auto& range = taps.ranges[i];
    double sum = 0;
    for (int t = 0; t < range.count; ++t) {
      sum += in[static_cast<std::size_t>(range.first + t) * step] *
             taps.weights[range.offset + static_cast<std::size_t>(t)];
    }
    out[i * out_step] = static_cast<std::int32_t>(std::round(sum));
  }
}

Image resize_integers(const View& in, int width, int height) {
  const auto in_width = static_cast<std::size_t>(in.width);
  const auto in_height = static_cast<std::size_t>(in.height);
  const auto out_width = static_cast<std::size_t>(width);
  Integers values(in_width * in_height);
  for (std::size_t y = 0; y < in_height; ++y)
    std::memcpy(&values[y * in_width], in.row(static_cast<int>(y)), in_width * 4);
  if (width != in.width) {
    const Taps taps = make_taps(in.width, width);
    Integers wide(out_width * in_height);
    for (std::size_t y = 0; y < in_height; ++y) weigh_integers(&values[y * in_width], 1, taps, &wide[y * out_width], 1);
    values = std::move(wide);
  }
  if (height != in.height) {
    const Taps taps = make_taps(in.height, height);
    Integers high(out_width * static_cast<std::size_t>(height));
    for (std::size_t x = 0; x < out_width; ++x) weigh_integers(&values[x], out_width, taps, &high[x], out_width);
    values = std::move(high);
  }
  Image out = formats::blank_image(ImageMode::kI, width, height);
  std::memcpy(out.pixels.data(), values.data(), out.pixels.size());
  return out;
}

// Position of each output's sample. The running sum, not a product, is what Pillow's rounding depends on.
std::vector<int> nearest_positions(int in, int out) {
  std::vector<int> positions(static_cast<std::size_t>(out));
  const double step = static_cast<double>(in) / out;
  double at = step * 0.5;
  for (int& position : positions) {
    position = std::min(static_cast<int>(at), in - 1);
    at += step;
  }
  return positions;
}

Image resize_nearest(const View& in, int width, int height) {
  Image out = formats::blank_image(in.mode, width, height);
  const auto columns = nearest_positions(in.width, width);
  const auto rows = nearest_positions(in.height, height);
  for (int y = 0; y < height; ++y) {
    const std::uint8_t* from = in.row(rows[static_cast<std::size_t>(y)]);
    std::uint8_t* to = out.row(y);
    for (std::size_t x = 0; x < columns.size(); ++x) to[x] = from[columns[x]];
  }
  return out;
}

Image copy(const View& in) {
  Image out = formats::blank_image(in.mode, in.width, in.height);
  for (int y = 0; y < in.height; ++y) std::memcpy(out.row(y), in.row(y), out.row_bytes());
  return out;
}

// Colour times alpha, rounded as Pillow does, and back.
void premultiply(Image& image) {
  const auto channels = static_cast<std::size_t>(formats::bytes_per_pixel(image.mode));
  for (std::size_t i = 0; i < image.pixels.size(); i += channels) {
    const unsigned alpha = image.pixels[i + channels - 1];
    for (std::size_t c = 0; c + 1 < channels; ++c) {
      const unsigned product = image.pixels[i + c] * alpha + 128;
      image.pixels[i + c] = static_cast<std::uint8_t>(((product >> 8) + product) >> 8);
    }
  }
}

void unpremultiply(Image& image) {
  const auto channels = static_cast<std::size_t>(formats::bytes_per_pixel(image.mode));
  for (std::size_t i = 0; i < image.pixels.size(); i += channels) {
    const unsigned alpha = image.pixels[i + channels - 1];
    if (alpha == 0 || alpha == 255) continue;
    for (std::size_t c = 0; c + 1 < channels; ++c) {
      image.pixels[i + c] = static_cast<std::uint8_t>(std::min(255U * image.pixels[i + c] / alpha, 255U));
    }
  }
}

Image resize_view(const View& in, int width, int height) {
  if (in.width < 1 || in.height < 1 || width < 1 || height < 1) {
    throw Error({.doing = "resizing an image",
                 .found = std::to_string(in.width) + " x " + std::to_string(in.height) + " to " +
                          std::to_string(width) + " x " + std::to_string(height) + " pixels",
                 .expected = "at least one pixel"});
  }
  if (width == in.width && height == in.height) return copy(in);
  switch (in.mode) {
    case ImageMode::k1:
    case ImageMode::kP:
      return resize_nearest(in, width, height);
    case ImageMode::kI:
      return resize_integers(in, width, height);
    case ImageMode::kLA:
    case ImageMode::kRGBA: {
      Image premultiplied = copy(in);
      premultiply(premultiplied);
      Image out = resize_bytes(whole(premultiplied), width, height);
      unpremultiply(out);
      return out;
    }
    default:
      return resize_bytes(in, width, height);
  }
}

struct Corners {
  int x0, y0, x1, y1;
  int width() const { return static_cast<int>(std::clamp<std::int64_t>(std::int64_t{x1} - x0, 0, INT32_MAX)); }
  int height() const { return static_cast<int>(std::clamp<std::int64_t>(std::int64_t{y1} - y0, 0, INT32_MAX)); }
};
Corners round_box(const Box& box) {
  return {round_half_even(box.x0), round_half_even(box.y0), round_half_even(box.x1), round_half_even(box.y1)};
}

}  // namespace

int round_half_even(double value) {
  // nearbyint rounds halves to even in the default rounding mode.
  const double rounded = std::nearbyint(value);
  if (std::isnan(rounded)) return 0;
  if (rounded >= std::numeric_limits<int>::max()) return std::numeric_limits<int>::max();
  if (rounded <= std::numeric_limits<int>::min()) return std::numeric_limits<int>::min();
  return static_cast<int>(rounded);
}

Image resize_bicubic(const Image& image, int width, int height) {
  Image out = resize_view(whole(image), width, height);
  out.palette = image.palette;
  return out;
}

Image crop(const Image& image, const Box& box) {
  const Corners corners = round_box(box);
  constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;
  if (std::int64_t{corners.width()} * corners.height() > kMaxPixels) {
    throw Error({.doing = "cropping an image",
                 .found = std::to_string(corners.width()) + " x " + std::to_string(corners.height()) + " pixels",
                 .expected = "at most 2^28"});
  }
  Image out = formats::blank_image(image.mode, corners.width(), corners.height());
  out.palette = image.palette;
  const int x0 = std::max(corners.x0, 0);
  const int x1 = std::min(corners.x1, image.width);
  if (x0 >= x1) return out;
  const auto bytes = static_cast<std::size_t>(formats::bytes_per_pixel(image.mode));
  for (int y = std::max(corners.y0, 0); y < std::min(corners.y1, image.height); ++y) {
    std::memcpy(out.row(y - corners.y0) + static_cast<std::size_t>(x0 - corners.x0) * bytes,
                image.row(y) + static_cast<std::size_t>(x0) * bytes, static_cast<std::size_t>(x1 - x0) * bytes);
  }
  return out;
}

Image crop_and_resize_bicubic(const Image& image, const Box& box, int width, int height) {
  const Corners c = round_box(box);
  if (c.x0 < 0 || c.y0 < 0 || c.x1 > image.width || c.y1 > image.height) {
    return resize_bicubic(crop(image, box), width, height);
  }
  View view = whole(image);
  if (c.width() > 0 && c.height() > 0) view.data = image.row(c.y0) + static_cast<std::size_t>(c.x0) * view.channels();
  view.width = c.width();
  view.height = c.height();
  Image out = resize_view(view, width, height);
  out.palette = image.palette;
  return out;
}

Image pad(const Image& image, int left, int top, int right, int bottom, int fill) {
  Image out = formats::blank_image(image.mode, left + image.width + right, top + image.height + bottom);
  out.palette = image.palette;
  if (image.mode == ImageMode::kI) {
    std::vector<std::int32_t> row(static_cast<std::size_t>(out.width), fill);
    for (int y = 0; y < out.height; ++y) std::memcpy(out.row(y), row.data(), out.row_bytes());
  } else if (fill != 0) {
    std::fill(out.pixels.begin(), out.pixels.end(), static_cast<std::uint8_t>(fill));
  }
  const auto offset = static_cast<std::size_t>(left) * static_cast<std::size_t>(formats::bytes_per_pixel(image.mode));
  for (int y = 0; y < image.height; ++y) std::memcpy(out.row(top + y) + offset, image.row(y), image.row_bytes());
  return out;
}

}  // namespace clipself::ops
