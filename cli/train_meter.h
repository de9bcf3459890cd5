// What a training run tells: log lines, a progress bar, metrics.jsonl, TensorBoard.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "clipself/base/progress.h"
#include "clipself/formats/tensorboard.h"
#include "clipself/training/loss_trend.h"
#include "clipself/training/trainer.h"

namespace clipself::cli {

class TrainMeter {
 public:
  /// Goes on with `metrics_file` as it was before step `first_step`: later lines, of a run that was interrupted after
  /// its last checkpoint, are dropped.
  TrainMeter(const std::filesystem::path& metrics_file, formats::TensorBoardWriter& tensorboard,
             std::int64_t total_steps, std::int64_t first_step, int log_every);

  void step(const training::StepReport& report);
  /// Whether the metrics file tells of an evaluation after so many steps.
  bool evaluated(std::int64_t steps_done) const { return evaluated_.contains(steps_done); }
  /// `name`: of its figures, beside "step" and "epoch".
  void evaluation(const std::string& name, std::int64_t epochs_done, std::int64_t steps_done,
                  const std::map<std::string, double>& metrics);
  /// Takes the progress bar off the terminal until the next step.
  void clear() { bar_.clear(); }

 private:
  void write(const std::string& line);

  std::filesystem::path file_;
  std::set<std::int64_t> evaluated_;
  std::ofstream metrics_;
  formats::TensorBoardWriter& tensorboard_;
  Progress bar_;
  std::int64_t total_steps_, first_step_, steps_ = 0;
  int log_every_;
  training::LossTrend trend_;
  double smooth_seconds_ = 0;
};

}  // namespace clipself::cli
