#include "cli/train_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/formats/fingerprint.h"
#include "clipself/models/weights.h"

namespace clipself::cli {
namespace fs = std::filesystem;

TrainRun::TrainRun(TrainFlags flags, Settings settings, std::shared_ptr<distributed::Processes> processes)
    : flags_(std::move(flags)),
      settings_(std::move(settings)),
      processes_(std::move(processes)),
      shell_(flags_.run, "train", processes_) {
  flags_.train_data = under(flags_.data_root, flags_.train_data);
  flags_.train_image_root = under(flags_.data_root, flags_.train_image_root);
  flags_.method.noun_embeddings = under(flags_.data_root, flags_.method.noun_embeddings);
  flags_.validation.prefix(flags_.data_root);
  check_flags();
  for (auto& [name, value] : settings_) {  // what was left open, as it was resolved
    if (name == "method") value = flags_.method.method;
    if (name == "dataset-type") value = flags_.method.dataset_type;
  }
  open_data();
  build_model();
  shell_.open(job(), settings_,
              fmt::format("model_{}-lr_{}-b_{}-p_{}", fs::path(flags_.model.model).stem().string(), flags_.run.lr,
                          flags_.run.images_a_step(), flags_.model.precision));
}

void TrainRun::run() {
  print_plan();
  shell_.run();
}

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
  require_finite({{"--alpha", flags_.alpha},
                  {"--crop-scale", flags_.crop_scale},
                  {"--min-size", flags_.min_size},
                  {"--max-size", flags_.max_size},
                  {"--train-ratio", flags_.train_ratio},
                  {"--lr-cooldown-power", flags_.lr_cooldown_power},
                  {"--lr-cooldown-end", flags_.lr_cooldown_end}});
  if (flags_.min_size > flags_.max_size) {
    throw Error({.doing = "--min-size",
                 .where = fmt::format("{}", flags_.min_size),
                 .found = "more than --max-size",
                 .expected = "less"});
  }
  if (flags_.lr_scheduler == "const-cooldown" &&
      (flags_.epochs_cooldown < 1 || flags_.epochs_cooldown > flags_.run.epochs)) {
    throw Error({.doing = "--epochs-cooldown",
                 .where = std::to_string(flags_.epochs_cooldown),
                 .found = "no part of the run",
                 .expected = "1 to --epochs with --lr-scheduler const-cooldown"});
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
  loading.batch_size = flags_.run.batch_size;
  loading.workers = flags_.validation.workers;
  loading.seed = flags_.model.seed;
  loading.rank = processes_->rank();
  loading.world_size = processes_->size();
  loading.batches_a_step = flags_.run.accum_freq;
  loading.max_unreadable = flags_.run.max_unreadable;
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
  objective_ = flags_.method.objective(student_, frozen_, nouns_, flags_.validation.extract_type, processes_);
  optimizer_ = std::make_unique<training::AdamW>(parameters, flags_.run.optimizer_options());
  training::Schedule schedule{.kind = training::schedule_kind(flags_.lr_scheduler),
                              .base_lr = flags_.run.lr,
                              .warmup_steps = flags_.run.warmup,
                              .cooldown_power = flags_.lr_cooldown_power,
                              .cooldown_end_lr = flags_.lr_cooldown_end};
  schedule.cooldown_steps = loader_->batches_per_epoch() / flags_.run.accum_freq * flags_.epochs_cooldown;
  trainer_ = std::make_unique<training::Trainer>(*objective_, *loader_, *optimizer_, schedule,
                                                 flags_.run.trainer_options(flags_.model.seed, processes_));
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
    return (side * side + 1) * flags_.run.batch_size;
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
               counted(trainer_->steps_per_epoch(), "step"), counted(flags_.run.images_a_step(), "image"),
               counted(trainer_->total_steps(), "step"), student_->logit_scale().device().str());
  spdlog::info("memory about {} (estimate)", format_bytes(estimated_memory()));
  if (flags_.run.warmup >= trainer_->total_steps())
    spdlog::warn("--warmup {} is not over within the {} steps of this run: the learning rate stays below --lr",
                 flags_.run.warmup, trainer_->total_steps());
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

std::map<std::string, double> TrainRun::evaluate(std::int64_t epochs_done, const std::function<bool()>& interrupted) {
  spdlog::info("evaluating after {}, weights {:g} x student + {:g} x teacher", counted(epochs_done, "epoch"),
               flags_.alpha, 1.0 - flags_.alpha);
  const SwappedWeights swapped(*student_, averaged_state());
  const auto result = evaluator_->run(*student_, interrupted, processes_);
  spdlog::info("zero-shot classification after {}\n{}", counted(epochs_done, "epoch"),
               evaluation::report_table(result, /*per_class=*/false));
  return result.metrics;
}

Job TrainRun::job() {
  Job job{.trainer = trainer_.get(),
          .optimizer = optimizer_.get(),
          .loader = loader_.get(),
          .parameters = student_->trainable(),
          .start_fingerprint = formats::fingerprint(start_),
          .data_fingerprint = dataset_->fingerprint(),
          .fixed = {"method", "dataset-type"}};
  job.weights = [this] {
    formats::TensorDict weights;
    const auto averaged = averaged_state();
    for (const auto& item : student_->state()) {
      const auto* trained = averaged.find(item.key());
      weights.insert(item.key(), trained != nullptr ? *trained : item.value());
    }
    return weights;
  };
  // For whoever loads it by the model's name, which does not tell how images are prepared.
  job.save_beside = [this](const fs::path& checkpoints) {
    write_text(checkpoints / "open_clip_config.json", models::config_json(student_->config()));
  };
  if (evaluator_)
    job.evaluate = [this](std::int64_t epochs_done, const std::function<bool()>& interrupted) {
      return evaluate(epochs_done, interrupted);
    };
  return job;
}

}  // namespace clipself::cli
