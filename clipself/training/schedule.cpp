#include "clipself/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "clipself/base/error.h"

namespace clipself::training {

double Schedule::at(std::int64_t step) const {
  if (kind == ScheduleKind::kSteps) {
    const auto past = std::count_if(milestones.begin(), milestones.end(), [&](std::int64_t at) { return at <= step; });
    const double regular = base_lr * std::pow(gamma, static_cast<double>(past));
    if (step >= warmup_steps) return regular;
    return regular * (1 - (1 - static_cast<double>(step) / static_cast<double>(warmup_steps)) * (1 - warmup_ratio));
  }
  if (step < warmup_steps) return base_lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  switch (kind) {
    case ScheduleKind::kConst:
      return base_lr;
    case ScheduleKind::kConstCooldown: {
      const std::int64_t start = total_steps - cooldown_steps;
      if (step < start) return base_lr;
      const double part = std::min(
          1.0, static_cast<double>(step - start) / static_cast<double>(std::max<std::int64_t>(1, cooldown_steps)));
      return std::pow(1.0 - part, cooldown_power) * (base_lr - cooldown_end_lr) + cooldown_end_lr;
    }
    case ScheduleKind::kCosine:
    case ScheduleKind::kSteps:
      break;
  }
  const auto length = static_cast<double>(std::max<std::int64_t>(1, total_steps - warmup_steps));
  const double done = std::min(static_cast<double>(step - warmup_steps), length);
  // Multiplied before divided, as the original does: near the end 1 + cos magnifies the last bit.
  return 0.5 * (1.0 + std::cos(std::numbers::pi * done / length)) * base_lr;
}

ScheduleKind schedule_kind(const std::string& name) {
  if (name == "cosine") return ScheduleKind::kCosine;
  if (name == "const") return ScheduleKind::kConst;
  if (name == "const-cooldown") return ScheduleKind::kConstCooldown;
  throw Error({.doing = "--lr-scheduler",
               .where = name,
               .found = "an unknown schedule",
               .expected = "cosine, const or const-cooldown"});
}

}  // namespace clipself::training
