// Scaled dot-product attention (Vaswani et al. 2017).
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops {

/// q (B, Q, heads, d), k and v (B, N, heads, d) -> (B, Q, heads * d): softmax(q k^T / sqrt(d)) v. `causal`: a query
/// looks at keys up to its own place. `mask`, when defined, is a bool tensor that broadcasts to (B, heads, Q, N), true
/// where a query may look. Differentiable; on CPUs without causal and mask by our own kernels (cpu/attention.h) where
/// the processor has the instructions, else by ATen's.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                     const at::Tensor& mask = {});

/// The same by ATen alone.
at::Tensor plain_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                           const at::Tensor& mask = {});

}  // namespace clipself::ops
