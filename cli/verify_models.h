// Models for reference cases.
#pragma once

#include <memory>
#include <string>

#include "cli/verify_case.h"
#include "clipself/models/clip_model.h"

namespace clipself::cli::verify {

/// The model of `config` (a file of the case, "../eva_b_like/config.json"), as initialised. Throws Error as
/// model_config does.
std::shared_ptr<models::ClipModel> build_model(const Case& c, const std::string& config);
/// config.json and model.pt of a folder beside the case or of the case itself (".").
std::shared_ptr<models::ClipModel> load_model(const Case& c, const std::string& folder);
/// How far an embedding may be from the original's.
inline constexpr auto kFeature = Tolerance::abs(1e-4);

/// float32 images: the cases store theirs as float16, and the original was fed exactly those values.
at::Tensor float_images(const at::Tensor& stored);

}  // namespace clipself::cli::verify
