// Sums over all tokens, as a bias's gradient is: read once, added in float, in an order that does not depend on the
// number of threads. Bound by memory.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// x (rows, n) -> (n) of float. Any type and strides; those of float and bfloat16 whose columns follow one another are
/// not copied.
at::Tensor column_sums(const at::Tensor& x);

}  // namespace clipself::ops::cpu
