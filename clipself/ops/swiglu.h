// The gated unit of EVA-02's perceptrons (Shazeer 2020, SwiGLU) with the LayerNorm behind it (Wang et al. 2022,
// sub-LN).
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops {

/// gate, value (..., width) -> LayerNorm(silu(gate) * value) * weight + bias, in their type, computed in float32;
/// weight and bias (width). Differentiable. On CPUs one pass of our own (cpu/vector_kernels.h) that keeps gate and
/// value alone for the backward, else plain_swiglu_norm.
at::Tensor swiglu_norm(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& weight,
                       const at::Tensor& bias, double eps);

/// The same by ATen alone.
at::Tensor plain_swiglu_norm(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& weight,
                             const at::Tensor& bias, double eps);

}  // namespace clipself::ops
