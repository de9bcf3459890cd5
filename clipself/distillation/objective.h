// The objective of every method: features pooled at regions of the student's dense map are brought closer to what a
// teacher says of those regions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "clipself/distillation/targets.h"
#include "clipself/training/objective.h"

namespace clipself::distillation {

/// Model, images (B, 3, H, W) and boxes of each image in 0..1 -> (N, D), in the order of the boxes.
using RegionFeature =
    std::function<at::Tensor(models::ClipModel&, const at::Tensor& images, const std::vector<at::Tensor>& boxes)>;

/// Features (N, D), their targets, the model's logit scale as a factor, and the step's own randomness -> scalar.
using RegionLoss =
    std::function<at::Tensor(const at::Tensor& features, const RegionTargets&, const at::Tensor& scale, Rng&)>;

/// What a method is made of (methods.h puts it together by name).
struct Composition {
  RegionFeature feature;
  Teacher teacher;
  RegionLoss loss;
  std::string term;     ///< the loss's name in logs
  double weight = 1.0;  ///< of that term
};

/// Keeps what the model says of whole images as it was.
struct Retention {
  double weight = 0.0;                          ///< 0: nothing is computed
  std::shared_ptr<models::ClipModel> original;  ///< frozen; needed for a weight above 0
};

/// Terms: `composition.term` = weight * loss and, with a retention, "loss_retain" = weight * retain_loss of the batch's
/// whole images. A batch's images and crops are pixels (uint8), or floating-point and then taken as normalised already.
class RegionObjective : public training::Objective {
 public:
  /// `student` is trained in place (its locked parameters stay). `multiscale`: the square input is brought to one of
  /// four sizes (multiscale_sizes), drawn for each batch.
  RegionObjective(std::shared_ptr<models::ClipModel> student, Composition composition, Retention retention = {},
                  bool multiscale = false);

  training::LossTerms losses(const datasets::Batch& batch, Rng& rng) override;
  std::vector<std::pair<std::string, at::Tensor>> parameters() override;
  /// Clamps the logit scale to [0, ln 100], as CLIP is trained and as the original does even to a scale that no loss
  /// moves. SigLIP's has no such bound, and published ones lie above.
  void after_step() override;

 private:
  std::shared_ptr<models::ClipModel> student_;
  Composition composition_;
  Retention retention_;
  bool multiscale_;
};

/// 1 - mean cosine of the two models' embeddings of whole images (B, 3, H, W), brought to the students' native size
/// bilinearly. No gradient reaches `original`.
at::Tensor retain_loss(models::ClipModel& student, models::ClipModel& original, const at::Tensor& images);

/// The sizes multiscale chooses from for a square input: 320/640/896/1024 for 1024, 336/448/672/896 for 896, otherwise
/// the same fractions rounded to the patch size.
std::vector<int> multiscale_sizes(int image_size, int patch_size);

/// alpha * student + (1 - alpha) * teacher, for every tensor of the model (buffers too).
formats::TensorDict ensemble(const formats::TensorDict& student, const formats::TensorDict& teacher, double alpha);

}  // namespace clipself::distillation
