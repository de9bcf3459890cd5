// Hugging Face's config.json of CLIP and SigLIP models, told in open_clip's format.
#pragma once

#include <nlohmann/json.hpp>

#include "clipself/models/config_section.h"

namespace clipself::models {

bool is_huggingface_config(const nlohmann::json& document);
/// Their files leave out whatever has the library's default; those defaults stand here. Throws Error for other model
/// types.
nlohmann::json from_huggingface(const ConfigSection& file);

}  // namespace clipself::models
