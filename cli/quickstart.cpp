// clipself quickstart: the whole method on a world that needs no download. A small CLIP, its dense map measured,
// refined twice (image patches, region proposals) by the code of `clipself train` and measured again by that of
// `clipself eval`.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/commands.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/base/signals.h"
#include "clipself/base/torch.h"
#include "clipself/datasets/panoptic.h"
#include "clipself/distillation/clipself.h"
#include "clipself/evaluation/zero_shot.h"
#include "clipself/formats/safetensors.h"
#include "clipself/models/text_embeddings.h"
#include "clipself/models/weights.h"
#include "clipself/scenes/captions.h"
#include "clipself/scenes/coco_writer.h"
#include "clipself/scenes/contrastive.h"
#include "clipself/scenes/picture.h"
#include "clipself/training/trainer.h"

namespace clipself::cli {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using ModelPtr = std::shared_ptr<models::ClipModel>;

constexpr int kImageSize = 112;  // longer side of what the student sees: 14 x 14 patches
constexpr int kBatchSize = 8;
constexpr int kMaxSplit = 3;           // a cell of a finer grid would be smaller than the things of this world
constexpr double kPictureScale = 2.1;  // pixels a unit in the picture

struct QuickstartFlags {
  std::string out = "quickstart";
  std::uint64_t seed = 1;
  int steps = 600;
  int val_images = 150;
  double lr = 1e-3;
  int threads = 0;
  bool pretrain = false;
  int pretrain_steps = 1500;
  std::string checkpoint;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// What a run has along its way.
struct Session {
  const QuickstartFlags& flags;
  const StopRequest& stop;
  fs::path folder;
  scenes::DatasetPaths data;
  at::Tensor embeddings;

  void check_stop() const {
    if (stop.signal() == 0) return;
    spdlog::warn("stopped; what was made so far lies in {}", folder.string());
    throw ExitCode{128 + stop.signal()};
  }
};

/// One model's figures on one set of scenes.
using Metrics = std::map<std::string, double>;
struct Measured {
  Metrics known, held_out;
};

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

ModelPtr new_model() {
  return std::make_shared<models::ClipModel>(scenes::world_model_config());
}

ModelPtr copy_of(models::ClipModel& model) {
  ModelPtr copy = new_model();
  models::load_weights(*copy, model.state(), "the small CLIP");
  return copy;
}

void save_model(const fs::path& path, models::ClipModel& model, std::map<std::string, std::string> metadata) {
  metadata["model"] = "world";
  formats::write_safetensors(path, model.state(), metadata);
}

ModelPtr pretrained_model(Session& session) {
  const QuickstartFlags& flags = session.flags;
  torch::manual_seed(flags.seed);
  ModelPtr model = new_model();
  if (!flags.pretrain) {
    const fs::path path = find_checkpoint(flags.checkpoint);
    models::load_checkpoint(*model, path);
    fmt::print("small CLIP: {} ('clipself quickstart --pretrain' remakes it)\n", path.string());
    return model;
  }
  fmt::print("small CLIP: {} contrastive steps of 128 captioned close-ups\n", flags.pretrain_steps);
  std::fflush(stdout);
  const auto start = Clock::now();
  Progress progress("captions", flags.pretrain_steps);
  scenes::initialize_small_model(*model, flags.seed);
  scenes::PretrainOptions options;
  options.steps = flags.pretrain_steps;
  options.seed = flags.seed;
  options.on_step = [&](const training::StepReport& report) {
    progress.update(report.step + 1, fmt::format("loss {:.3f}", report.loss));
    if (report.step % 100 != 0) return;
    progress.clear();
    spdlog::info("step {}: loss {:.3f}, {}", report.step, report.loss, format_duration(seconds_since(start)));
  };
  options.should_stop = [&] { return session.stop.signal() != 0; };
  scenes::pretrain(model, options);
  progress.clear();
  session.check_stop();
  const fs::path path = session.folder / "world_clip.safetensors";
  save_model(path, *model, {{"steps", std::to_string(flags.pretrain_steps)}, {"seed", std::to_string(flags.seed)}});
  fmt::print("  saved as {} after {}\n", path.string(), format_duration(seconds_since(start)));
  return model;
}

Metrics evaluate_split(const Session& session, models::ClipModel& model, const scenes::SplitPaths& split,
                       const std::string& label) {
  datasets::PanopticOptions options;
  options.image_size = kImageSize;
  options.crop_size = model.visual().image_size();
  options.downsample_factor = model.visual().patch_size();
  const datasets::PanopticDataset data(datasets::read_coco_panoptic(split.panoptic), split.images, split.panoptic_masks,
                                       options);
  Progress progress(label, data.size());
  evaluation::ZeroShotOptions zero_shot;
  zero_shot.progress = [&](std::int64_t done, std::int64_t) {
    progress.update(done);
    session.check_stop();
  };
  const auto result = evaluation::evaluate_zero_shot(model, data, session.embeddings, zero_shot);
  progress.clear();
  return result.metrics;
}

Measured measure(const Session& session, models::ClipModel& model, const std::string& name) {
  return {evaluate_split(session, model, session.data.val, name + ", known combinations"),
          evaluate_split(session, model, session.data.held_out, name + ", held-out combinations")};
}

/// Refines a copy of `start`, as `clipself train` would.
ModelPtr refine(const Session& session, models::ClipModel& start, datasets::RegionKind regions,
                const std::string& name) {
  const QuickstartFlags& flags = session.flags;
  const auto began = Clock::now();
  ModelPtr student = copy_of(start), teacher = copy_of(start);
  student->lock_image_tower(student->visual().depth());
  student->train();
  teacher->freeze(at::kFloat);

  const bool patches = regions == datasets::RegionKind::kGrid;
  datasets::DistillOptions options;
  options.regions = regions;
  options.image_size = kImageSize;
  options.crop_size = student->visual().image_size();
  options.max_split = kMaxSplit;
  options.seed = flags.seed;
  const auto data = std::make_shared<datasets::DistillDataset>(
      datasets::read_coco(patches ? session.data.train.instances : session.data.train.proposals),
      session.data.train.images, options);
  datasets::Loader loader(data, {.batch_size = kBatchSize, .workers = 1, .prefetch = 2, .seed = flags.seed});
  distillation::ClipSelf objective(student, teacher, {});
  training::AdamW optimizer(objective.parameters(), {});
  training::Trainer trainer(objective, loader, optimizer, {.base_lr = flags.lr, .warmup_steps = 10},
                            {.epochs = 1, .grad_clip_norm = std::nullopt, .seed = flags.seed});
  Progress progress(name, trainer.total_steps());
  double first = 0, last = 0;
  trainer.run({.on_step =
                   [&](const training::StepReport& report) {
                     if (report.step == 0) first = report.loss;
                     last = report.loss;
                     progress.update(report.step + 1, fmt::format("loss {:.3f}", report.loss));
                   },
               .should_stop = [&] { return session.stop.signal() != 0; }});
  progress.clear();
  session.check_stop();
  fmt::print("{}: {} steps of {} images, loss {:.3f} -> {:.3f}, {}\n", name, trainer.total_steps(), kBatchSize, first,
             last, format_duration(seconds_since(began)));
  std::fflush(stdout);
  student->freeze(at::kFloat);
  return student;
}

struct Row {
  std::string name;
  Measured figures;
};

double figure(const Metrics& metrics, const std::string& key) {
  const auto found = metrics.find(key);
  return found == metrics.end() ? 0.0 : 100.0 * found->second;
}

void print_table(const std::string& title, const std::vector<Row>& rows, bool held_out) {
  struct Column {
    const char* title;
    const char* key;
  };
  constexpr Column kColumns[] = {{"thing boxes", "rois.thing"},     {"thing masks", "maskpool.thing"},
                                 {"thing crops", "crops.thing"},    {"stuff boxes", "rois.stuff"},
                                 {"stuff masks", "maskpool.stuff"}, {"stuff crops", "crops.stuff"}};
  fmt::print("\n{}\n{:<26}", title, "top-1 / top-5, %");
  for (const Column& column : kColumns) fmt::print("{:>15}", column.title);
  fmt::print("\n");
  for (const Row& row : rows) {
    const Metrics& metrics = held_out ? row.figures.held_out : row.figures.known;
    fmt::print("{:<26}", row.name);
    for (const Column& column : kColumns)
      fmt::print("{:>15}", fmt::format("{:.1f} / {:.1f}", figure(metrics, std::string(column.key) + ".macc1"),
                                       figure(metrics, std::string(column.key) + ".macc5")));
    fmt::print("\n");
  }
}

void print_summary(const std::vector<Row>& rows) {
  const auto line = [&](const char* set, const Metrics& before, const Metrics& patches, const Metrics& proposals) {
    const double crops = figure(before, "crops.thing.macc1");
    const auto reached = [&](const Metrics& metrics) {
      const double boxes = figure(metrics, "rois.thing.macc1");
      return fmt::format("{:5.1f} % ({:3.0f} % of the crops')", boxes, crops > 0 ? 100 * boxes / crops : 0.0);
    };
    fmt::print("{:<22} crops {:5.1f} %, dense boxes {} before, {} after patches, {} after proposals\n", set, crops,
               reached(before), reached(patches), reached(proposals));
  };
  fmt::print("\nThings, top-1:\n");
  line("known combinations", rows[0].figures.known, rows[1].figures.known, rows[2].figures.known);
  line("held-out combinations", rows[0].figures.held_out, rows[1].figures.held_out, rows[2].figures.held_out);
}

void write_results(const fs::path& path, const std::vector<Row>& rows, double seconds) {
  nlohmann::ordered_json document;
  document["seconds"] = seconds;
  for (const Row& row : rows) document[row.name] = {{"known", row.figures.known}, {"held_out", row.figures.held_out}};
  write_text(path, document.dump(2) + "\n");
}

/// The scene of a split with the most things among its first few: a picture should have something to look at.
int liveliest(std::uint64_t seed, scenes::Split split, int images) {
  int best = 0;
  std::size_t most = 0;
  for (int i = 0; i < std::min(images, 12); ++i) {
    const scenes::Scene scene = scenes::dataset_scene(seed, split, i);
    const std::size_t count = scene.things.size() + 2 * scene.surfaces.size();
    if (scene.width > scene.height && count > most) {
      most = count;
      best = i;
    }
  }
  return best;
}

fs::path write_picture(const Session& session, const std::vector<ModelPtr>& models, const std::vector<Row>& rows) {
  std::vector<scenes::PictureRow> pictures;
  for (const bool held_out : {false, true}) {
    const auto split = held_out ? scenes::Split::kHeldOut : scenes::Split::kVal;
    const scenes::Scene scene = scenes::dataset_scene(session.flags.seed, split,
                                                      liveliest(session.flags.seed, split, session.flags.val_images));
    const scenes::Rendering photo = scenes::render(scene, 1.0), large = scenes::render(scene, kPictureScale);
    auto things = scenes::segments_of(scene, photo);
    std::erase_if(things, [](const scenes::Segment& segment) { return !scenes::is_thing_class(segment.label); });
    scenes::PictureRow picture;
    picture.title = held_out ? "a scene of combinations of colour, shape and pattern that no training image shows"
                             : "a scene that was not trained on";
    picture.scene = large.image;
    picture.maps.push_back(scenes::true_classes(scene, large));
    picture.notes.emplace_back();
    for (const ModelPtr& model : models) {
      picture.maps.push_back(scenes::dense_classes(*model, photo.image, kImageSize, session.embeddings,
                                                   large.image.width, large.image.height));
      picture.notes.push_back(fmt::format(
          "{} of {} things named right by their boxes",
          scenes::boxes_named_right(*model, photo.image, kImageSize, session.embeddings, things), things.size()));
    }
    pictures.push_back(std::move(picture));
  }
  const auto box = [&](std::size_t row) { return figure(rows[row].figures.known, "rois.thing.macc1"); };
  const std::string subtitle = fmt::format(
      "Each pixel shows which of {} classes its dense feature is nearest to. Boxes of things named right: {:.1f} % "
      "before, "
      "{:.1f} % after image patches, {:.1f} % after region proposals; crops, the teacher: {:.1f} %.",
      scenes::kClasses, box(0), box(1), box(2), figure(rows[0].figures.known, "crops.thing.macc1"));
  const fs::path path = session.folder / "dense_maps.png";
  formats::write_png(
      path,
      scenes::compose_picture("CLIPSelf in the built-in world", subtitle,
                              {"scene", "ground truth", "CLIP before", "image patches", "region proposals"}, pictures));
  return path;
}

void print_next_steps(const Session& session) {
  const std::string folder = session.folder.string();
  fmt::print(R"(
Files: {0}/data (COCO formats), {0}/*.safetensors (models), {0}/results.json
Try the other commands on them, for example
  clipself info {0}/patches.safetensors
  clipself eval --model {0}/model.json --pretrained {0}/proposals.safetensors --precision fp32 --det-image-size {1} \
    --val-data {2} --val-image-root {3} --embed-path {0}/class_embeddings.npy
  clipself embed-text --model {0}/model.json --pretrained {0}/clip.safetensors --names {2} \
    --templates {0}/prompts.txt --out {0}/embedded.npy
  clipself train --model {0}/model.json --pretrained {0}/clip.safetensors --precision fp32 --det-image-size {1} \
    --dataset-type proposals_distill --train-data {4} --train-image-root {5} \
    --lock-image-unlocked-groups 4 --batch-size {6} --lr 1e-3 --warmup 10 --epochs 1 --alpha 1 --logs {0}/logs
)",
             folder, kImageSize, session.data.val.panoptic.string(), session.data.val.images.string(),
             session.data.train.proposals.string(), session.data.train.images.string(), kBatchSize);
}

void quickstart(const QuickstartFlags& flags) {
  const auto start = Clock::now();
  const StopRequest stop;
  Session session{flags, stop, flags.out, {}, {}};
  if (!std::isfinite(flags.lr))
    throw Error({.doing = "--lr", .found = fmt::format("{}", flags.lr), .expected = "a finite number"});
  require_writable_folder(session.folder);
  if (!flags.pretrain) find_checkpoint(flags.checkpoint);  // before minutes of work
  const int threads =
      flags.threads > 0 ? flags.threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  torch::set_num_threads(threads);

  fmt::print("The built-in world: {} things ({} shapes in {} colours, each in {} patterns) on {} surfaces, seed {}\n",
             scenes::kThings, scenes::kShapes, scenes::kColours, scenes::kPatterns, scenes::kStuff, flags.seed);
  {
    scenes::DatasetOptions options;
    options.seed = flags.seed;
    options.train_images = flags.steps * kBatchSize;
    options.val_images = flags.val_images;
    options.threads = threads;
    Progress progress("painting scenes", options.train_images + 2 * options.val_images);
    options.progress = [&](std::int64_t done, std::int64_t) {
      progress.update(done);
      session.check_stop();
    };
    session.data = scenes::write_dataset(session.folder / "data", options);
  }
  fmt::print("scenes: {} to train on, {} + {} to measure on (known and held-out combinations), {}\n",
             flags.steps * kBatchSize, flags.val_images, flags.val_images, format_duration(seconds_since(start)));

  const ModelPtr before = pretrained_model(session);
  before->freeze(at::kFloat);
  session.embeddings = scenes::class_embeddings(*before);
  models::write_class_embeddings(session.folder / "class_embeddings.npy",
                                 {.rows = session.embeddings, .names = scenes::class_names(), .model = "model"});
  write_text(session.folder / "model.json", models::config_json(before->config()));
  write_text(session.folder / "tokenizer.json", scenes::tokenizer_json());
  write_text(session.folder / "prompts.txt", scenes::prompt_template_lines());
  save_model(session.folder / "clip.safetensors", *before, {});
  std::fflush(stdout);

  std::vector<Row> rows{{"CLIP before", measure(session, *before, "before")}};
  fmt::print("before: boxes of things {:.1f} %, their crops {:.1f} %\n",
             figure(rows[0].figures.known, "rois.thing.macc1"), figure(rows[0].figures.known, "crops.thing.macc1"));
  std::fflush(stdout);
  const ModelPtr patches = refine(session, *before, datasets::RegionKind::kGrid, "CLIPSelf, image patches");
  save_model(session.folder / "patches.safetensors", *patches, {});
  rows.push_back({"after image patches", measure(session, *patches, "image patches")});
  const ModelPtr proposals = refine(session, *before, datasets::RegionKind::kProposals, "CLIPSelf, region proposals");
  save_model(session.folder / "proposals.safetensors", *proposals, {});
  rows.push_back({"after region proposals", measure(session, *proposals, "region proposals")});

  print_table(fmt::format("{} new scenes of known combinations", flags.val_images), rows, false);
  print_table(fmt::format("{} scenes of held-out combinations", flags.val_images), rows, true);
  print_summary(rows);
  const fs::path picture = write_picture(session, {before, patches, proposals}, rows);
  const double seconds = seconds_since(start);
  write_results(session.folder / "results.json", rows, seconds);
  print_next_steps(session);
  fmt::print("\nPicture: {}\nDone in {}.\n", picture.string(), format_duration(seconds));
}

}  // namespace

void add_quickstart(CLI::App& app) {
  auto flags = std::make_shared<QuickstartFlags>();
  CLI::App* command = app.add_subcommand(
      "quickstart", "Watch a small CLIP learn where things are: built-in scenes, no download, a few minutes");
  command->add_option("--out", flags->out, "Folder for the scenes, models, figures and the picture")
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Seed of the scenes and of training")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--steps", flags->steps, "Steps of each refinement, 8 scenes each")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--val-images", flags->val_images, "Scenes to measure on, in each of the two sets")
      ->check(CLI::Range(1, 90000))
      ->capture_default_str();
  command->add_option("--lr", flags->lr, "Learning rate of the refinements")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "Processor threads (0: all)")->check(CLI::Range(0, 1024));
  command->add_option("--checkpoint", flags->checkpoint,
                      "Small CLIP to start from (default: the one in the repository)");
  command->add_flag(
      "--pretrain", flags->pretrain,
      "Train the small CLIP from scratch first (long); with the default seed and steps this remakes the one in "
      "the repository, data/world_clip.safetensors");
  command->add_option("--pretrain-steps", flags->pretrain_steps, "Contrastive steps of --pretrain")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->callback([flags] { quickstart(*flags); });
}

}  // namespace clipself::cli
