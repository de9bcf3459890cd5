// The method's part of `clipself train`: which one, on which regions, with what beside the model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/common.h"
#include "clipself/distillation/methods.h"

namespace clipself::cli {

struct MethodFlags {
  std::string method;        ///< "": clipself, or regionclip when --dataset-type is region_clip
  std::string dataset_type;  ///< "": the method's own regions
  std::string noun_embeddings;
  double cosine_weight = 1.0, contrast_weight = 1.0, retain_weight = 0.0;
  int num_sample_classes = 100;
  bool multiscale = false;

  void add_to(CLI::App& app);
  /// Fills in what was left open and checks that it all goes together. Throws Error.
  void resolve();

  // After resolve().
  const distillation::Method& chosen() const { return distillation::find_method(method); }
  datasets::RegionKind regions() const;
  bool needs_frozen() const { return chosen().needs_frozen(retain_weight); }
  bool crops_of_labelled() const { return chosen().teacher.needs_crops; }
  /// Reads --train-embed-path: a row for each category of `data`. Throws Error when it does not fit the model or the
  /// data. `model` must have its weights' own types still.
  at::Tensor read_nouns(models::ClipModel& model, const datasets::AnnotationIndex& data) const;
  /// `frozen` may be null when needs_frozen() is false.
  std::unique_ptr<distillation::RegionObjective> objective(
      std::shared_ptr<models::ClipModel> student, std::shared_ptr<models::ClipModel> frozen, const at::Tensor& nouns,
      const std::string& extract_type, const std::shared_ptr<distributed::Processes>& processes) const;
};

}  // namespace clipself::cli
