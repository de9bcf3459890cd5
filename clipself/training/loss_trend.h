// What a run's losses have been of late, and whether one is far out of that.
#pragma once

#include <cstdint>

namespace clipself::training {

class LossTrend {
 public:
  /// Takes the loss of the next step; whether it lies more than 8 standard deviations above the mean of those before.
  /// Never in the first 50 steps, which fall fast.
  bool leaps(double loss);
  /// Of all losses at first, later forgetting those older than some 50 steps.
  double mean() const { return mean_; }

 private:
  std::int64_t seen_ = 0;
  double mean_ = 0, variance_ = 0;
};

}  // namespace clipself::training
