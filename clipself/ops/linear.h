// Linear layers, convolutions, and the matrix products beneath them.
//
// LibTorch's own, but for bfloat16 on processors without instructions to multiply it, where a library's product takes
// several times as long as that of float32, so operands are widened, and the result is rounded once; and but for large
// products where ours are faster (cpu/blocked_product.h): with AVX2 alone, and of bfloat16 on AMX.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops {

/// x (..., in) weight^T + bias (..., out) in x's type; weight (out, in), bias (out) or undefined, in that type or
/// float, of which the weight is rounded to the type of the product. Differentiable.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

/// The convolution of x (B, in, h, w) with weight (out, in, k, k), types and bias as above. Differentiable.
at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride,
                  std::int64_t padding);
/// The transposed convolution of x (B, in, h, w) with weight (in, out, k, k).
at::Tensor conv_transpose2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride);

/// a (m, k) b (k, n) -> (m, n) of `type`, multiplied in the product_type() of a's. For backward passes written by hand.
at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b, at::ScalarType type);

/// The type in which operands of `type` are multiplied on `device`.
at::ScalarType product_type(const at::Device& device, at::ScalarType type);

}  // namespace clipself::ops
