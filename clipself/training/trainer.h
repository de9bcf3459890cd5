// The training loop: batches in, updates out, exactly resumable at any step. It knows nothing of what is trained.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/datasets/loader.h"
#include "clipself/distributed/gradients.h"
#include "clipself/training/objective.h"
#include "clipself/training/optimizer.h"
#include "clipself/training/schedule.h"

namespace clipself::training {

/// A loss or gradients that are not finite, in any process.
class NotFinite : public distributed::AgreedError {
 public:
  NotFinite(std::string term, std::vector<std::int64_t> image_ids);
  const std::string& term() const { return term_; }  ///< the loss by name, or "gradients"
  const std::vector<std::int64_t>& image_ids() const { return image_ids_; }

 private:
  std::string term_;
  std::vector<std::int64_t> image_ids_;
};

struct TrainerOptions {
  std::int64_t epochs = 1;
  int accum_freq = 1;  ///< batches whose gradients are averaged into one step
  std::optional<double> grad_clip_norm{};
  std::uint64_t seed = 0;
  /// Steps in a row that may be left out for being NotFinite before the run ends; 0 ends it at the first.
  int most_left_out = 0;
  std::shared_ptr<distributed::Processes> processes{};  ///< null: this one alone
};

/// What one step did.
struct StepReport {
  std::int64_t step = 0;                               ///< counted from 0 over the whole run
  std::int64_t epoch = 0;                              ///< counted from 0
  std::vector<std::pair<std::string, double>> losses;  ///< all terms, averaged over the accumulated batches
  double loss = 0;                                     ///< the sum of those minimised
  double lr = 0;
  double grad_norm = 0;     ///< before clipping
  std::int64_t images = 0;  ///< of all processes
  double seconds = 0;       ///< of the whole step
  double data_seconds = 0;  ///< of it spent waiting for batches
  bool left_out = false;    ///< NotFinite: nothing was updated, and the losses are none
};

/// One optimizer step over `batches`: gradients of the mean of the batches' losses, clipping, update,
/// Objective::after_step. Throws NotFinite when a loss or the gradients' norm is; nothing has been updated then.
StepReport train_step(Objective& objective, AdamW& optimizer, const std::vector<datasets::Batch>& batches, double lr,
                      std::optional<double> grad_clip_norm, const Rng& rng);
/// The same in several processes, each with its part of every batch: losses and gradients are those of the whole
/// batches, and so is what is thrown. `average` is over the objective's parameters.
StepReport train_step(Objective& objective, AdamW& optimizer, const std::vector<datasets::Batch>& batches, double lr,
                      std::optional<double> grad_clip_norm, const Rng& rng, distributed::Processes& processes,
                      distributed::GradientAverage* average);

/// Where a run stands.
struct Position {
  std::int64_t step = 0;        ///< steps done
  std::int64_t epoch = 0;       ///< epochs done
  std::int64_t epoch_step = 0;  ///< steps done of the epoch begun
};

/// With several processes the loader gives each its part, and weights are compared now and then: Error when they
/// differ.
class Trainer {
 public:
  struct Hooks {
    std::function<void(const StepReport&)> on_step{};
    std::function<void(const Position&, const NotFinite&)> on_not_finite{};  ///< the step is left out, or the last
    std::function<void(std::int64_t epochs_done)> on_epoch{};
    std::function<bool()> should_stop{};  ///< asked after each step; one process that says so stops all
  };

  /// `schedule.total_steps` is set here. Throws Error when an epoch has no full step.
  Trainer(Objective& objective, datasets::Loader& loader, AdamW& optimizer, Schedule schedule, TrainerOptions options);

  /// Goes on from position() to the end (true) or until should_stop (false).
  bool run(const Hooks& hooks);

  const Position& position() const { return position_; }
  void resume(const Position& position) { position_ = position; }
  std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
  std::int64_t total_steps() const { return schedule_.total_steps; }
  double next_lr() const { return schedule_.at(position_.step); }

 private:
  StepReport try_step(const std::vector<datasets::Batch>& batches, const Hooks& hooks);
  std::vector<datasets::Batch> next_batches();
  bool stops(const Hooks& hooks) const;
  void compare_weights() const;

  Objective& objective_;
  datasets::Loader& loader_;
  AdamW& optimizer_;
  Schedule schedule_;
  TrainerOptions options_;
  std::unique_ptr<distributed::GradientAverage> average_;  ///< null when alone
  std::int64_t steps_per_epoch_ = 0;
  int left_out_ = 0;  ///< steps in a row
  Position position_;
};

}  // namespace clipself::training
