// Tiny models and a batch with everything a method may ask for.
#pragma once

#include <memory>

#include "clipself/datasets/dataset.h"
#include "tests/models/tiny_model.h"

namespace clipself::distillation {

/// Two images with three regions, their crops and their labels (of 7).
inline datasets::Batch random_batch() {
  torch::manual_seed(7);
  datasets::Batch batch;
  batch.image_ids = {1, 2};
  batch.images = at::randint(256, {2, 3, 48, 48}, at::kByte);
  batch.boxes = {at::tensor({0.0, 0.0, 0.5, 0.4, 0.2, 0.3, 0.9, 1.0}, at::kFloat).reshape({2, 4}),
                 at::tensor({0.1, 0.1, 0.7, 0.6}, at::kFloat).reshape({1, 4})};
  batch.labels = {at::tensor({4, 1}, at::kLong), at::tensor({4}, at::kLong)};
  batch.crops = at::randint(256, {3, 3, 32, 32}, at::kByte);
  return batch;
}

/// Seven nouns of the tiny model's width, not of unit length.
inline at::Tensor random_nouns() {
  torch::manual_seed(8);
  return at::randn({7, models::tiny_config().embed_dim}) * 3;
}

/// A student whose last `blocks` blocks are trained.
inline std::shared_ptr<models::ClipModel> tiny_student(int blocks = 2) {
  auto model = models::tiny_model(1);
  model->lock_image_tower(blocks);
  return model;
}

inline std::shared_ptr<models::ClipModel> tiny_frozen(std::uint64_t seed = 2) {
  auto model = models::tiny_model(seed);
  model->freeze(at::kFloat);
  return model;
}

}  // namespace clipself::distillation
