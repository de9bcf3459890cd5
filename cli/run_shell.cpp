#include "cli/run_shell.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/together.h"
#include "cli/train_meter.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/ops/cpu/level.h"

namespace clipself::cli {
namespace fs = std::filesystem;

void RunFlags::add_to(CLI::App& app, const std::string& evaluate_flag, const std::string& evaluate_help) {
  const auto positive = CLI::Range(1, 1 << 30);
  app.add_option("--max-unreadable", max_unreadable,
                 "Stop when more than this part of the images (and more than 10, unless 0) cannot be read")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option(
         "--max-not-finite", most_left_out,
         "Leave a step out whose loss or gradients are not finite, up to so many in a row (0: stop at the first)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("--batch-size", batch_size, "Images a batch of one process")->capture_default_str()->check(positive);
  app.add_option("--accum-freq", accum_freq, "Batches a step")->capture_default_str()->check(positive);
  app.add_option("--total-batch", total_batch,
                 "Images a step of all processes, divided into batches of at most --batch-size (0: --batch-size times "
                 "--accum-freq times processes)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("--epochs", epochs, "Passes over the images")->capture_default_str()->check(positive);
  app.add_option("--lr", lr, "Highest learning rate")->capture_default_str()->check(above_zero());
  app.add_option("--wd", wd, "Weight decay")->capture_default_str()->check(not_negative());
  app.add_option("--beta1", beta1, "AdamW beta 1")->capture_default_str()->check(part_below_one());
  app.add_option("--beta2", beta2, "AdamW beta 2")->capture_default_str()->check(part_below_one());
  app.add_option("--eps", eps, "AdamW epsilon")->capture_default_str()->check(above_zero());
  app.add_option("--warmup", warmup, "Steps of linear warm-up")->capture_default_str()->check(not_negative());
  app.add_option("--grad-clip-norm", grad_clip_norm, "Largest joint norm of the gradients (0: no limit)")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option(evaluate_flag, evaluate_every, evaluate_help)->capture_default_str()->check(CLI::Range(0, 1 << 30));
  app.add_option("--save-frequency", save_frequency, "Save epoch_N.pt every so many epochs; the last is always saved")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_flag("--save-most-recent", save_most_recent,
               "After every epoch save epoch_latest.pt, in place of the one before");
  app.add_option("--keep-last", keep_last, "Of the epoch_N.pt keep so many, the last ones (0: all)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("--save-every-n-steps", save_every_steps,
                 "Also save step_N.pt every so many steps, in place of the one before (0: never)")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--log-every-n-steps", log_every, "A log line every so many steps")
      ->capture_default_str()
      ->check(positive);
  app.add_option("--logs", logs, "Folder of all experiments")->capture_default_str();
  app.add_option("--name", name, "Name of this experiment, a folder below --logs (default: from date and settings)");
  app.add_option("--resume", resume, "Go on from this checkpoint, or 'latest' for the experiment's newest");
}

void RunFlags::check(int processes) const {
  require_finite({{"--lr", lr},
                  {"--wd", wd},
                  {"--beta1", beta1},
                  {"--beta2", beta2},
                  {"--eps", eps},
                  {"--grad-clip-norm", grad_clip_norm},
                  {"--max-unreadable", max_unreadable}});
  if (resume == "latest" && name.empty()) {
    throw Error(
        {.doing = "--resume latest", .found = "no --name", .expected = "the name of the experiment to go on with"});
  }
  if (const double all = static_cast<double>(batch_size) * accum_freq * processes; all > 1 << 30)
    throw Error({.doing = "--batch-size",
                 .where = std::to_string(batch_size),
                 .found = fmt::format("{:g} images a step", all),
                 .expected = "fewer"});
  if (total_batch > 0 && accum_freq != 1)
    throw Error({.doing = "--accum-freq",
                 .where = std::to_string(accum_freq),
                 .found = "--total-batch beside it",
                 .expected = "one of the two",
                 .hint = "--total-batch says how many images a step has, and --accum-freq follows"});
  if (total_batch % processes != 0)
    throw Error({.doing = "--total-batch",
                 .where = std::to_string(total_batch),
                 .found = fmt::format("{} processes", processes),
                 .expected = "a multiple of them"});
}

void RunFlags::share_out(int processes) {
  if (total_batch == 0) {
    total_batch = batch_size * accum_freq * processes;
    if (processes > 1)
      spdlog::info("{} a step: {} processes x {} x --batch-size {}; --lr is for as many", counted(total_batch, "image"),
                   processes, counted(accum_freq, "batch", "batches"), batch_size);
    return;
  }
  const int own = total_batch / processes;
  batch_size = std::min(batch_size, own);
  while (own % batch_size != 0) --batch_size;
  accum_freq = own / batch_size;
  spdlog::info("--total-batch {}: {} x {} of {}", total_batch, counted(processes, "process", "processes"),
               counted(accum_freq, "batch", "batches"), counted(batch_size, "image"));
}

training::TrainerOptions RunFlags::trainer_options(std::uint64_t seed,
                                                   const std::shared_ptr<distributed::Processes>& processes) const {
  training::TrainerOptions options{
      .epochs = epochs, .accum_freq = accum_freq, .seed = seed, .most_left_out = most_left_out, .processes = processes};
  if (grad_clip_norm > 0) options.grad_clip_norm = grad_clip_norm;
  return options;
}

training::AdamWOptions RunFlags::optimizer_options() const {
  return {.beta1 = beta1, .beta2 = beta2, .eps = eps, .weight_decay = wd};
}

RunShell::RunShell(RunFlags& flags, std::string command, std::shared_ptr<distributed::Processes> processes)
    : flags_(flags), command_(std::move(command)), processes_(std::move(processes)) {
  flags_.check(processes_->size());
  flags_.share_out(processes_->size());
  if (flags_.resume.empty() || flags_.resume == "latest") return;
  require_file(flags_.resume, "--resume");
  resumed_ = training::read_checkpoint(flags_.resume);
  if (flags_.name.empty()) flags_.name = resumed_->name;
}

RunShell::~RunShell() = default;

void RunShell::open(Job job, Settings settings, const std::string& default_name) {
  job_ = std::move(job);
  settings_ = std::move(settings);
  for (auto& [name, value] : settings_)
    if (name == "total-batch") value = std::to_string(flags_.images_a_step());
  if (flags_.name.empty())
    flags_.name = fmt::format("{:%Y_%m_%d-%H_%M_%S}-{}", fmt::localtime(std::time(nullptr)), default_name);
  flags_.name = processes_->of_first(flags_.name);
  // A name may come from a checkpoint: it must not lead anywhere else.
  const fs::path name(flags_.name);
  if (name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end()) {
    throw Error({.doing = "--name", .where = flags_.name, .found = "a path out of --logs", .expected = "a plain name"});
  }
  folder_ = fs::path(flags_.logs) / name;
  checkpoints_ = folder_ / "checkpoints";
  std::error_code ignored;
  if (writes() && fs::exists(folder_, ignored)) lock();
  find_checkpoint();
  if (resumed_) resume();
  compare_processes();
  if (writes()) open_folder();
  resumed_.reset();
}

void RunShell::lock() {
  lock_ = std::make_unique<FolderLock>(folder_, "--name");
}

void RunShell::find_checkpoint() {
  if (flags_.resume == "latest") {
    std::string file;
    processes_->agree([&] {
      if (!writes()) return;
      resumed_ = training::read_latest_checkpoint(checkpoints_);
      file = resumed_->file.string();
    });
    file = processes_->of_first(file);
    processes_->agree([&] {
      if (!writes()) resumed_ = training::read_checkpoint(file);
    });
  }
  // A folder without checkpoints is of a run that failed at its start: nothing is lost by taking it.
  if (writes() && !(resumed_ && resumed_->name == flags_.name) && training::has_checkpoint(checkpoints_)) {
    throw Error({.doing = "--name",
                 .where = flags_.name,
                 .found = "an experiment of that name in " + flags_.logs,
                 .expected = "a new name",
                 .hint = "--resume latest goes on with it"});
  }
}

void RunShell::open_folder() {
  require_writable_folder(checkpoints_);
  if (!lock_) lock();
  remove_stale_temporaries(checkpoints_);
  if (resumes_) training::set_aside_later_checkpoints(checkpoints_, job_.trainer->position().step);
  add_log_file(folder_ / "out.log");
  write_text(folder_ / "settings.json", settings_json(settings_) + "\n");
  tensorboard_ = std::make_unique<formats::TensorBoardWriter>(folder_ / "tensorboard");
  meter_ = std::make_unique<TrainMeter>(folder_ / "metrics.jsonl", *tensorboard_, job_.trainer->total_steps(),
                                        job_.trainer->position().step, flags_.log_every);
}

void RunShell::compare_processes() {
  if (processes_->size() == 1) return;
  compare_settings(*processes_, settings_);
  // Each makes the steps itself, and they must come out alike to the last bit.
  const bool on_cpu = job_.parameters.front().second.is_cpu();
  processes_->check_equal("instructions", on_cpu ? ops::cpu::instructions() : "",
                          "CLIPSELF_CPU=avx2 for all of them makes them equal (generic, where one lacks that)");
  processes_->check_equal("images of --train-data", job_.data_fingerprint);
  processes_->check_equal("weights at the start", job_.start_fingerprint);
  processes_->check_equal("checkpoint of --resume",
                          resumed_ ? fmt::format("step {}", resumed_->position.step) : "none");
}

void RunShell::resume() {
  const auto& checkpoint = *resumed_;
  if (checkpoint.start_fingerprint != job_.start_fingerprint) {
    throw Error({.doing = "--resume",
                 .where = checkpoint.name,
                 .found = "a run that began from other weights or trained other layers",
                 .expected = "the same weights, seed and trained layers as at its beginning"});
  }
  if (checkpoint.data_fingerprint != job_.data_fingerprint) {
    throw Error({.doing = "--resume",
                 .where = checkpoint.name,
                 .found = "a run on other images (" + checkpoint.data_fingerprint + ")",
                 .expected = "the same images in the same order (here " + job_.data_fingerprint + ")"});
  }
  const auto before = nlohmann::json::parse(checkpoint.settings, nullptr, /*allow_exceptions=*/false);
  const auto same = [](const std::string& a, const std::string& b) {
    const auto x = nlohmann::json::parse(a, nullptr, false), y = nlohmann::json::parse(b, nullptr, false);
    return a == b || (x.is_number() && y.is_number() && x.get<double>() == y.get<double>());  // "1e-5", "1e-05"
  };
  for (const auto& [name, value] : settings_) {
    // Images a step stay the same; how they are divided may change.
    static const std::set<std::string> kFree = {"logs",           "name",
                                                "resume",         "workers",
                                                "threads",        "log-every-n-steps",
                                                "save-frequency", "save-every-n-steps",
                                                "keep-last",      "zeroshot-frequency",
                                                "max-not-finite", "eval-frequency",
                                                "device",         "batch-size",
                                                "accum-freq",     "nproc",
                                                "dist-timeout",   "save-most-recent"};
    if (kFree.contains(name) || !before.is_object() || !before.contains(name) || !before[name].is_string()) continue;
    const auto was = before[name].get<std::string>();
    if (same(was, value)) continue;
    if (name == "total-batch" || std::ranges::find(job_.fixed, name) != job_.fixed.end()) {
      throw Error({.doing = "--" + name,
                   .where = value,
                   .found = "a run that began with " + was,
                   .expected = "the same: its batches and its optimizer are of that run",
                   .hint = name == "total-batch" ? "--total-batch " + was + " divides them anew" : ""});
    }
    spdlog::warn("--{} was '{}' and is now '{}': the run will not continue as it would have", name, was, value);
  }
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : job_.parameters) {
    const auto* saved = checkpoint.parameters.find(name);
    if (saved == nullptr || saved->sizes() != parameter.sizes()) {
      throw Error({.doing = "--resume", .where = name, .found = "no such parameter in the checkpoint"});
    }
  }
  job_.optimizer->load_state_dict(checkpoint.optimizer);
  for (auto& [name, parameter] : job_.parameters) parameter.copy_(*checkpoint.parameters.find(name));
  job_.trainer->resume(checkpoint.position);
  resumes_ = true;
}

void RunShell::run() {
  spdlog::info("experiment in {}", folder_.string());
  show_warnings();
  const auto& at = job_.trainer->position();
  try {
    if (resumes_) spdlog::info("resumed at step {} (epoch {}, step {} of it)", at.step, at.epoch, at.epoch_step);
    // Before the first step; also what an interrupted evaluation left undone.
    if (at.epoch_step == 0 && (at.epoch > 0 || job_.evaluate_at_start)) evaluate(at.epoch);
    training::Trainer::Hooks hooks;
    if (writes()) {
      hooks.on_step = [this](const training::StepReport& report) { on_step(report); };
      hooks.on_not_finite = [this](const auto& position, const auto& error) { on_not_finite(position, error); };
    }
    hooks.on_epoch = [this](std::int64_t done) { on_epoch(done); };
    hooks.should_stop = [this] { return stop_.signal() != 0; };
    if (!job_.trainer->run(hooks)) throw Interrupted{};
  } catch (const Interrupted&) {
    const int signal = signal_of_all(*processes_, stop_);
    if (writes()) {
      save_step();
      spdlog::warn(
          "stopped by signal {} after step {}; go on with: clipself {} <the same flags> --name {} --resume latest",
          signal, at.step, command_, flags_.name);
    }
    processes_->barrier();  // the job is over when the checkpoint is there
    throw ExitCode{128 + signal};
  }
  // Over the epochs several processes meet the same ones.
  const auto& own = job_.loader->unreadable();
  const auto all = processes_->gather_rows(at::tensor(std::vector<std::int64_t>(own.begin(), own.end()), at::kLong));
  const auto unreadable = std::get<0>(at::_unique(all)).numel();
  if (writes() && unreadable > 0)
    spdlog::warn("{} could not be read and {} replaced", counted(unreadable, "image"),
                 unreadable == 1 ? "was" : "were");
  spdlog::info("done: {}; peak memory {}", counted(at.step, "step"), format_bytes(peak_memory()));
}

void RunShell::on_step(const training::StepReport& report) {
  meter_->step(report);
  if (!report.left_out) not_finite_in_a_row_ = 0;
  const bool due = flags_.save_every_steps > 0 && job_.trainer->position().step % flags_.save_every_steps == 0;
  if (due) save_step();
}

void RunShell::on_not_finite(const training::Position& position, const training::NotFinite& error) {
  meter_->clear();
  const auto file = folder_ / "not_finite.jsonl";
  const nlohmann::ordered_json entry = {
      {"step", position.step}, {"epoch", position.epoch}, {"what", error.term()}, {"image_ids", error.image_ids()}};
  std::ofstream out(file, std::ios::app);
  out << entry.dump() << '\n' << std::flush;
  if (!out)
    throw Error({.doing = "writing", .where = file.string(), .found = "a failure", .hint = "is the disk full?"});
  spdlog::warn("step {}: {} not finite on {}; their ids are in {}", position.step + 1, error.term(),
               counted(std::ssize(error.image_ids()), "image"), file.string());
  if (++not_finite_in_a_row_ > flags_.most_left_out && flags_.most_left_out > 0)
    spdlog::warn("{} in a row: no more than --max-not-finite {} are left out", not_finite_in_a_row_,
                 flags_.most_left_out);
}

void RunShell::on_epoch(std::int64_t epochs_done) {
  const bool last = epochs_done == flags_.epochs;
  if (writes() && (last || (flags_.save_frequency > 0 && epochs_done % flags_.save_frequency == 0))) {
    meter_->clear();
    save(checkpoints_ / fmt::format("epoch_{}.pt", epochs_done));
    if (flags_.keep_last > 0) remove_old_epochs(epochs_done);
  }
  if (writes() && flags_.save_most_recent) {
    meter_->clear();
    save(checkpoints_ / "epoch_latest.pt");
  }
  evaluate(epochs_done);
}

void RunShell::evaluate(std::int64_t epochs_done) {
  if (!job_.evaluate || flags_.evaluate_every == 0) return;
  if (epochs_done % flags_.evaluate_every != 0 && epochs_done != flags_.epochs) return;
  const auto step = job_.trainer->position().step;
  if (processes_->any(writes() && meter_->evaluated(step))) return;
  try {
    const auto metrics = job_.evaluate(epochs_done, [this] { return stop_.signal() != 0; });
    if (writes()) meter_->evaluation(job_.evaluation, epochs_done, step, metrics);
  } catch (const Error& error) {
    // Hours of training are not given up for a picture that cannot be read any more.
    const bool all_know = processes_->size() == 1 || dynamic_cast<const distributed::AgreedError*>(&error) != nullptr;
    if (epochs_done == 0 || !all_know) throw;
    spdlog::warn("no evaluation after {}: {}", counted(epochs_done, "epoch"), error.what());
  }
}

void RunShell::save(const fs::path& file) {
  processes_->at_work("saving a checkpoint");
  training::Checkpoint checkpoint;
  checkpoint.position = job_.trainer->position();
  checkpoint.name = flags_.name;
  checkpoint.state_dict = job_.weights();
  for (const auto& [name, parameter] : job_.parameters) checkpoint.parameters.insert(name, parameter.detach());
  checkpoint.optimizer = job_.optimizer->state_dict(job_.trainer->next_lr());
  checkpoint.start_fingerprint = job_.start_fingerprint;
  checkpoint.data_fingerprint = job_.data_fingerprint;
  checkpoint.settings = settings_json(settings_);
  if (job_.save_beside) job_.save_beside(checkpoints_);  // first: a checkpoint is never without it
  training::write_checkpoint(file, checkpoint);
  spdlog::info("saved {}", file.string());
}

void RunShell::remove_old_epochs(std::int64_t epochs_done) const {
  std::error_code ignored;
  int kept = 0;
  for (auto epoch = epochs_done; epoch > 0; --epoch) {
    const auto file = checkpoints_ / fmt::format("epoch_{}.pt", epoch);
    if (fs::exists(file, ignored) && ++kept > flags_.keep_last) fs::remove(file, ignored);
  }
}

void RunShell::save_step() {
  meter_->clear();
  const auto file = checkpoints_ / fmt::format("step_{}.pt", job_.trainer->position().step);
  save(file);
  remove_other_steps(file);  // they have served their purpose only now that this one is safe on disk
}

void RunShell::remove_other_steps(const fs::path& file) const {
  std::error_code ignored;
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(checkpoints_, ignored)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("step_") && name.ends_with(".pt") && entry.path() != file) others.push_back(entry.path());
  }
  for (const auto& other : others) fs::remove(other, ignored);
}

}  // namespace clipself::cli
