// A detector small enough for tests, and what it is to find.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "clipself/detection/detector.h"
#include "tests/models/tiny_model.h"

namespace clipself::detection {

/// (N, 4) of numbers in order.
inline at::Tensor boxes_of(const std::vector<double>& numbers) {
  return at::tensor(numbers, at::kDouble).to(at::kFloat).reshape({-1, 4});
}

/// "cat" and "dog", seen in training, and "owl", novel, as random directions of `width` numbers.
inline DetectionClasses three_classes(std::int64_t width) {
  torch::manual_seed(11);
  return {.names = {"cat", "dog", "owl"},
          .is_base = {true, true, false},
          .embeddings = models::unit_length(at::randn({4, width}))};
}

inline DetectorConfig tiny_settings() {
  DetectorConfig config;
  config.taps = {0, 1, 1, 2};
  config.channels = 8;
  config.shared_convs = 1;
  config.rpn_convs = 1;
  config.mask_convs = 1;
  config.mask_size = 8;
  config.anchor_scale = 4;
  config.proposals = {.before_nms = 40, .count = 20, .iou_threshold = 0.7};
  config.rpn_sample.count = 32;
  config.roi_sample.count = 16;
  config.selection.score_threshold = 0;
  return config;
}

/// Random weights of ordinary size: as initialised, the last layers would hardly say anything.
inline std::shared_ptr<Detector> tiny_detector(const DetectorConfig& config, std::uint64_t seed,
                                               DetectionClasses classes) {
  torch::manual_seed(seed);
  auto detector = std::make_shared<Detector>(models::tiny_config(), config, std::move(classes));
  const at::NoGradGuard no_grad;
  for (const auto& item : detector->named_parameters())
    if (!item.key().ends_with("temperature")) item.value().add_(at::randn_like(item.value()) * 0.1);
  return detector;
}
inline std::shared_ptr<Detector> tiny_detector(const DetectorConfig& config, std::uint64_t seed = 1) {
  return tiny_detector(config, seed, three_classes(models::tiny_config().embed_dim));
}

inline constexpr PictureSize kWholePicture{.content = {64, 64}, .padded = {64, 64}};

inline Objects no_objects() {
  return {.boxes = at::zeros({0, 4}), .labels = at::zeros({0}, at::kLong), .masks = at::zeros({0, 64, 64}, at::kByte)};
}

/// A cat, a dog and a small dog whose masks fill the left halves of their boxes.
inline Objects three_objects() {
  Objects objects{.boxes = boxes_of({4, 6, 30, 40, 20, 20, 60, 58, 35, 2, 47, 12}),
                  .labels = at::tensor({0, 1, 1}, at::kLong),
                  .masks = at::zeros({3, 64, 64}, at::kByte)};
  objects.masks[0].slice(0, 6, 40).slice(1, 4, 17).fill_(1);
  objects.masks[1].slice(0, 20, 58).slice(1, 20, 40).fill_(1);
  objects.masks[2].slice(0, 2, 12).slice(1, 35, 41).fill_(1);
  return objects;
}

}  // namespace clipself::detection
