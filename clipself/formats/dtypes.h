// The names each file format gives to the tensor types.
#pragma once

#include <span>
#include <string_view>

#include "clipself/base/torch.h"

namespace clipself::formats {

/// One tensor type; a name is empty where the format has none.
struct DtypeNames {
  at::ScalarType type;
  std::string_view torch;        ///< "float32"
  std::string_view storage;      ///< "FloatStorage", the class a torch pickle names
  std::string_view safetensors;  ///< "F32"
  std::string_view numpy;        ///< "f4", without the byte order
};

/// Every type that some file may hold.
std::span<const DtypeNames> all_dtypes();
/// The row of `type`, or nullptr for a type no file of ours may hold (quantized ones, for example).
const DtypeNames* dtype_names(at::ScalarType type);
/// The row whose `column` is `name`, or nullptr: dtype_named(&DtypeNames::storage, "FloatStorage").
const DtypeNames* dtype_named(std::string_view DtypeNames::*column, std::string_view name);

/// Reverses the bytes of each number of `width` bytes in [data, data + bytes), turning big endian into little.
void swap_bytes(void* data, std::size_t bytes, std::size_t width);

}  // namespace clipself::formats
