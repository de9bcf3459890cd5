#include "cli/train_run.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/train_meter.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/formats/fingerprint.h"
#include "clipself/models/weights.h"

namespace clipself::cli {
namespace fs = std::filesystem;

TrainRun::TrainRun(TrainFlags flags, Settings settings) : flags_(std::move(flags)), settings_(std::move(settings)) {
  flags_.train_data = under(flags_.data_root, flags_.train_data);
  flags_.train_image_root = under(flags_.data_root, flags_.train_image_root);
  flags_.method.noun_embeddings = under(flags_.data_root, flags_.method.noun_embeddings);
  flags_.validation.prefix(flags_.data_root);
  check_flags();
  for (auto& [name, value] : settings_) {  // what was left open, as it was resolved
    if (name == "method") value = flags_.method.method;
    if (name == "dataset-type") value = flags_.method.dataset_type;
  }
  if (!flags_.resume.empty() && flags_.resume != "latest") {
    require_file(flags_.resume, "--resume");
    resumed_ = training::read_checkpoint(flags_.resume);
    if (flags_.name.empty()) flags_.name = resumed_->name;
  }
  open_data();
  build_model();
  open_folder();
}

TrainRun::~TrainRun() = default;

void TrainRun::check_flags() {
  const auto config = models::model_config(flags_.model.model);
  parse_precision(flags_.model.precision);
  flags_.method.resolve();
  parse_extract_type(flags_.validation.extract_type, config);
  if (flags_.validation.image_size % config.vision.patch_size != 0) {
    throw Error({.doing = "--det-image-size",
                 .where = std::to_string(flags_.validation.image_size),
                 .found = "no multiple of the patch size",
                 .expected = "a multiple of " + std::to_string(config.vision.patch_size)});
  }
  if (!flags_.validation.given()) {
    const auto& unused = flags_.validation;
    for (const auto& [name, value] : {std::pair{"--embed-path", unused.embeddings},
                                      {"--class-names", unused.classes.names},
                                      {"--val-image-root", unused.image_root},
                                      {"--val-segm-root", unused.segmentation_root}})
      if (!value.empty()) spdlog::warn("{} is for evaluation: without --val-data it is not used", name);
  }
  // Ranges let "nan" through, and one such number would spoil every weight.
  const std::pair<const char*, double> numbers[] = {{"--lr", flags_.lr},
                                                    {"--wd", flags_.wd},
                                                    {"--beta1", flags_.beta1},
                                                    {"--beta2", flags_.beta2},
                                                    {"--eps", flags_.eps},
                                                    {"--alpha", flags_.alpha},
                                                    {"--grad-clip-norm", flags_.grad_clip_norm},
                                                    {"--crop-scale", flags_.crop_scale},
                                                    {"--min-size", flags_.min_size},
                                                    {"--max-size", flags_.max_size},
                                                    {"--train-ratio", flags_.train_ratio},
                                                    {"--max-unreadable", flags_.max_unreadable},
                                                    {"--lr-cooldown-power", flags_.lr_cooldown_power},
                                                    {"--lr-cooldown-end", flags_.lr_cooldown_end}};
  for (const auto& [name, value] : numbers) {
    if (!std::isfinite(value))
      throw Error({.doing = name, .found = fmt::format("{}", value), .expected = "a finite number"});
  }
  if (flags_.min_size > flags_.max_size) {
    throw Error({.doing = "--min-size",
                 .where = fmt::format("{}", flags_.min_size),
                 .found = "more than --max-size",
                 .expected = "less"});
  }
  if (flags_.lr_scheduler == "const-cooldown" &&
      (flags_.epochs_cooldown < 1 || flags_.epochs_cooldown > flags_.epochs)) {
    throw Error({.doing = "--epochs-cooldown",
                 .where = std::to_string(flags_.epochs_cooldown),
                 .found = "no part of the run",
                 .expected = "1 to --epochs with --lr-scheduler const-cooldown"});
  }
  if (flags_.resume == "latest" && flags_.name.empty()) {
    throw Error(
        {.doing = "--resume latest", .found = "no --name", .expected = "the name of the experiment to go on with"});
  }
}

void TrainRun::open_data() {
  std::error_code ignored;
  const bool folder = fs::is_directory(flags_.train_data, ignored);
  if (!folder) {
    require_file(flags_.train_data, "--train-data");
    require_folder(flags_.train_image_root, "--train-image-root");
  }
  const auto regions = flags_.method.regions();
  const bool grid = regions == datasets::RegionKind::kGrid;
  if (folder && !grid) {
    throw Error({.doing = "--train-data",
                 .where = flags_.train_data,
                 .found = "a folder, which has no boxes",
                 .expected = "a COCO-format JSON with --dataset-type " + flags_.method.dataset_type});
  }
  spdlog::info("indexing {}", flags_.train_data);
  auto index = folder ? datasets::read_image_folder(flags_.train_data) : datasets::read_coco(flags_.train_data);
  if (!grid && index.annotation_count() == 0) {
    throw Error({.doing = "--train-data",
                 .where = flags_.train_data,
                 .found = "no annotations",
                 .expected = "boxes to learn from with --dataset-type " + flags_.method.dataset_type});
  }
  spdlog::info("{}, {}", counted(std::ssize(index.images), "image"), counted(index.annotation_count(), "annotation"));
  datasets::DistillOptions options;
  options.regions = regions;
  options.crops_of_labelled = flags_.method.crops_of_labelled();
  options.image_size = flags_.validation.image_size;
  options.crop_size = models::model_config(flags_.model.model).vision.image_size;
  options.max_split = flags_.max_split;
  options.grid_crop_scale = flags_.crop_scale > 0 ? flags_.crop_scale : 1.0;
  options.proposals = {.max_boxes = flags_.max_boxes,
                       .min_size = flags_.min_size,
                       .max_size = flags_.max_size,
                       .crop_scale = flags_.crop_scale > 0 ? flags_.crop_scale : 1.5};
  for (const auto& category : index.categories_by_label()) noun_names_.push_back(category.name);
  options.train_ratio = flags_.train_ratio;
  options.seed = flags_.model.seed;
  options.apply_exif_orientation = flags_.exif_orientation;
  dataset_ = std::make_shared<datasets::DistillDataset>(std::move(index),
                                                        folder ? flags_.train_data : flags_.train_image_root, options);
  datasets::LoaderOptions loading;
  loading.batch_size = flags_.batch_size;
  loading.workers = flags_.validation.workers;
  loading.seed = flags_.model.seed;
  loading.max_unreadable = flags_.max_unreadable;
  loader_ = std::make_unique<datasets::Loader>(dataset_, loading);
}

void TrainRun::build_model() {
  const auto type = parse_precision(flags_.model.precision);
  const bool embed_nouns = flags_.method.chosen().teacher.needs_labels && flags_.method.noun_embeddings.empty();
  const bool embed_classes = flags_.validation.given() && !flags_.validation.classes.names.empty();
  student_ = flags_.model.load(embed_classes || embed_nouns);
  if (embed_nouns) {
    spdlog::info("no --train-embed-path: the nouns are the {} of {}, embedded by the model itself",
                 counted(std::ssize(noun_names_), "category", "categories"), flags_.train_data);
    nouns_ = embed_names(noun_names_, flags_.validation.classes.templates, flags_.model, *student_).rows;
  }
  if (!flags_.method.noun_embeddings.empty()) nouns_ = flags_.method.read_nouns(*student_, dataset_->index());
  const auto& config = student_->config();
  if (flags_.method.needs_frozen()) {
    frozen_ = std::make_shared<models::ClipModel>(config, /*with_text=*/false);
    frozen_->to(student_->logit_scale().device());
    models::load_weights(*frozen_, student_->state(), "the student");
    frozen_->freeze(type);
  }
  student_->lock_image_tower(flags_.unlocked_groups);
  student_->visual().set_compute_type(type);
  student_->visual().set_grad_checkpointing(flags_.grad_checkpointing);
  if (flags_.validation.given()) evaluator_ = std::make_unique<Evaluator>(flags_.validation, flags_.model, *student_);

  const auto parameters = student_->trainable();
  if (parameters.size() < 2) {
    throw Error({.doing = "--lock-image-unlocked-groups",
                 .where = std::to_string(flags_.unlocked_groups),
                 .found = "nothing to train",
                 .expected = fmt::format("1 to {} blocks", config.vision.layers)});
  }
  for (const auto& [name, tensor] : parameters) start_.insert(name, tensor.detach().clone());
  objective_ = flags_.method.objective(student_, frozen_, nouns_, flags_.validation.extract_type);
  optimizer_ = std::make_unique<training::AdamW>(
      parameters, training::AdamWOptions{
                      .beta1 = flags_.beta1, .beta2 = flags_.beta2, .eps = flags_.eps, .weight_decay = flags_.wd});
  training::Schedule schedule{.kind = training::schedule_kind(flags_.lr_scheduler),
                              .base_lr = flags_.lr,
                              .warmup_steps = flags_.warmup,
                              .cooldown_power = flags_.lr_cooldown_power,
                              .cooldown_end_lr = flags_.lr_cooldown_end};
  schedule.cooldown_steps = loader_->batches_per_epoch() / flags_.accum_freq * flags_.epochs_cooldown;
  training::TrainerOptions options{.epochs = flags_.epochs, .accum_freq = flags_.accum_freq, .seed = flags_.model.seed};
  if (flags_.grad_clip_norm > 0) options.grad_clip_norm = flags_.grad_clip_norm;
  trainer_ = std::make_unique<training::Trainer>(*objective_, *loader_, *optimizer_, schedule, options);
}

void TrainRun::open_folder() {
  if (flags_.name.empty()) {
    const auto now = fmt::localtime(std::time(nullptr));
    flags_.name =
        fmt::format("{:%Y_%m_%d-%H_%M_%S}-model_{}-lr_{}-b_{}-p_{}", now, fs::path(flags_.model.model).stem().string(),
                    flags_.lr, flags_.batch_size, flags_.model.precision);
  }
  // A name may come from a checkpoint: it must not lead anywhere else.
  const fs::path name(flags_.name);
  if (name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end()) {
    throw Error({.doing = "--name", .where = flags_.name, .found = "a path out of --logs", .expected = "a plain name"});
  }
  folder_ = fs::path(flags_.logs) / name;
  checkpoints_ = folder_ / "checkpoints";
  if (flags_.resume == "latest") resumed_ = training::read_checkpoint(training::latest_checkpoint(checkpoints_));
  // A folder without checkpoints is of a run that failed at its start: nothing is lost by taking it.
  if (!(resumed_ && resumed_->name == flags_.name) && training::has_checkpoint(checkpoints_)) {
    throw Error({.doing = "--name",
                 .where = flags_.name,
                 .found = "an experiment of that name in " + flags_.logs,
                 .expected = "a new name",
                 .hint = "--resume latest goes on with it"});
  }
  if (resumed_) resume_from(*resumed_);
  require_writable_folder(checkpoints_);
  remove_stale_temporaries(checkpoints_);
  add_log_file(folder_ / "out.log");
  write_text(folder_ / "settings.json", settings_json(settings_) + "\n");
  tensorboard_ = std::make_unique<formats::TensorBoardWriter>(folder_ / "tensorboard");
  meter_ = std::make_unique<TrainMeter>(folder_ / "metrics.jsonl", *tensorboard_, trainer_->total_steps(),
                                        trainer_->position().step, flags_.log_every);
}

void TrainRun::resume_from(const training::Checkpoint& checkpoint) {
  if (checkpoint.start_fingerprint != formats::fingerprint(start_)) {
    throw Error({.doing = "--resume",
                 .where = checkpoint.name,
                 .found = "a run that began from other weights or trained other layers",
                 .expected = "the same --model, --pretrained, --seed and --lock-image-unlocked-groups"});
  }
  if (checkpoint.data_fingerprint != dataset_->fingerprint()) {
    throw Error({.doing = "--resume",
                 .where = checkpoint.name,
                 .found = "a run on other images (" + checkpoint.data_fingerprint + ")",
                 .expected = "the same images in the same order (here " + dataset_->fingerprint() + ")"});
  }
  const auto before = nlohmann::json::parse(checkpoint.settings, nullptr, /*allow_exceptions=*/false);
  const auto same = [](const std::string& a, const std::string& b) {
    const auto x = nlohmann::json::parse(a, nullptr, false), y = nlohmann::json::parse(b, nullptr, false);
    return a == b || (x.is_number() && y.is_number() && x.get<double>() == y.get<double>());  // "1e-5", "1e-05"
  };
  for (const auto& [name, value] : settings_) {
    static const std::set<std::string> kFree = {"logs",
                                                "name",
                                                "resume",
                                                "workers",
                                                "threads",
                                                "log-every-n-steps",
                                                "save-frequency",
                                                "save-every-n-steps",
                                                "zeroshot-frequency",
                                                "device"};
    if (kFree.contains(name) || !before.is_object() || !before.contains(name) || !before[name].is_string()) continue;
    const auto was = before[name].get<std::string>();
    if (same(was, value)) continue;
    if (name == "batch-size" || name == "accum-freq" || name == "method" || name == "dataset-type") {
      throw Error({.doing = "--" + name,
                   .where = value,
                   .found = "a run that began with " + was,
                   .expected = "the same: its batches and its optimizer are of that run"});
    }
    spdlog::warn("--{} was '{}' and is now '{}': the run will not continue as it would have", name, was, value);
  }
  const at::NoGradGuard no_grad;
  for (auto& [name, parameter] : student_->trainable()) {
    const auto* saved = checkpoint.parameters.find(name);
    if (saved == nullptr || saved->sizes() != parameter.sizes()) {
      throw Error({.doing = "--resume", .where = name, .found = "no such parameter in the checkpoint"});
    }
    parameter.copy_(*saved);
  }
  optimizer_->load_state_dict(checkpoint.optimizer);
  trainer_->resume(checkpoint.position);
  // The file it goes on from is replaced by the next of its kind.
  const auto last = checkpoints_ / fmt::format("step_{}.pt", checkpoint.position.step);
  std::error_code ignored;
  if (fs::exists(last, ignored)) last_step_file_ = last;
}

double TrainRun::estimated_memory() const {
  const auto& vision = student_->config().vision;
  const double bytes = parse_precision(flags_.model.precision) == at::kFloat ? 4.0 : 2.0;
  double all = 0, trained = 0, frozen = nouns_.defined() ? static_cast<double>(nouns_.nbytes()) : 0.0;
  for (const auto& parameter : student_->parameters()) all += 4.0 * static_cast<double>(parameter.numel());
  for (const auto& [name, parameter] : student_->trainable()) trained += 4.0 * static_cast<double>(parameter.numel());
  if (frozen_)
    for (const auto& parameter : frozen_->parameters()) frozen += static_cast<double>(parameter.nbytes());
  // What a block keeps for its backward pass, in numbers a token: 9 of the width, 5 of the MLP's; all of it only for
  // trained blocks.
  const auto tokens_of = [&](int image_size) {
    const double side = static_cast<double>(image_size) / vision.patch_size;
    return (side * side + 1) * flags_.batch_size;
  };
  const bool retains = flags_.method.retain_weight > 0;  // a second pass, of whole images at the native size
  const double tokens = tokens_of(flags_.validation.image_size) + (retains ? tokens_of(vision.image_size) : 0.0);
  const double per_block = tokens * (9.0 * vision.width + 5.0 * vision.mlp_width()) * bytes;
  const double blocks = std::min(flags_.unlocked_groups, vision.layers);
  const double activations =
      flags_.grad_checkpointing ? per_block + blocks * tokens * vision.width * bytes : blocks * per_block;
  // Gradients, two moments and the start weights beside each trained parameter; a fixed part for the program and its
  // libraries.
  return all + 4.0 * trained + frozen + activations + 0.4e9;
}

void TrainRun::print_plan() const {
  std::int64_t all = 0, trained = 0;
  for (const auto& parameter : student_->parameters()) all += parameter.numel();
  for (const auto& [name, parameter] : student_->trainable()) trained += parameter.numel();
  spdlog::info("settings\n{}", settings_table(settings_));
  spdlog::info("{}: {:.1f} M parameters, {:.1f} M trained ({} of {} blocks)", student_->config().name,
               static_cast<double>(all) / 1e6, static_cast<double>(trained) / 1e6,
               std::min(flags_.unlocked_groups, student_->config().vision.layers), student_->config().vision.layers);
  spdlog::info("method {}: {}", flags_.method.method, flags_.method.chosen().summary);
  spdlog::info("{}, {} an epoch of {}, {} in all, on {}", counted(dataset_->size(), "image"),
               counted(trainer_->steps_per_epoch(), "step"), counted(flags_.batch_size * flags_.accum_freq, "image"),
               counted(trainer_->total_steps(), "step"), student_->logit_scale().device().str());
  spdlog::info("memory about {} (estimate)", format_bytes(estimated_memory()));
  if (flags_.warmup >= trainer_->total_steps())
    spdlog::warn("--warmup {} is not over within the {} steps of this run: the learning rate stays below --lr",
                 flags_.warmup, trainer_->total_steps());
  spdlog::info("experiment in {}", folder_.string());
}

void TrainRun::run() {
  print_plan();
  try {
    if (resumed_) {
      const auto& at = trainer_->position();
      spdlog::info("resumed at step {} (epoch {}, batch {})", at.step, at.epoch, at.batch);
    }
    // Before the first step; also what an interrupted evaluation left undone.
    if (const auto& at = trainer_->position(); at.batch == 0 && !meter_->evaluated(at.step)) evaluate(at.epoch);
    training::Trainer::Hooks hooks;
    hooks.on_step = [this](const training::StepReport& report) { on_step(report); };
    hooks.on_epoch = [this](std::int64_t done) { on_epoch(done); };
    hooks.should_stop = [this] { return stop_.signal() != 0; };
    if (!trainer_->run(hooks)) throw Interrupted{};
  } catch (const Interrupted&) {
    meter_->clear();
    save_step();
    spdlog::warn(
        "stopped by signal {} after step {}; go on with: clipself train <the same flags> --name {} --resume latest",
        stop_.signal(), trainer_->position().step, flags_.name);
    throw ExitCode{128 + stop_.signal()};
  }
  if (loader_->unreadable() > 0) spdlog::warn("{} images could not be read and were replaced", loader_->unreadable());
  spdlog::info("done: {}; peak memory {}", counted(trainer_->position().step, "step"), format_bytes(peak_memory()));
}

void TrainRun::on_step(const training::StepReport& report) {
  meter_->step(report);
  const bool due = flags_.save_every_steps > 0 && trainer_->position().step % flags_.save_every_steps == 0;
  if (due) save_step();
}

void TrainRun::on_epoch(std::int64_t epochs_done) {
  meter_->clear();
  const bool last = epochs_done == flags_.epochs;
  if (last || (flags_.save_frequency > 0 && epochs_done % flags_.save_frequency == 0)) {
    save(checkpoints_ / fmt::format("epoch_{}.pt", epochs_done));
  }
  evaluate(epochs_done);
}

// Weights swapped in for an evaluation, and back whatever happens in it.
class SwappedWeights {
 public:
  SwappedWeights(models::ClipModel& model, const formats::TensorDict& weights) : parameters_(model.trainable()) {
    const at::NoGradGuard no_grad;
    for (auto& [name, parameter] : parameters_) {
      kept_.push_back(parameter.detach().clone());
      parameter.copy_(*weights.find(name));
    }
  }
  ~SwappedWeights() {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].second.copy_(kept_[i]);
  }
  SwappedWeights(const SwappedWeights&) = delete;
  SwappedWeights& operator=(const SwappedWeights&) = delete;

 private:
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  std::vector<at::Tensor> kept_;
};

formats::TensorDict TrainRun::averaged_state() {
  formats::TensorDict trained;
  for (const auto& [name, parameter] : student_->trainable()) trained.insert(name, parameter.detach());
  return distillation::ensemble(trained, start_, flags_.alpha);
}

void TrainRun::evaluate(std::int64_t epochs_done) {
  if (!evaluator_ || flags_.zeroshot_frequency == 0) return;
  if (epochs_done % flags_.zeroshot_frequency != 0 && epochs_done != flags_.epochs) return;
  spdlog::info("evaluating after {}, weights {:g} x student + {:g} x teacher", counted(epochs_done, "epoch"),
               flags_.alpha, 1.0 - flags_.alpha);
  const SwappedWeights swapped(*student_, averaged_state());
  const auto result = evaluator_->run(*student_, [this] { return stop_.signal() != 0; });
  spdlog::info("zero-shot classification after {}\n{}", counted(epochs_done, "epoch"),
               evaluation::report_table(result, /*per_class=*/false));
  meter_->evaluation(epochs_done, trainer_->position().step, result.metrics);
}

void TrainRun::save(const fs::path& file) {
  training::Checkpoint checkpoint;
  checkpoint.position = trainer_->position();
  checkpoint.name = flags_.name;
  const auto averaged = averaged_state();
  for (const auto& item : student_->state()) {
    const auto* trained = averaged.find(item.key());
    checkpoint.state_dict.insert(item.key(), trained != nullptr ? *trained : item.value());
  }
  for (const auto& [name, parameter] : student_->trainable()) checkpoint.parameters.insert(name, parameter.detach());
  checkpoint.optimizer = optimizer_->state_dict(trainer_->next_lr());
  checkpoint.start_fingerprint = formats::fingerprint(start_);
  checkpoint.data_fingerprint = dataset_->fingerprint();
  checkpoint.settings = settings_json(settings_);
  training::write_checkpoint(file, checkpoint);
  // For whoever loads it by the model's name, which does not tell how images are prepared.
  write_text(checkpoints_ / "open_clip_config.json", models::config_json(student_->config()));
  spdlog::info("saved {}", file.string());
}

void TrainRun::save_step() {
  meter_->clear();
  const auto file = checkpoints_ / fmt::format("step_{}.pt", trainer_->position().step);
  save(file);
  // The one before has served its purpose only now that this one is safe on disk.
  std::error_code ignored;
  if (!last_step_file_.empty() && last_step_file_ != file) fs::remove(last_step_file_, ignored);
  last_step_file_ = file;
}

}  // namespace clipself::cli
