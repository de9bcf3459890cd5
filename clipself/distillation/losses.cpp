#include "clipself/distillation/losses.h"

#include <algorithm>
#include <vector>

#include "clipself/models/layers.h"

namespace clipself::distillation {

namespace {

// Of no regions 0, and yet a function of the model: other processes may have some.
at::Tensor mean_over_regions(const at::Tensor& losses) {
  return losses.size(0) == 0 ? losses.sum() : losses.mean();
}

}  // namespace

at::Tensor cosine_loss(const at::Tensor& student, const at::Tensor& teacher) {
  const auto unit = [](const at::Tensor& x) { return models::unit_length(x.to(at::kFloat)); };
  return mean_over_regions(1.0 - (unit(student) * unit(teacher)).sum(-1));
}

at::Tensor federated_bce(const at::Tensor& features, const RegionTargets& targets, const at::Tensor& classes,
                         const at::Tensor& scale) {
  const auto candidates = models::unit_length(targets.bank.index_select(0, classes).to(at::kFloat));
  const auto logits = models::unit_length(features.to(at::kFloat)).matmul(candidates.t()) * scale.detach();
  const auto answers = (targets.index.unsqueeze(1) == classes.unsqueeze(0)).to(at::kFloat);
  return mean_over_regions(at::binary_cross_entropy_with_logits(logits, answers, {}, {}, at::Reduction::None).sum(-1));
}

at::Tensor federated_classes(const at::Tensor& labels, std::int64_t num_classes, std::int64_t sample, Rng& rng) {
  const auto present = std::get<0>(at::_unique(labels.to(at::kCPU, at::kLong), /*sorted=*/true));
  const auto* first = present.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> classes(first, first + present.numel());
  const auto missing = std::min(sample, num_classes) - present.numel();
  if (missing > 0) {
    std::vector<std::int64_t> others;
    for (std::int64_t c = 0; c < num_classes; ++c)
      if (!std::binary_search(first, first + present.numel(), c)) others.push_back(c);
    // The first steps of a shuffle: each draw takes one of those left.
    for (std::size_t i = 0; i < static_cast<std::size_t>(missing); ++i) {
      std::swap(others[i], others[i + rng.below(others.size() - i)]);
      classes.push_back(others[i]);
    }
  }
  return at::tensor(classes, at::kLong).to(labels.device());
}

}  // namespace clipself::distillation
