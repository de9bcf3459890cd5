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
/// The same in the case's precision. In bfloat16 every product's operands are rounded to 1 part in 512 on average, some
/// ten times a block; over these towers that adds up to a few parts in a thousand.
inline Tolerance in_precision(const Case& c, const Tolerance& in_float) {
  return c.precision == at::kFloat ? in_float : Tolerance::norm(0.02);
}

/// float32 images: the cases store theirs as float16, and the original was fed exactly those values.
at::Tensor float_images(const at::Tensor& stored);

}  // namespace clipself::cli::verify
