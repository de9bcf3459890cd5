// The gated unit of EVA-02's perceptrons (Shazeer 2020, SwiGLU) with the LayerNorm behind it (Wang et al. 2022,
// sub-LN).
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops {

/// gate, value (..., width) -> LayerNorm(silu(gate) * value) weight^T + bias (..., out), in their type, silu and norm
/// in float32; norm_weight and norm_bias (width), weight (out, width), bias (out). Differentiable. On CPUs the norm's
/// input is made in one pass of our own (cpu/vector_kernels.h), and the backward makes the linear layer's once more
/// rather than keep it; else plain_swiglu_norm_linear.
at::Tensor swiglu_norm_linear(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& norm_weight,
                              const at::Tensor& norm_bias, double eps, const at::Tensor& weight,
                              const at::Tensor& bias);

/// The same by ATen alone.
at::Tensor plain_swiglu_norm_linear(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& norm_weight,
                                    const at::Tensor& norm_bias, double eps, const at::Tensor& weight,
                                    const at::Tensor& bias);

}  // namespace clipself::ops
