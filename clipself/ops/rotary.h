// Two-dimensional rotary position embedding (Su et al. 2021) as EVA-02 uses it.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops {

struct RotaryTables {
  at::Tensor cos;  ///< float (h * w, head_width)
  at::Tensor sin;  ///< float (h * w, head_width)
  /// complex64 (1 + h*w, 1, head_width / 2): cos + i sin of each pair of channels, a leading 1 for the class token.
  at::Tensor factors;
};

/// Tables of an h x w grid for heads of `head_width` (a multiple of 4): the first half of a head turns with the row,
/// the second with the column, by angles position * pt_seq_len / side * 10000^(-4i / head_width), each for two
/// neighbouring channels.
RotaryTables rotary_tables(std::int64_t h, std::int64_t w, int head_width, int pt_seq_len, const at::Device& device);

/// x (B, 1 + h*w, heads, head_width), class token first -> x rotated, in x's type; computed in float32. Differentiable.
/// On CPUs one pass of our own (cpu/vector_kernels.h), else plain_rotary.
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTables& tables);

/// The same by ATen alone: turning two neighbouring channels by an angle is one complex product.
at::Tensor plain_rotary(const at::Tensor& x, const RotaryTables& tables);

}  // namespace clipself::ops
