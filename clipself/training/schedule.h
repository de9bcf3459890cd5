// Learning rate by step: linear warm-up, then cosine, constant, constant with a polynomial cool-down (open_clip's
// three), or falling in steps (MMDetection's).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace clipself::training {

enum class ScheduleKind { kCosine, kConst, kConstCooldown, kSteps };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double base_lr = 1e-5;
  std::int64_t warmup_steps = 0;  ///< step s < warmup has base_lr * (s + 1) / warmup, but of kSteps see warmup_ratio
  std::int64_t total_steps = 1;
  std::int64_t cooldown_steps = 0;  ///< kConstCooldown: the last so many steps
  double cooldown_power = 1.0;
  double cooldown_end_lr = 0.0;
  std::vector<std::int64_t> milestones{};  ///< kSteps: from each of these steps on, `gamma` times the rate before
  double gamma = 0.1;
  double warmup_ratio =
      0.001;  ///< kSteps: step s < warmup has the rate without warm-up times 1 - (1 - s/warmup)(1 - ratio)

  /// The rate of step 0, 1, ...; in [0, base_lr].
  double at(std::int64_t step) const;
};

/// The linear scaling rule (Goyal et al. 2017): a rate meant for `base_batch` images a step, for `batch` of them.
inline double scaled_lr(double lr, double batch, double base_batch) {
  return lr * (batch / base_batch);
}

/// "cosine", "const", "const-cooldown". Throws Error naming these for anything else.
ScheduleKind schedule_kind(const std::string& name);

}  // namespace clipself::training
