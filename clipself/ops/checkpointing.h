// Trading computation for memory: a function whose intermediate results are computed again in the backward pass.
#pragma once

#include <functional>
#include <vector>

#include "clipself/base/torch.h"

namespace clipself::ops {

/// body(x), keeping only x. `parameters` are the tensors with gradients that body reads; their gradients and x's are
/// the same as without checkpointing. body must be a pure function of x and the parameters.
at::Tensor checkpoint(const std::function<at::Tensor(const at::Tensor&)>& body, const at::Tensor& x,
                      const std::vector<at::Tensor>& parameters);

}  // namespace clipself::ops
