// Gradients that have no gradients of their own.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops {

/// For the beginning of a backward pass written by hand. With create_graph its result would look like a constant, and
/// gradients of gradients would be wrong in silence: throws c10::Error naming `op` instead.
inline void refuse_gradients_of_gradients(const char* op) {
  TORCH_CHECK(!at::GradMode::is_enabled(), op, ": its gradients cannot be differentiated themselves");
}

}  // namespace clipself::ops
