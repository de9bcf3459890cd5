// Checkpoints in and out of models.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "clipself/formats/tensor_dict.h"
#include "clipself/models/clip_model.h"

namespace clipself::models {

struct LoadReport {
  std::vector<std::string> resized;  ///< "visual.pos_embed from 14x14 to 24x24", for the log
  bool text_missing = false;         ///< the source has no text tower and the model's was left as initialised
};

/// Copies `tensors` into `model` by name, whichever publisher's (key_tables.h). Leaves out rotary tables and a text
/// tower the model does not have; resizes the position embedding (and an EVA tower's patch kernel) when the grid
/// differs, as the publisher's loader does. Throws Error, having changed nothing, when a name is missing, left over, or
/// of another shape, and for OpenAI's weights in a model without QuickGELU; the message names the first and the known
/// models that would fit. `source` names the file in messages.
LoadReport load_weights(ClipModel& model, const formats::TensorDict& tensors, const std::string& source);
/// formats::read_state_dict, then load_weights. Throws Error also when a configuration beside the file, or the training
/// run that wrote it, says that QuickGELU is to be used and the model does not, or the other way round.
LoadReport load_checkpoint(ClipModel& model, const std::filesystem::path& path);

/// The built-in models that `tensors`, under any publisher's names, would fit.
std::vector<std::string> fitting_models(const formats::TensorDict& tensors);

}  // namespace clipself::models
