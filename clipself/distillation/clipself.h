// CLIPSelf (Wu et al., ICLR 2024, arXiv 2310.01403): a CLIP vision transformer's own embeddings of image crops teach
// the features pooled at those places in its dense map.
#pragma once

#include <memory>

#include "clipself/models/clip_model.h"
#include "clipself/training/objective.h"

namespace clipself::distillation {

struct ClipSelfOptions {
  bool multiscale = false;  ///< resize the square input bilinearly to a random one of four sizes (multiscale_sizes)
  double cosine_weight = 1.0;
  int teacher_batch = 64;  ///< crops the teacher encodes at once; bounds memory, changes nothing else
};

/// loss_cosine = weight * (1 - mean over all regions of cos(student region feature, teacher crop embedding)), eq. 3 of
/// the paper. The teacher is a frozen copy of the student's start weights. A batch's images and crops are pixels
/// (uint8), or floating-point and then taken as normalised already.
class ClipSelf : public training::Objective {
 public:
  /// `student` is trained in place (its locked parameters stay); `teacher` must be frozen.
  ClipSelf(std::shared_ptr<models::ClipModel> student, std::shared_ptr<models::ClipModel> teacher,
           ClipSelfOptions options);

  training::LossTerms losses(const datasets::Batch& batch, Rng& rng) override;
  std::vector<std::pair<std::string, at::Tensor>> parameters() override;
  /// Clamps the logit scale to [0, ln 100].
  void after_step() override;

  models::ClipModel& student() { return *student_; }
  models::ClipModel& teacher() { return *teacher_; }

 private:
  std::shared_ptr<models::ClipModel> student_;
  std::shared_ptr<models::ClipModel> teacher_;
  ClipSelfOptions options_;
};

/// The sizes multiscale chooses from for a square input: 320/640/896/1024 for 1024, 336/448/672/896 for 896, otherwise
/// the same fractions rounded to the patch size.
std::vector<int> multiscale_sizes(int image_size, int patch_size);

/// 1 - mean cosine similarity of two (N, D) tensors, computed in float32.
at::Tensor cosine_loss(const at::Tensor& student, const at::Tensor& teacher);

/// alpha * student + (1 - alpha) * teacher, for every tensor of the model (buffers too).
formats::TensorDict ensemble(const formats::TensorDict& student, const formats::TensorDict& teacher, double alpha);

}  // namespace clipself::distillation
