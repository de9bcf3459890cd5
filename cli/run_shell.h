// What surrounds training, whatever is trained: the experiment's folder, log and metrics, checkpoints, resuming,
// evaluation between epochs, Ctrl-C.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/common.h"
#include "clipself/base/file.h"
#include "clipself/base/signals.h"
#include "clipself/formats/tensorboard.h"
#include "clipself/training/checkpoint.h"
#include "clipself/training/trainer.h"

namespace clipself::cli {

class TrainMeter;

/// --batch-size, --accum-freq, --total-batch, --epochs, --lr, --wd, --beta1, --beta2, --eps, --warmup,
/// --grad-clip-norm,
/// --max-unreadable, --max-not-finite, --save-frequency, --save-most-recent, --keep-last, --save-every-n-steps,
/// --log-every-n-steps,
/// --logs, --name,
/// --resume, and how often to evaluate
struct RunFlags {
  int batch_size = 2;
  int accum_freq = 1;
  int total_batch = 0;  ///< 0: whatever batch_size, accum_freq and the processes come to
  std::int64_t epochs = 6;
  double lr = 1e-5, beta1 = 0.9, beta2 = 0.98, eps = 1e-6, wd = 0.1;
  std::int64_t warmup = 1000;
  double grad_clip_norm = 0;
  double max_unreadable = 0.01;
  int evaluate_every = 1;
  int save_frequency = 1;
  std::int64_t save_every_steps = 0;
  int log_every = 50;
  int most_left_out = 0;
  int keep_last = 0;
  bool save_most_recent = false;
  std::string logs = "logs", name, resume;

  /// `evaluate_flag`: the name of the flag for evaluate_every, with what it says in the help.
  void add_to(CLI::App& app, const std::string& evaluate_flag, const std::string& evaluate_help);
  /// Throws Error for what its own flags' checks let through, and for a --total-batch that so many processes cannot
  /// divide among them.
  void check(int processes) const;
  /// Divides --total-batch among the processes, or says what their batches come to.
  void share_out(int processes);
  /// Of all processes; after share_out().
  int images_a_step() const { return total_batch; }
  training::TrainerOptions trainer_options(std::uint64_t seed,
                                           const std::shared_ptr<distributed::Processes>& processes) const;
  training::AdamWOptions optimizer_options() const;
};

/// What a run trains. Everything referred to must live as long as the run.
struct Job {
  training::Trainer* trainer = nullptr;
  training::AdamW* optimizer = nullptr;
  datasets::Loader* loader = nullptr;
  training::NamedParameters parameters;  ///< what training changes: saved in checkpoints, put back on resuming
  std::string start_fingerprint;         ///< of the weights it begins from
  std::string data_fingerprint;
  std::vector<std::string> fixed{};                ///< flags, beside the batch size, that a resumed run cannot change
  std::function<formats::TensorDict()> weights{};  ///< those to use, by official name
  std::function<void(const std::filesystem::path& checkpoints)> save_beside{};  ///< files that loading needs too
  /// Null without data to evaluate on. Throws Interrupted when `interrupted` says so.
  std::function<std::map<std::string, double>(std::int64_t epochs_done, const std::function<bool()>& interrupted)>
      evaluate{};
  std::string evaluation = "zero_shot";  ///< what its figures are called in metrics.jsonl and TensorBoard
  bool evaluate_at_start = true;
};

class RunShell {
 public:
  /// Reads the checkpoint that --resume names; the run's name may come from it. `command`: "train", for messages.
  RunShell(RunFlags& flags, std::string command, std::shared_ptr<distributed::Processes> processes);
  ~RunShell();
  /// Opens the folder and goes back to where the resumed run stood. `default_name`: what follows the date in the name
  /// of a run that was given none. Throws Error when the run cannot be what the checkpoint began.
  void open(Job job, Settings settings, const std::string& default_name);
  /// Trains to the end. After SIGINT or SIGTERM: saves, says how to go on, throws ExitCode.
  void run();
  const std::filesystem::path& folder() const { return folder_; }

 private:
  /// Of several processes the first alone writes.
  bool writes() const { return processes_->first(); }
  void find_checkpoint();
  void lock();
  void open_folder();
  void compare_processes();
  void resume();
  void on_step(const training::StepReport& report);
  void on_not_finite(const training::Position& at, const training::NotFinite& error);
  void on_epoch(std::int64_t epochs_done);
  void evaluate(std::int64_t epochs_done);
  void save(const std::filesystem::path& file);
  void save_step();
  /// Removes all step_N.pt but this.
  void remove_other_steps(const std::filesystem::path& file) const;
  /// Removes this run's epoch_N.pt up to `epochs_done` but for the last --keep-last.
  void remove_old_epochs(std::int64_t epochs_done) const;

  RunFlags& flags_;
  std::string command_;
  std::shared_ptr<distributed::Processes> processes_;
  Job job_;
  Settings settings_;
  StopRequest stop_;
  std::optional<training::Checkpoint> resumed_;  ///< until open() has taken what is in it
  bool resumes_ = false;
  int not_finite_in_a_row_ = 0;
  std::filesystem::path folder_, checkpoints_;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<formats::TensorBoardWriter> tensorboard_;
  std::unique_ptr<TrainMeter> meter_;
};

}  // namespace clipself::cli
