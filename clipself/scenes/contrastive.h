// A small CLIP learned from captions of the built-in world (Radford et al. 2021, arXiv 2103.00020): what `clipself
// quickstart` refines.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "clipself/base/torch.h"
#include "clipself/models/clip_model.h"
#include "clipself/training/objective.h"
#include "clipself/training/trainer.h"

namespace clipself::scenes {

/// An EVA-02 tower in small (48 px, patch 8) with a text tower over the built-in vocabulary, in open_clip's JSON
/// format.
models::ClipConfig world_model_config();

/// Symmetric cross-entropy between images and captions of a batch. Images with word for word the same caption share it
/// as their answer. Tokens come in Batch::labels, one row an image.
class Contrastive : public training::Objective {
 public:
  explicit Contrastive(std::shared_ptr<models::ClipModel> model);
  training::LossTerms losses(const datasets::Batch& batch, Rng& rng) override;
  std::vector<std::pair<std::string, at::Tensor>> parameters() override;
  /// Clamps the logit scale to [0, ln 100].
  void after_step() override;

 private:
  std::shared_ptr<models::ClipModel> model_;
};

/// The loss of features (N, D) and (M, D), unit length, where row i's caption is `caption_of`[i] (int64, N).
at::Tensor contrastive_loss(const at::Tensor& images, const at::Tensor& captions, const at::Tensor& caption_of,
                            const at::Tensor& scale);

/// `count` close-ups of some `variety` (see make_close_up) as uint8 images and token rows. Depends on the numbers
/// alone.
datasets::Batch close_up_batch(std::uint64_t seed, std::int64_t step, int count, double variety, int image_size);

/// Random weights for training from scratch. The published scale (0.02) is meant for towers of 768 channels and more; a
/// narrow one learns shapes several times sooner from larger matrices and, above all, a larger position embedding.
void initialize_small_model(models::ClipModel& model, std::uint64_t seed);

struct PretrainOptions {
  std::int64_t steps = 1000;
  int batch_size = 128;
  double lr = 2e-3;
  std::uint64_t seed = 0;
  std::function<void(const training::StepReport&)> on_step{};
  std::function<bool()> should_stop{};  ///< asked after each step
};
/// Trains all of `model`, from single things that fill the picture to things anywhere. False when stopped early.
bool pretrain(std::shared_ptr<models::ClipModel> model, const PretrainOptions& options);

/// Embeddings (56, D) of the classes, unit length: the mean over the prompts of each.
at::Tensor class_embeddings(models::ClipModel& model);

}  // namespace clipself::scenes
