// Named tensors in a fixed order: what a checkpoint holds and what a model gives and takes.
#pragma once

#include <string>

#include "clipself/base/torch.h"

namespace clipself::formats {

/// Ordered name -> tensor; find(name) gives a pointer or nullptr, insert() refuses a second tensor of one name.
using TensorDict = torch::OrderedDict<std::string, at::Tensor>;

}  // namespace clipself::formats
