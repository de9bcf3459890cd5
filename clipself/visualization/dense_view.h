// The dense map of a picture of any size and shape, and maps of tokens brought to the picture's pixels.
#pragma once

#include <functional>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/image.h"
#include "clipself/models/clip_model.h"

namespace clipself::visualization {

/// The tokens that see the picture. A token at its right or lower border may also see padding.
struct DenseView {
  at::Tensor features;  ///< float (D, h, w), unit length at each position, on the CPU
  double columns = 0;   ///< the picture's extent in tokens: w - 1 < columns <= w
  double rows = 0;
};

/// The whole padded square: longer side to `image_size`, zeros right and below, as everywhere else. (1, D, S/p, S/p)
/// in float32, on the model's device. Throws Error unless `image_size` is a multiple of the patch size.
at::Tensor dense_square(models::ClipModel& model, const formats::Image& picture, int image_size);
/// Its part that holds the picture.
DenseView dense_view(models::ClipModel& model, const formats::Image& picture, int image_size);

/// (C, h, w), values at the view's tokens -> (C, y1 - y0, width): rows y0 up to y1 of the picture drawn width x height.
/// Bilinear between the centres of tokens (a pixel's centre (x + 0.5) / width * columns - 0.5 tokens from the first),
/// the outer tokens' values kept beyond them. Being linear, it may be applied to similarities instead of features.
at::Tensor enlarge_rows(const DenseView& view, const at::Tensor& maps, int width, int height, int y0, int y1);
/// All rows: (C, height, width).
at::Tensor enlarge(const DenseView& view, const at::Tensor& maps, int width, int height);

/// Cosine of each class with each token: `embeddings` (classes, D) of unit length -> (classes, h, w).
at::Tensor similarities(const DenseView& view, const at::Tensor& embeddings);
/// The index of the highest of C enlarged `scores` (C, h, w), of equal ones the first, at each of width * height
/// pixels, row by row. Memory grows with C * width, not with the pixels.
std::vector<int> best_of(const DenseView& view, const at::Tensor& scores, int width, int height);

}  // namespace clipself::visualization
