#include "clipself/training/loss_trend.h"

#include <algorithm>
#include <cmath>

namespace clipself::training {

bool LossTrend::leaps(double loss) {
  constexpr double kForget = 0.02, kDeviations = 8;
  constexpr std::int64_t kSettled = 50;
  const double off = seen_ == 0 ? 0 : loss - mean_;
  const bool leapt = seen_ >= kSettled && off > kDeviations * std::sqrt(variance_);
  const double weight = std::max(kForget, 1.0 / static_cast<double>(++seen_));
  variance_ += weight * (off * off - variance_);
  mean_ += weight * (loss - mean_);
  return leapt;
}

}  // namespace clipself::training
