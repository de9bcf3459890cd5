// A model's weights from whichever file holds them.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "clipself/formats/tensor_dict.h"

namespace clipself::formats {

struct StateDict {
  TensorDict tensors;
  std::string wrapper;                  ///< "state_dict", "module", "model" or "" when the tensors lie at top level
  bool stripped_module_prefix = false;  ///< the first name began with "module."
  /// Of a safetensors file; of a training checkpoint of this program "clipself_model", the run's --model.
  std::map<std::string, std::string> metadata;
};

/// Reads .pt/.pth (both layouts) or .safetensors, told apart by content, and unwraps as the EVA loader does: the first
/// of "model", "module", "state_dict" that is present (and a dict), then, when the first name has a leading "module.",
/// that of every name. Names are otherwise untouched; entries that are no tensors are left out. Throws Error when the
/// file holds no tensors by name.
StateDict read_state_dict(const std::filesystem::path& path);

}  // namespace clipself::formats
