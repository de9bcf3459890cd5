#include "clipself/datasets/transforms.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "clipself/base/clones.h"
#include "clipself/base/error.h"

namespace clipself::datasets {
namespace {

using formats::Image;

struct Size {
  int width, height;
};

// Longer side to `size`: each side times size / longer, as the original writes it.
Size fit(int width, int height, int size) {
  const double scale = size / static_cast<double>(std::max(width, height));
  return {std::max(ops::round_half_even(width * scale), 1), std::max(ops::round_half_even(height * scale), 1)};
}

void require_size(int size) {
  if (size < 1)
    throw Error({.doing = "resizing an image", .found = std::to_string(size), .expected = "a positive size"});
}

CLIPSELF_CLONES
void split_planes(const std::uint8_t* rgb, std::size_t count, std::uint8_t* red, std::uint8_t* green,
                  std::uint8_t* blue) {
  for (std::size_t i = 0; i < count; ++i) {
    red[i] = rgb[3 * i];
    green[i] = rgb[3 * i + 1];
    blue[i] = rgb[3 * i + 2];
  }
}

// The inputs of one output along one side, and their weights.
struct Tap {
  int first;
  std::vector<float> weights;
};

// Four taps around the position, a = -0.75, positions past the border clamped by the reader.
std::vector<Tap> cubic_taps(int in, int out) {
  constexpr float a = -0.75F;
  const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  std::vector<Tap> taps;
  for (int i = 0; i < out; ++i) {
    // The scale is a float's, the rest is not rounded to one: so torch 1.13 computes it, and at position 250 a float's
    // last bit would already show in the fifth digit of the result.
    const double position = static_cast<double>(scale) * (i + 0.5) - 0.5;
    const double cell = std::floor(position);
    const auto t = static_cast<float>(std::clamp(position - cell, 0.0, 1.0));
    taps.push_back({static_cast<int>(cell) - 1, {far(t + 1), near(t), near(1 - t), far(2 - t)}});
  }
  return taps;
}

// Support widened by the scale, a = -0.5, weights normalised over the inputs that exist.
std::vector<Tap> antialiased_taps(int in, int out) {
  constexpr float a = -0.5F;
  const auto cubic = [](float x) {
    x = std::abs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0F;
  };
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  const float stretch = std::max(scale, 1.0F);
  const float support = 2 * stretch;
  std::vector<Tap> taps;
  for (int i = 0; i < out; ++i) {
    const float center = scale * (static_cast<float>(i) + 0.5F);
    const int first = std::max(static_cast<int>(center - support + 0.5F), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5F), in);
    Tap tap{first, {}};
    float sum = 0;
    for (int x = first; x < end; ++x) {
      tap.weights.push_back(cubic((static_cast<float>(x) - center + 0.5F) / stretch));
      sum += tap.weights.back();
    }
    for (float& weight : tap.weights) weight /= sum;
    taps.push_back(std::move(tap));
  }
  return taps;
}

}  // namespace

Image resize_longest(const Image& image, int size) {
  require_size(size);
  const auto [width, height] = fit(image.width, image.height, size);
  const Image resized = ops::resize_bicubic(image, width, height);
  return formats::to_rgb(ops::pad(resized, 0, 0, size - width, size - height));
}

std::array<int, 2> longest_size(int width, int height, int size) {
  const auto [w, h] = fit(width, height, size);
  return {w, h};
}

double longest_scale(int width, int height, int size) {
  return std::min(static_cast<double>(size) / height, static_cast<double>(size) / width);
}

Image resize_shortest_and_crop(const Image& image, int size) {
  require_size(size);
  const int shorter = std::min(image.width, image.height);
  const auto side = [&](std::int64_t length) {
    return static_cast<std::int64_t>(static_cast<double>(size * length) / shorter);
  };
  const std::int64_t longer = side(std::max(image.width, image.height));
  constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;
  if (longer * size > kMostPixels)
    throw Error({.doing = "resizing an image",
                 .found = std::to_string(image.width) + " x " + std::to_string(image.height) + " pixels",
                 .expected = "a picture less long and thin"});
  const int width = image.width == shorter ? size : static_cast<int>(longer);
  const int height = image.height == shorter ? size : static_cast<int>(longer);
  const double left = ops::round_half_even((width - size) / 2.0), top = ops::round_half_even((height - size) / 2.0);
  const Image resized = ops::resize_bicubic(image, width, height);
  return formats::to_rgb(ops::crop(resized, {left, top, left + size, top + size}));
}

Image whole_image(const Image& image, const models::ClipConfig& config) {
  const int size = config.vision.image_size;
  return config.squash ? formats::to_rgb(ops::resize_bicubic(image, size, size))
                       : resize_shortest_and_crop(image, size);
}

Image crop_and_resize(const Image& image, const ops::Box& box, int size) {
  require_size(size);
  int x0 = ops::round_half_even(box.x0);
  int y0 = ops::round_half_even(box.y0);
  int x1 = ops::round_half_even(box.x1);
  int y1 = ops::round_half_even(box.y1);
  const auto widen = [](int& low, int& high, int limit) {
    if (high > low) return;
    low = std::clamp(low, 0, limit - 1);
    high = low + 1;
  };
  widen(x0, x1, image.width);
  widen(y0, y1, image.height);
  const ops::Box rounded{static_cast<double>(x0), static_cast<double>(y0), static_cast<double>(x1),
                         static_cast<double>(y1)};
  const auto [width, height] = fit(x1 - x0, y1 - y0, size);
  const Image resized = ops::crop_and_resize_bicubic(image, rounded, width, height);
  const int right = size - width;
  const int bottom = size - height;
  return formats::to_rgb(ops::pad(resized, right / 2, bottom / 2, right - right / 2, bottom - bottom / 2));
}

void write_planes(const Image& rgb, std::uint8_t* out) {
  if (rgb.mode != formats::ImageMode::kRGB) {
    throw Error({.doing = "making a tensor of an image",
                 .found = std::string("mode ") + formats::name(rgb.mode),
                 .expected = "RGB"});
  }
  const std::size_t plane = static_cast<std::size_t>(rgb.width) * static_cast<std::size_t>(rgb.height);
  split_planes(rgb.pixels.data(), plane, out, out + plane, out + 2 * plane);
}

at::Tensor to_tensor(const Image& rgb) {
  at::Tensor out = at::empty({3, rgb.height, rgb.width}, at::kByte);
  write_planes(rgb, out.mutable_data_ptr<std::uint8_t>());
  return out;
}

at::Tensor normalize(const at::Tensor& pixels, const models::PixelStatistics& statistics) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(pixels.device());
  const auto channel = [&](const std::array<float, 3>& values) {
    return at::tensor(at::ArrayRef<float>(values), at::kFloat).to(options).view({3, 1, 1});
  };
  return pixels.to(at::kFloat).div_(255.0).sub_(channel(statistics.mean)).div_(channel(statistics.std));
}

at::Tensor model_input(models::ClipModel& model, const at::Tensor& images) {
  const auto moved = images.to(model.logit_scale().device(), /*non_blocking=*/true);
  return moved.is_floating_point() ? moved.to(at::kFloat) : normalize(moved, model.config().pixels);
}

at::Tensor resize_mask(const at::Tensor& mask, int size, MaskRule rule) {
  require_size(size);
  TORCH_CHECK(mask.dim() == 2 && mask.element_size() == 1 && mask.device().is_cpu(),
              "resize_mask takes a bool or uint8 (H, W) tensor on the CPU, not ", mask.sizes(), " ",
              mask.scalar_type());
  const at::Tensor dense = mask.contiguous();
  const auto* in = static_cast<const std::uint8_t*>(dense.const_data_ptr());
  const int in_height = static_cast<int>(mask.size(0));
  const int in_width = static_cast<int>(mask.size(1));
  const auto [width, height] = fit(in_width, in_height, size);
  const auto make_taps = rule == MaskRule::kBicubic ? cubic_taps : antialiased_taps;
  const auto columns = make_taps(in_width, width);
  const auto rows = make_taps(in_height, height);

  at::Tensor out = at::zeros({size, size}, at::kFloat);
  auto* to = out.mutable_data_ptr<float>();
  for (int y = 0; y < height; ++y) {
    const Tap& down = rows[static_cast<std::size_t>(y)];
    for (int x = 0; x < width; ++x) {
      const Tap& across = columns[static_cast<std::size_t>(x)];
      float sum = 0;
      for (std::size_t j = 0; j < down.weights.size(); ++j) {
        const int row = std::clamp(down.first + static_cast<int>(j), 0, in_height - 1);
        const std::uint8_t* pixels = in + static_cast<std::ptrdiff_t>(row) * in_width;
        float line = 0;
        for (std::size_t i = 0; i < across.weights.size(); ++i) {
          const int column = std::clamp(across.first + static_cast<int>(i), 0, in_width - 1);
          if (pixels[column] != 0) line += across.weights[i];
        }
        sum += line * down.weights[j];
      }
      to[static_cast<std::ptrdiff_t>(y) * size + x] = sum;
    }
  }
  return out;
}

}  // namespace clipself::datasets
