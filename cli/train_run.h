// One training run as the command line describes it: what is read, trained, logged, evaluated and saved.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "cli/common.h"
#include "cli/run_shell.h"
#include "cli/together.h"
#include "cli/train_method.h"

namespace clipself::cli {

struct TrainFlags {
  ModelFlags model;
  ProcessFlags processes;
  RunFlags run;
  MethodFlags method;
  EvalFlags validation;
  std::string data_root, train_data, train_image_root;
  int max_split = 6;
  int max_boxes = 20;
  double min_size = 8, max_size = 1024;
  double crop_scale = 0;
  double train_ratio = 1.0;
  bool exif_orientation = false;
  std::string lr_scheduler = "cosine";
  std::int64_t epochs_cooldown = 0;
  double lr_cooldown_power = 1.0, lr_cooldown_end = 0.0;
  int unlocked_groups = 12;
  bool grad_checkpointing = false;
  double alpha = 0.7;

  void add_to(CLI::App& app);
};

class TrainRun {
 public:
  /// Checks everything that can be checked before work begins. Throws Error.
  TrainRun(TrainFlags flags, Settings settings, std::shared_ptr<distributed::Processes> processes);
  /// RunShell::run.
  void run();

 private:
  void check_flags();
  void open_data();
  void build_model();
  void print_plan() const;
  Job job();
  std::map<std::string, double> evaluate(std::int64_t epochs_done, const std::function<bool()>& interrupted);
  double estimated_memory() const;
  formats::TensorDict averaged_state();

  TrainFlags flags_;
  Settings settings_;
  std::shared_ptr<distributed::Processes> processes_;
  RunShell shell_;
  std::shared_ptr<models::ClipModel> student_, frozen_;  ///< frozen_: null when nothing asks for it
  at::Tensor nouns_;                                     ///< undefined unless the method learns from nouns
  std::vector<std::string> noun_names_;                  ///< of the training data's categories, by label
  formats::TensorDict start_;                            ///< trained parameters before the first step
  std::unique_ptr<distillation::RegionObjective> objective_;
  std::shared_ptr<datasets::DistillDataset> dataset_;
  std::unique_ptr<datasets::Loader> loader_;
  std::unique_ptr<training::AdamW> optimizer_;
  std::unique_ptr<training::Trainer> trainer_;
  std::unique_ptr<Evaluator> evaluator_;
};

}  // namespace clipself::cli
