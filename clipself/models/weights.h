// Checkpoints in and out of models.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "clipself/formats/tensor_dict.h"
#include "clipself/models/clip_model.h"

namespace clipself::models {

struct LoadReport {
  std::vector<std::string> ignored;  ///< names in the file that a model recomputes (rotary tables)
  std::vector<std::string> resized;  ///< "visual.pos_embed 14x14 -> 24x24"
  bool text_missing = false;         ///< the file has no text tower and the model's was left as initialised
};

/// Copies `tensors` into `model` by name. Accepts the flat CLIP layout (text tower at top level), drops rotary tables, resizes
/// the position embedding and the patch kernel when the grid differs, as the EVA loader does. Throws Error, changing nothing,
/// when a name is missing, left over, or of another shape; the message names the first and says which known model would fit.
LoadReport load_weights(ClipModel& model, formats::TensorDict tensors, const std::string& source);
/// formats::read_state_dict, then load_weights.
LoadReport load_checkpoint(ClipModel& model, const std::filesystem::path& path);

/// The known configurations whose names and shapes match `tensors`, best first; empty when none does.
std::vector<std::string> fitting_models(const formats::TensorDict& tensors);

/// Official names in the official order, rotary tables included once for the tower and once a block, as the Python original
/// writes them and, with strict loading, demands.
formats::TensorDict official_state(ClipModel& model);

}  // namespace clipself::models
