// One training run as the command line describes it: what is read, trained, logged, evaluated and saved.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "cli/common.h"
#include "cli/train_method.h"
#include "clipself/base/signals.h"
#include "clipself/formats/tensorboard.h"
#include "clipself/training/checkpoint.h"
#include "clipself/training/trainer.h"

namespace clipself::cli {

class TrainMeter;
using Settings = std::vector<std::pair<std::string, std::string>>;

struct TrainFlags {
  ModelFlags model;
  MethodFlags method;
  EvalFlags validation;
  std::string data_root, train_data, train_image_root;
  int max_split = 6;
  int max_boxes = 20;
  double min_size = 8, max_size = 1024;
  double crop_scale = 0;
  double train_ratio = 1.0;
  bool exif_orientation = false;
  int batch_size = 2;
  int accum_freq = 1;
  std::int64_t epochs = 6;
  double lr = 1e-5, beta1 = 0.9, beta2 = 0.98, eps = 1e-6, wd = 0.1;
  std::int64_t warmup = 1000;
  std::string lr_scheduler = "cosine";
  std::int64_t epochs_cooldown = 0;
  double lr_cooldown_power = 1.0, lr_cooldown_end = 0.0;
  double grad_clip_norm = 0;
  int unlocked_groups = 12;
  bool grad_checkpointing = false;
  double alpha = 0.7;
  int zeroshot_frequency = 1;
  int save_frequency = 1;
  std::int64_t save_every_steps = 0;
  int log_every = 50;
  double max_unreadable = 0.01;
  std::string logs = "logs", name, resume;

  void add_to(CLI::App& app);
};

class TrainRun {
 public:
  /// Checks everything that can be checked before work begins. Throws Error.
  TrainRun(TrainFlags flags, Settings settings);
  ~TrainRun();
  /// Trains to the end. After SIGINT or SIGTERM: saves, says how to go on, throws ExitCode.
  void run();

 private:
  void check_flags();
  void open_folder();
  void open_data();
  void build_model();
  void resume_from(const training::Checkpoint& checkpoint);
  void print_plan() const;
  void on_step(const training::StepReport& report);
  void on_epoch(std::int64_t epochs_done);
  void evaluate(std::int64_t epochs_done);
  void save(const std::filesystem::path& file);
  void save_step();
  double estimated_memory() const;
  formats::TensorDict averaged_state();

  TrainFlags flags_;
  Settings settings_;
  StopRequest stop_;
  std::optional<training::Checkpoint> resumed_;
  std::filesystem::path folder_, checkpoints_;
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
  std::unique_ptr<formats::TensorBoardWriter> tensorboard_;
  std::unique_ptr<TrainMeter> meter_;
  std::filesystem::path last_step_file_;
};

}  // namespace clipself::cli
