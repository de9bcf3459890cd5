// What a method has to say for the trainer to train it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "clipself/base/random.h"
#include "clipself/base/torch.h"
#include "clipself/datasets/dataset.h"

namespace clipself::training {

/// A scalar by name, and of how many things (regions, images) it is the mean: processes that see parts of a batch make
/// of theirs the mean over all, which is that of the whole batch.
struct LossTerm {
  std::string name;
  at::Tensor value;
  double count = 1;
};

/// The trainer minimises the sum of those that have a gradient and reports the others beside them (an accuracy).
using LossTerms = std::vector<LossTerm>;

class Objective {
 public:
  virtual ~Objective() = default;
  /// One batch, with gradients recorded. `rng` belongs to this step alone (choices such as the multiscale size), and is
  /// the same for all batches of a step and in all processes: what must differ between images is drawn by their ids.
  virtual LossTerms losses(const datasets::Batch& batch, Rng& rng) = 0;
  /// Trained parameters by name, in a fixed order.
  virtual std::vector<std::pair<std::string, at::Tensor>> parameters() = 0;
  /// What losses() changes by itself (running statistics of norms): put back when a step is left out.
  virtual std::vector<at::Tensor> statistics() { return {}; }
  /// After each optimizer step (clamping the logit scale, say).
  virtual void after_step() {}
};

}  // namespace clipself::training
