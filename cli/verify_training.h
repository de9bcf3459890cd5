// Training in reference cases.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "cli/verify_case.h"
#include "clipself/distillation/methods.h"
#include "clipself/formats/value.h"
#include "clipself/models/clip_model.h"
#include "clipself/training/optimizer.h"

namespace clipself::cli::verify {

constexpr auto kFirstMoment = Tolerance::abs(1e-6);
constexpr auto kSecondMoment = Tolerance::abs(1e-8);

nlohmann::ordered_json names_of(const training::NamedParameters& parameters);
training::AdamWOptions adamw_options(double beta1, double beta2, double eps, double weight_decay);
/// Trains what the original trains for that value of --lock-image-unlocked-groups.
void lock_as_original(models::ClipModel& model, std::int64_t unlocked_groups);

/// CLIPSelf: student, teacher and what trains the student; both start from the model in the folder `model`.
struct Run {
  Run(const Case& c, const std::string& model, std::int64_t unlocked_groups, const training::AdamWOptions& options,
      double cosine_weight);
  std::shared_ptr<models::ClipModel> student, teacher;
  std::unique_ptr<distillation::RegionObjective> objective;
  training::AdamW optimizer;
};

/// Images (B, 3, H, W), boxes (B, n, 5) with a valid flag, crops (B, n, 3, c, c), as a batch of the valid rows.
datasets::Batch make_batch(const formats::TensorDict& inputs, const std::string& images, const std::string& boxes,
                           const std::string& crops, const std::string& where);
at::Tensor total_loss(const training::LossTerms& terms);
/// Names of the parameters for which `holds`, as a list.
nlohmann::ordered_json names_where(const training::NamedParameters& parameters,
                                   const std::function<bool(const at::Tensor&)>& holds);

/// A tree as JSON; a tensor becomes its shape as text.
nlohmann::ordered_json to_json(const formats::Value& value);

}  // namespace clipself::cli::verify
