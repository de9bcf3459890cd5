// safetensors: a JSON header and raw little-endian data (https://github.com/huggingface/safetensors).
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "clipself/formats/tensor_dict.h"

namespace clipself::formats {

struct SafeTensors {
  TensorDict tensors;                           ///< in the order of their data in the file
  std::map<std::string, std::string> metadata;  ///< the header's "__metadata__"
};

/// Tensors are views of the memory-mapped file (copied when misaligned for their type). Throws Error when the header or
/// any offset does not fit the file.
SafeTensors read_safetensors(const std::filesystem::path& path);

/// Writes atomically; every tensor is stored contiguous, data aligned to 64 bytes.
void write_safetensors(const std::filesystem::path& path, const TensorDict& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace clipself::formats
