#include "clipself/distillation/targets.h"

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/models/layers.h"

namespace clipself::distillation {

Teacher crop_teacher(std::shared_ptr<models::ClipModel> frozen, int crops_at_once) {
  return [frozen = std::move(frozen), crops_at_once](const datasets::Batch& batch) {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> embeddings;
    for (const auto& crops : batch.crops.split(crops_at_once))
      embeddings.push_back(frozen->encode_image(datasets::model_input(*frozen, crops)).to(at::kFloat));
    const auto bank = at::cat(embeddings);
    return RegionTargets{bank, at::arange(bank.size(0), bank.options().dtype(at::kLong))};
  };
}

Teacher noun_teacher(const at::Tensor& nouns, const at::Device& device) {
  if (nouns.dim() != 2 || nouns.size(0) == 0) {
    throw Error({.doing = "taking noun embeddings",
                 .found = "an array of shape " + c10::str(nouns.sizes()),
                 .expected = "(nouns, width)"});
  }
  return [bank = models::unit_length(nouns.to(device, at::kFloat)), device](const datasets::Batch& batch) {
    std::vector<at::Tensor> labels;
    for (std::size_t i = 0; i < batch.boxes.size(); ++i) {
      const bool known = i < batch.labels.size() && batch.labels[i].defined();
      if (!known) throw Error({.doing = "looking up nouns", .found = "regions without labels"});
      labels.push_back(batch.labels[i]);
    }
    const auto index = at::cat(labels);
    const bool fits = index.numel() == 0 ||
                      (index.min().item<std::int64_t>() >= 0 && index.max().item<std::int64_t>() < bank.size(0));
    if (!fits) {
      throw Error({.doing = "looking up nouns",
                   .found = c10::str("labels up to ", index.max().item<std::int64_t>()),
                   .expected = c10::str("one of ", bank.size(0), " embeddings each")});
    }
    return RegionTargets{bank, index.to(device)};
  };
}

}  // namespace clipself::distillation
