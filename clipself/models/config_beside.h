// What the files beside weights, and our own checkpoints themselves, say of the model that the weights are of.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "clipself/formats/state_dict.h"
#include "clipself/models/config.h"

namespace clipself::models {

/// Pixel statistics and the way of resizing from the preprocess_cfg of open_clip_config.json in the folder of `weights`
/// into `config`, when its model_cfg describes a model of the same shape. Gives the file when something has changed.
std::optional<std::filesystem::path> take_preprocessing(ClipConfig& config, const std::filesystem::path& weights);

/// Where it is said that `weights`, read as `state`, were trained with QuickGELU and `config` has another activation,
/// or the other way round: open_clip_config.json or config.json in their folder when it describes a model of the same
/// shape, or the --model of the training run that wrote them. Empty when nothing disagrees.
std::string disagrees_on_quick_gelu(const ClipConfig& config, const std::filesystem::path& weights,
                                    const formats::StateDict& state);

}  // namespace clipself::models
