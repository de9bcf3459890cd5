// Telling tensors from others without keeping them.
#pragma once

#include <string>

#include "clipself/formats/tensor_dict.h"

namespace clipself::formats {

/// 64-bit hash (FNV-1a by words) over names, shapes and bytes, as hexadecimal digits.
std::string fingerprint(const TensorDict& tensors);

}  // namespace clipself::formats
