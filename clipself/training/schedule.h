// Learning rate by step: linear warm-up, then cosine, constant, or constant with a polynomial cool-down (open_clip's
// three).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace clipself::training {

enum class ScheduleKind { kCosine, kConst, kConstCooldown };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double base_lr = 1e-5;
  std::int64_t warmup_steps = 0;  ///< step s < warmup has base_lr * (s + 1) / warmup
  std::int64_t total_steps = 1;
  std::int64_t cooldown_steps = 0;  ///< kConstCooldown: the last so many steps
  double cooldown_power = 1.0;
  double cooldown_end_lr = 0.0;

  /// The rate of step 0, 1, ...; in [0, base_lr].
  double at(std::int64_t step) const;
};

/// "cosine", "const", "const-cooldown". Throws Error naming these for anything else.
ScheduleKind schedule_kind(const std::string& name);

}  // namespace clipself::training
