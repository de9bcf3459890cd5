#include "clipself/visualization/dense_view.h"

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"

namespace clipself::visualization {

namespace {

// The two tokens each pixel lies between, and how far it is from the first.
struct Positions {
  at::Tensor first, second, fraction;
};

Positions positions(int begin, int end, int pixels, double extent, std::int64_t tokens) {
  std::vector<std::int64_t> first, second;
  std::vector<float> fraction;
  const auto last = static_cast<double>(tokens - 1);
  for (int i = begin; i < end; ++i) {
    const double at = std::clamp((i + 0.5) / pixels * extent - 0.5, 0.0, last);
    const double cell = std::floor(at);
    first.push_back(static_cast<std::int64_t>(cell));
    second.push_back(std::min(first.back() + 1, tokens - 1));
    fraction.push_back(static_cast<float>(at - cell));
  }
  return {at::tensor(first, at::kLong), at::tensor(second, at::kLong), at::tensor(fraction)};
}

at::Tensor between(const at::Tensor& maps, const Positions& where, std::int64_t dim) {
  const at::Tensor fraction = dim == 1 ? where.fraction.view({1, -1, 1}) : where.fraction;
  return at::lerp(maps.index_select(dim, where.first), maps.index_select(dim, where.second), fraction);
}

}  // namespace

at::Tensor dense_square(models::ClipModel& model, const formats::Image& picture, int image_size) {
  const at::NoGradGuard no_grad;
  const int patch = model.visual().patch_size();
  if (image_size < patch || image_size % patch != 0)
    throw Error({.doing = "making a dense map",
                 .where = std::to_string(image_size) + " pixels",
                 .found = "no multiple of the patch size",
                 .expected = "a multiple of " + std::to_string(patch)});
  const at::Tensor image = datasets::to_tensor(datasets::resize_longest(picture, image_size)).unsqueeze(0);
  return model.encode_dense(datasets::model_input(model, image)).to(at::kFloat);
}

DenseView dense_view(models::ClipModel& model, const formats::Image& picture, int image_size) {
  const at::Tensor square = dense_square(model, picture, image_size)[0];
  const auto [width, height] = datasets::longest_size(picture.width, picture.height, image_size);
  const int patch = model.visual().patch_size();
  const std::int64_t w = (width + patch - 1) / patch, h = (height + patch - 1) / patch;
  return {.features = square.narrow(1, 0, h).narrow(2, 0, w).cpu().contiguous(),
          .columns = static_cast<double>(width) / patch,
          .rows = static_cast<double>(height) / patch};
}

at::Tensor enlarge_rows(const DenseView& view, const at::Tensor& maps, int width, int height, int y0, int y1) {
  const at::Tensor wide = between(maps, positions(0, width, width, view.columns, maps.size(2)), 2);
  return between(wide, positions(y0, y1, height, view.rows, maps.size(1)), 1);
}

at::Tensor enlarge(const DenseView& view, const at::Tensor& maps, int width, int height) {
  return enlarge_rows(view, maps, width, height, 0, height);
}

at::Tensor similarities(const DenseView& view, const at::Tensor& embeddings) {
  const at::Tensor flat = embeddings.to(at::kFloat).matmul(view.features.flatten(1));
  return flat.view({embeddings.size(0), view.features.size(1), view.features.size(2)});
}

std::vector<int> best_of(const DenseView& view, const at::Tensor& scores, int width, int height) {
  const at::Tensor wide =
      between(scores, positions(0, width, width, view.columns, scores.size(2)), 2).transpose(0, 1).contiguous();
  const Positions down = positions(0, height, height, view.rows, scores.size(1));
  const std::int64_t classes = scores.size(0);
  const auto pixels = static_cast<std::size_t>(width);
  std::vector<int> best(pixels * static_cast<std::size_t>(height));
  // By hand: argmax over the first of three dimensions is many times slower, and needs all values at once.
  std::vector<float> highest(pixels);
  for (int y = 0; y < height; ++y) {
    const float* above = wide.const_data_ptr<float>() + down.first.const_data_ptr<std::int64_t>()[y] * classes * width;
    const float* below = wide.const_data_ptr<float>() + down.second.const_data_ptr<std::int64_t>()[y] * classes * width;
    const float fraction = down.fraction.const_data_ptr<float>()[y];
    int* row = best.data() + static_cast<std::size_t>(y) * pixels;
    std::fill(highest.begin(), highest.end(), -HUGE_VALF);
    for (int label = 0; label < classes; ++label, above += width, below += width)
      for (std::size_t x = 0; x < pixels; ++x) {
        const float value = above[x] + fraction * (below[x] - above[x]);
        row[x] = value > highest[x] ? label : row[x];
        highest[x] = std::max(highest[x], value);
      }
  }
  return best;
}

}  // namespace clipself::visualization
