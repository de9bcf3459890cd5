// Two-dimensional rotary position embedding (Su et al. 2021) as EVA-02 uses it.
#pragma once

#include <torch/torch.h>

#include <utility>

namespace clipself::ops {

struct RotaryTables {
  at::Tensor cos;  ///< float (h * w, head_width)
  at::Tensor sin;
};

/// Tables of an h x w grid for heads of `head_width`: half of each head turns with the row, half with the column, by angles
/// position * pt_seq_len / side * 10000^(-2i / (head_width / 2)), each repeated for two neighbouring channels.
RotaryTables rotary_tables(std::int64_t h, std::int64_t w, int head_width, int pt_seq_len, const at::Device& device);

/// x (B, heads, N, head_width) -> x with its last h*w tokens rotated; the tokens before them (the class token) are left alone.
/// Computed in float32, returned in x's type. Differentiable.
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTables& tables);

}  // namespace clipself::ops
