#include "clipself/detection/objective.h"

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"

namespace clipself::detection {

at::Tensor network_input(const at::Tensor& pixels, std::span<const std::array<int, 2>> content,
                         const models::PixelStatistics& statistics, at::Device device) {
  auto images = datasets::normalize(pixels.to(device), statistics);
  for (std::size_t i = 0; i < content.size(); ++i) {
    const auto [height, width] = content[i];
    if (height == 0 && width == 0) continue;
    const auto image = images[static_cast<std::int64_t>(i)];
    image.slice(1, height).zero_();
    image.slice(2, width).zero_();
  }
  return images;
}

DetectionObjective::DetectionObjective(std::shared_ptr<Detector> detector, const models::PixelStatistics& pixels)
    : detector_(std::move(detector)), pixels_(pixels) {}

training::LossTerms DetectionObjective::losses(const datasets::Batch& batch, Rng& rng) {
  if (batch.labels.size() != batch.image_ids.size())
    throw Error({.doing = "training a detector", .found = "a batch without labels", .expected = "one of a detector's"});
  const auto device = detector_->box_head().embeddings().device();
  std::vector<PictureSize> pictures;
  std::vector<Objects> objects;
  for (std::size_t i = 0; i < batch.image_ids.size(); ++i) {
    const Extent padded{batch.images.size(2), batch.images.size(3)};
    const auto [height, width] = batch.content[i];
    pictures.push_back({.content = height == 0 ? padded : Extent{height, width}, .padded = padded});
    objects.push_back({.boxes = batch.boxes[i].to(device), .labels = batch.labels[i].to(device), .masks = {}});
    if (!detector_->has_masks()) continue;
    if (i >= batch.masks.size() || !batch.masks[i].defined())
      throw Error({.doing = "training a detector", .found = "a batch without masks", .expected = "masks of its boxes"});
    objects.back().masks = batch.masks[i].to(device);
  }
  // A picture's draw is its own, whatever batch and process it is in.
  const std::uint64_t step = rng();
  std::vector<Rng> randomness;
  for (const auto id : batch.image_ids) randomness.emplace_back(step, 0, static_cast<std::uint64_t>(id));
  return detector_
      ->train_pass(network_input(batch.images, batch.content, pixels_, device), pictures, objects, randomness)
      .terms();
}

}  // namespace clipself::detection
