#include "clipself/detection/inference.h"

#include <algorithm>
#include <variant>

#include "clipself/base/error.h"
#include "clipself/evaluation/prefetch.h"
#include "clipself/evaluation/share.h"
#include "clipself/ops/masks.h"

namespace clipself::detection {
namespace {

struct NetworkPictures {
  at::Tensor images;
  std::vector<Picture> pictures;
};

NetworkPictures prepared(Detector& detector, const std::vector<datasets::DetectionImage>& images,
                         const models::PixelStatistics& pixels) {
  NetworkPictures result;
  std::vector<at::Tensor> stack;
  std::vector<std::array<int, 2>> content;
  for (const auto& image : images) {
    stack.push_back(image.image);
    content.push_back(image.content);
    result.pictures.push_back({.size = {.content = {image.content[0], image.content[1]},
                                        .padded = {image.image.size(1), image.image.size(2)}},
                               .original = {image.original[0], image.original[1]},
                               .scale = image.scale_factor});
  }
  result.images = network_input(at::stack(stack), content, pixels, detector.box_head().embeddings().device());
  return result;
}

}  // namespace

std::vector<Detections> detect_images(Detector& detector, const std::vector<datasets::DetectionImage>& images,
                                      const models::PixelStatistics& pixels) {
  const auto input = prepared(detector, images, pixels);
  auto found = detector.detect(input.images, input.pictures);
  for (auto& one : found) {
    for (auto* tensor : {&one.boxes, &one.scores, &one.labels, &one.masks})
      if (tensor->defined()) *tensor = tensor->to(at::kCPU);
  }
  return found;
}

std::vector<Proposals> propose_images(Detector& detector, const std::vector<datasets::DetectionImage>& images,
                                      const models::PixelStatistics& pixels) {
  const at::NoGradGuard no_grad;
  const auto input = prepared(detector, images, pixels);
  std::vector<PictureSize> sizes;
  for (const auto& picture : input.pictures) sizes.push_back(picture.size);
  auto found = detector.propose(detector.features(input.images), sizes);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto scale = at::tensor(at::ArrayRef<float>(input.pictures[i].scale), at::kFloat);
    found[i] = {.boxes = found[i].boxes.to(at::kCPU) / scale, .scores = found[i].scores.to(at::kCPU, at::kFloat)};
  }
  return found;
}

void for_each_batch(const datasets::DetectionTestDataset& data, int batch, int workers,
                    const std::function<bool(const std::vector<datasets::DetectionImage>& images)>& take,
                    const std::function<void(const Error& error)>& unreadable,
                    std::optional<evaluation::Share> share) {
  using Read = std::variant<datasets::DetectionImage, Error>;
  const auto mine = share.value_or(evaluation::Share{.count = data.size()});
  evaluation::Prefetch<Read> ahead(mine.count, workers, [&](std::int64_t index) -> Read {
    try {
      return data.get(mine[index]);
    } catch (const Error& error) {
      if (!unreadable) throw;
      return error;
    }
  });
  std::vector<datasets::DetectionImage> images;
  for (std::int64_t i = 0; i < mine.count; ++i) {
    auto read = ahead.next();
    if (auto* image = std::get_if<datasets::DetectionImage>(&read))
      images.push_back(std::move(*image));
    else
      unreadable(std::get<Error>(read));
    const bool full = std::ssize(images) == batch || i + 1 == mine.count;
    if (!full || images.empty()) continue;
    if (!take(images)) return;
    images.clear();
  }
}

void append_detections(const Detections& found, std::int64_t image_id, const std::vector<std::int64_t>& category_ids,
                       evaluation::Detections& to) {
  const auto boxes = found.boxes.to(at::kDouble).contiguous();
  const auto corners = boxes.accessor<double, 2>();
  const auto scores = found.scores.to(at::kFloat).contiguous();
  const auto labels = found.labels.contiguous();
  for (std::int64_t i = 0; i < boxes.size(0); ++i) {
    const auto label = labels.const_data_ptr<std::int64_t>()[i];
    evaluation::Detection detection{
        .image_id = image_id,
        .category_id = category_ids.at(static_cast<std::size_t>(label)),
        .score = scores.const_data_ptr<float>()[i],
        .bbox = {corners[i][0], corners[i][1], corners[i][2] - corners[i][0], corners[i][3] - corners[i][1]}};
    if (found.masks.defined()) detection.segmentation = to.segmentations.add(ops::encode_mask(found.masks[i]));
    to.list.push_back(detection);
  }
}

}  // namespace clipself::detection
