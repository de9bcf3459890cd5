// What trains a detector.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "clipself/detection/detector.h"
#include "clipself/models/config.h"
#include "clipself/training/objective.h"

namespace clipself::detection {

/// ImageNet's, which published detectors see pictures by, whatever their tower was trained with.
inline constexpr models::PixelStatistics kImageNetPixels{.mean = {0.485F, 0.456F, 0.406F},
                                                         .std = {0.229F, 0.224F, 0.225F}};

/// uint8 (B, 3, S, S) -> float on `device`, normalised, with zeros where a picture's `content` (height, width; 0, 0 for
/// all of it) ends: padding comes after normalisation.
at::Tensor network_input(const at::Tensor& pixels, std::span<const std::array<int, 2>> content,
                         const models::PixelStatistics& statistics, at::Device device);

/// Faster or Mask R-CNN's losses on batches of a datasets::DetectionDataset: TrainingPass::terms. Computes where
/// `detector` lies.
class DetectionObjective : public training::Objective {
 public:
  DetectionObjective(std::shared_ptr<Detector> detector, const models::PixelStatistics& pixels);
  training::LossTerms losses(const datasets::Batch& batch, Rng& rng) override;
  std::vector<std::pair<std::string, at::Tensor>> parameters() override { return detector_->trainable(); }
  std::vector<at::Tensor> statistics() override { return detector_->buffers(); }

 private:
  std::shared_ptr<Detector> detector_;
  models::PixelStatistics pixels_;
};

}  // namespace clipself::detection
