// Gradients averaged over processes while the backward pass goes on.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clipself/distributed/processes.h"

namespace c10d {
class Reducer;
}

namespace clipself::distributed {

/// c10d's Reducer (that of DistributedDataParallel; Li et al., VLDB 2020): as soon as the gradients of a bucket of
/// 25 MB are there, they are on their way to the other processes. Parameters that a process's loss does not reach count
/// as zero there; those that nobody's reaches stay without a gradient.
class GradientAverage {
 public:
  /// All processes must name the same parameters in the same order.
  GradientAverage(const std::vector<std::pair<std::string, at::Tensor>>& parameters, std::shared_ptr<Processes> all);
  ~GradientAverage();
  GradientAverage(const GradientAverage&) = delete;
  GradientAverage& operator=(const GradientAverage&) = delete;

  /// loss.backward(), after which every parameter's gradient is the mean of the processes': with what earlier backward
  /// passes left in it. Throws ConnectionLost.
  void backward(const at::Tensor& loss);

 private:
  std::shared_ptr<Processes> all_;
  std::unique_ptr<c10d::Reducer> reducer_;
};

}  // namespace clipself::distributed
