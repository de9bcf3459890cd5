// Features as everything here compares them.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::evaluation {

/// `features` (..., D) of any type as float32 of unit length on the CPU; zeros stay zeros. `doing` is for the message:
/// throws Error when a number is not finite, which no ranking could tell from the best.
at::Tensor unit_features(const at::Tensor& features, const char* doing);

}  // namespace clipself::evaluation
