#include <fmt/format.h>

#include <cmath>
#include <thread>

#include "cli/commands.h"
#include "cli/quickstart.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/panoptic.h"
#include "clipself/distillation/methods.h"
#include "clipself/evaluation/zero_shot.h"
#include "clipself/formats/safetensors.h"
#include "clipself/models/text_embeddings.h"
#include "clipself/models/weights.h"
#include "clipself/scenes/captions.h"
#include "clipself/scenes/contrastive.h"
#include "clipself/training/trainer.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxSplit = 3;  // a cell of a finer grid would be smaller than the things of this world

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

fs::path find_checkpoint(const std::string& flag) {
  if (!flag.empty()) {
    require_file(flag, "--checkpoint");
    return flag;
  }
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  const fs::path sources = fs::path(__FILE__).parent_path().parent_path();
  for (const fs::path& root : {program / "..", sources, fs::path(".")}) {
    const fs::path path = root / "data" / "world_clip.safetensors";
    if (fs::exists(path, ignored)) return fs::weakly_canonical(path);
  }
  throw Error({.doing = "looking for the small CLIP",
               .where = "data/world_clip.safetensors",
               .found = "no such file beside the program or its sources",
               .hint = "give it with --checkpoint, or make it anew with --pretrain"});
}

ModelPtr new_world_model() {
  return std::make_shared<models::ClipModel>(scenes::world_model_config());
}

ModelPtr copy_of(models::ClipModel& model) {
  ModelPtr copy = new_world_model();
  models::load_weights(*copy, model.state(), "the small CLIP");
  return copy;
}

void save_world_model(const fs::path& path, models::ClipModel& model, std::map<std::string, std::string> metadata) {
  metadata["model"] = "world";
  formats::write_safetensors(path, model.state(), metadata);
}

}  // namespace

double figure(const Metrics& metrics, const std::string& key) {
  const auto found = metrics.find(key);
  return found == metrics.end() ? 0.0 : 100.0 * found->second;
}

WorldSession::WorldSession(const QuickstartFlags& flags) : flags_(flags), folder_(flags.out) {
  if (!std::isfinite(flags_.lr))
    throw Error({.doing = "--lr", .found = fmt::format("{}", flags_.lr), .expected = "a finite number"});
  require_writable_folder(folder_);
  if (!flags_.pretrain) find_checkpoint(flags_.checkpoint);
  const int threads =
      flags_.threads > 0 ? flags_.threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  torch::set_num_threads(threads);
  paint_scenes(threads);
  before_ = pretrained_model();
  before_->freeze(at::kFloat);
  embeddings_ = scenes::class_embeddings(*before_);
  models::write_class_embeddings(folder_ / "class_embeddings.npy",
                                 {.rows = embeddings_, .names = scenes::class_names(), .model = "model"});
  write_text(folder_ / "model.json", models::config_json(before_->config()));
  write_text(folder_ / "tokenizer.json", scenes::tokenizer_json());
  write_text(folder_ / "prompts.txt", scenes::prompt_template_lines());
  save("clip", *before_);
  std::fflush(stdout);
}

double WorldSession::seconds() const {
  return since(start_);
}

void WorldSession::check_stop() const {
  if (stop_.signal() == 0) return;
  spdlog::warn("stopped; what was made so far lies in {}", folder_.string());
  throw ExitCode{128 + stop_.signal()};
}

void WorldSession::save(const std::string& name, models::ClipModel& model) const {
  save_world_model(folder_ / (name + ".safetensors"), model, {});
}

void WorldSession::paint_scenes(int threads) {
  fmt::print("The built-in world: {} things ({} shapes in {} colours, each in {} patterns) on {} surfaces, seed {}\n",
             scenes::kThings, scenes::kShapes, scenes::kColours, scenes::kPatterns, scenes::kStuff, flags_.seed);
  scenes::DatasetOptions options;
  options.seed = flags_.seed;
  options.train_images = flags_.steps * kWorldBatchSize;
  options.val_images = flags_.val_images;
  options.threads = threads;
  Progress progress("painting scenes", options.train_images + 2 * options.val_images);
  options.progress = [&](std::int64_t done, std::int64_t) {
    progress.update(done);
    check_stop();
  };
  data_ = scenes::write_dataset(folder_ / "data", options);
  progress.clear();
  fmt::print("scenes: {} to train on, {} + {} to measure on (known and held-out combinations), {}\n",
             options.train_images, flags_.val_images, flags_.val_images, format_duration(seconds()));
}

ModelPtr WorldSession::pretrained_model() const {
  torch::manual_seed(flags_.seed);
  ModelPtr model = new_world_model();
  if (!flags_.pretrain) {
    const fs::path path = find_checkpoint(flags_.checkpoint);
    models::load_checkpoint(*model, path);
    fmt::print("small CLIP: {} ('clipself quickstart --pretrain' remakes it)\n", path.string());
    return model;
  }
  fmt::print("small CLIP: {} contrastive steps of 128 captioned close-ups\n", flags_.pretrain_steps);
  std::fflush(stdout);
  const auto start = std::chrono::steady_clock::now();
  Progress progress("captions", flags_.pretrain_steps);
  scenes::initialize_small_model(*model, flags_.seed);
  scenes::PretrainOptions options;
  options.steps = flags_.pretrain_steps;
  options.seed = flags_.seed;
  options.on_step = [&](const training::StepReport& report) {
    progress.update(report.step + 1, fmt::format("loss {:.3f}", report.loss));
    if (report.step % 100 != 0) return;
    progress.clear();
    spdlog::info("step {}: loss {:.3f}, {}", report.step, report.loss, format_duration(since(start)));
  };
  options.should_stop = [&] { return stop_.signal() != 0; };
  scenes::pretrain(model, options);
  progress.clear();
  check_stop();
  const fs::path path = folder_ / "world_clip.safetensors";
  save_world_model(path, *model,
                   {{"steps", std::to_string(flags_.pretrain_steps)}, {"seed", std::to_string(flags_.seed)}});
  fmt::print("  saved as {} after {}\n", path.string(), format_duration(since(start)));
  return model;
}

Metrics WorldSession::evaluate_split(models::ClipModel& model, const scenes::SplitPaths& split,
                                     const std::string& label) const {
  datasets::PanopticOptions options;
  options.image_size = kWorldImageSize;
  options.crop_size = model.visual().image_size();
  options.downsample_factor = model.visual().patch_size();
  const datasets::PanopticDataset data(datasets::read_coco_panoptic(split.panoptic), split.images, split.panoptic_masks,
                                       options);
  Progress progress(label, data.size());
  evaluation::ZeroShotOptions zero_shot;
  zero_shot.progress = [&](std::int64_t done, std::int64_t) {
    progress.update(done);
    check_stop();
  };
  const auto result = evaluation::evaluate_zero_shot(model, data, embeddings_, zero_shot);
  progress.clear();
  return result.metrics;
}

Measured WorldSession::measure(models::ClipModel& model, const std::string& name) const {
  return {evaluate_split(model, data_.val, name + ", known combinations"),
          evaluate_split(model, data_.held_out, name + ", held-out combinations")};
}

Refined WorldSession::refine(const Refinement& refinement) const {
  const auto began = std::chrono::steady_clock::now();
  Refined refined{copy_of(*before_)};
  ModelPtr student = refined.model, frozen = copy_of(*before_);
  student->lock_image_tower(student->visual().depth());
  student->train();
  frozen->freeze(at::kFloat);

  const auto& method = distillation::find_method(refinement.method);
  datasets::DistillOptions options;
  options.regions = refinement.regions;
  options.crops_of_labelled = method.teacher.needs_crops;
  options.image_size = kWorldImageSize;
  options.crop_size = student->visual().image_size();
  options.max_split = kMaxSplit;
  options.seed = flags_.seed;
  const auto data = std::make_shared<datasets::DistillDataset>(datasets::read_coco(refinement.annotations),
                                                               data_.train.images, options);
  datasets::Loader loader(data, {.batch_size = kWorldBatchSize, .workers = 1, .prefetch = 2, .seed = flags_.seed});
  const auto objective = distillation::make_objective(
      method, student, {.frozen = frozen, .nouns = embeddings_, .retain_weight = refinement.retain_weight});
  training::AdamW optimizer(objective->parameters(), {});
  training::Trainer trainer(*objective, loader, optimizer, {.base_lr = flags_.lr, .warmup_steps = 10},
                            {.epochs = 1, .grad_clip_norm = std::nullopt, .seed = flags_.seed});
  Progress progress(refinement.name, trainer.total_steps());
  trainer.run({.on_step =
                   [&](const training::StepReport& report) {
                     if (report.step == 0) refined.first_loss = report.loss;
                     refined.last_loss = report.loss;
                     progress.update(report.step + 1, fmt::format("loss {:.3f}", report.loss));
                   },
               .should_stop = [&] { return stop_.signal() != 0; }});
  progress.clear();
  check_stop();
  refined.seconds = since(began);
  fmt::print("{}: {} steps of {} images, loss {:.3f} -> {:.3f}, {}\n", refinement.name, trainer.total_steps(),
             kWorldBatchSize, refined.first_loss, refined.last_loss, format_duration(refined.seconds));
  std::fflush(stdout);
  student->freeze(at::kFloat);
  return refined;
}

}  // namespace clipself::cli
