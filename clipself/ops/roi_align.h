// RoIAlign (He et al., Mask R-CNN, 2017), the aligned variant with an adaptive sampling grid, as torchvision defines it
// with spatial_scale 1, sampling_ratio -1, aligned true.
#pragma once

#include <vector>

#include "clipself/base/torch.h"

namespace clipself::ops {

/// map (B, C, h, w); boxes: one float (n_i, 4) tensor of x0 y0 x1 y1 in map coordinates an image -> (sum n_i, C, size,
/// size). Differentiable with respect to `map`. Any device and floating type. Throws Error when shapes do not fit.
/// On the CPU several bins a box are pooled by a kernel of our own; elsewhere, and of one bin, by roi_align_plain.
at::Tensor roi_align(const at::Tensor& map, const std::vector<at::Tensor>& boxes, int size = 1);

/// The same by ATen alone, of any type.
/// The bilinear weights of a sample separate into a row part and a column part, and a bin averages a full grid of
/// samples, so each bin is wy^T map wx with two short weight vectors: the whole operator is two matrix products, and so
/// is its gradient.
at::Tensor roi_align_plain(const at::Tensor& map, const std::vector<at::Tensor>& boxes, int size = 1);

/// The weights of one axis: boxes' (n) begin and end -> (n, size, length).
at::Tensor roi_axis_weights(const at::Tensor& begin, const at::Tensor& end, int size, std::int64_t length);

}  // namespace clipself::ops
