// Products of large matrices of float and bfloat16, in blocks that stay in cache (Goto and van de Geijn 2008), on the
// small products of matrix.h and tiles.h.
//
// Of float: b is copied into panels of 32 columns, of which a block of 256 rows stays in the first- or second-level
// cache; a block of 96 rows and 256 columns of a meets one such panel after the other. Both are widened to float as
// they are copied, and results are rounded as they are done, so of bfloat16 only b's panels take memory of float as a
// whole.
//
// Of bfloat16 on AMX: both are copied, or turned, into tiles without gaps; 32 columns of b, 512 deep, stay in the
// first-level cache and up to 512 rows of a in the second-level one. A float b is rounded as it is copied.
//
// Bound by the small products.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Whether blocked_product takes these (..., k) and (k, n) and is faster than ATen: float and bfloat16 on a CPU where
/// level() is kAvx2; with AVX-512 where there is bfloat16 among them that would be widened; on AMX where a is of
/// bfloat16 (and b's columns follow one another or k is even); and enough to be worth the copies.
bool has_blocked_product(const at::Tensor& a, const at::Tensor& b);

/// a (m, k) b (k, n) + bias (n; undefined: none) -> (m, n) of `type`, float or bfloat16, whatever those of a and b;
/// summed up in float. Any strides; bias is of float.
at::Tensor blocked_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias, at::ScalarType type);

}  // namespace clipself::ops::cpu
