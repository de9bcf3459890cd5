// clipself detect train: the shell of `clipself train` around a detector.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/class_names.h"
#include "cli/commands.h"
#include "cli/detect.h"
#include "cli/run_shell.h"
#include "cli/together.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/formats/fingerprint.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;

struct DetectTrain {
  DetectorFlags detector;
  DetectionDataFlags data;
  ProcessFlags processes;
  RunFlags run{.batch_size = 8,
               .epochs = 3,
               .lr = 1e-4,
               .beta2 = 0.999,
               .eps = 1e-8,
               .warmup = 250,
               .grad_clip_norm = 1,
               .name = {},
               .resume = {}};
  std::string train_data, train_image_root, milestones;
  double warmup_ratio = 0.001, gamma = 0.1;
  int base_batch = 64;
  double min_ratio = 0.1, max_ratio = 2.0, flip = 0.5;

  void add_to(CLI::App& app);
};

void DetectTrain::add_to(CLI::App& app) {
  detector.add_to(app);
  app.add_option("--train-data", train_data, "Annotations to train on, COCO or LVIS JSON")->required();
  app.add_option("--train-image-root", train_image_root, "Folder of its images")->required();
  data.add_to(app);
  app.add_option("--min-ratio", min_ratio, "Pictures are scaled by at least this, then cropped to --image-size")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 100.0));
  app.add_option("--max-ratio", max_ratio, "And by at most this")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 100.0));
  app.add_option("--flip", flip, "Pictures mirrored: this part")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  processes.add_to(app);
  run.add_to(app, "--eval-frequency", "Test every so many epochs, and after the last (0: never)");
  app.add_option("--base-batch", base_batch,
                 "--lr is meant for steps of so many images and scaled to those here (0: as it is)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--warmup-ratio", warmup_ratio, "Warm-up begins at this part of the rate")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--milestones", milestones, "Epochs after which the rate falls, such as 32,44");
  app.add_option("--gamma", gamma, "It falls to this part")->capture_default_str()->check(CLI::Range(0.0, 1.0));
}

class DetectTrainRun {
 public:
  DetectTrainRun(DetectTrain flags, const CLI::App& command, std::shared_ptr<distributed::Processes> processes)
      : flags_(std::move(flags)),
        command_(command),
        processes_(std::move(processes)),
        shell_(flags_.run, "detect train", processes_) {
    flags_.train_data = under(flags_.detector.data_root, flags_.train_data);
    flags_.train_image_root = under(flags_.detector.data_root, flags_.train_image_root);
    if (flags_.detector.model.pretrained.empty())
      throw Error({.doing = "--pretrained",
                   .found = "no weights",
                   .expected = "the CLIP to build on, refined or not, or 'none' for a random one"});
    require_file(flags_.train_data, "--train-data");
    require_folder(flags_.train_image_root, "--train-image-root");
    require_finite({{"--warmup-ratio", flags_.warmup_ratio},
                    {"--gamma", flags_.gamma},
                    {"--min-ratio", flags_.min_ratio},
                    {"--max-ratio", flags_.max_ratio},
                    {"--flip", flags_.flip}});
    if (flags_.min_ratio > flags_.max_ratio)
      throw Error({.doing = "--min-ratio",
                   .where = fmt::format("{}", flags_.min_ratio),
                   .found = "more than --max-ratio",
                   .expected = "less"});
    if (!flags_.data.validation.empty())
      tester_ = std::make_unique<DetectionTester>(flags_.data, flags_.detector.data_root, flags_.detector.config.masks);
    open_data();
    build();
    shell_.open(job(), settings_of(command),
                fmt::format("detector_{}-b_{}", fs::path(flags_.detector.model.model).stem().string(),
                            flags_.run.images_a_step()));
  }

  void run() {
    std::int64_t trained = 0, all = 0;
    for (const auto& [name, parameter] : objective_->parameters()) trained += parameter.numel();
    for (const auto& parameter : loaded_.detector->parameters()) all += parameter.numel();
    spdlog::info("settings\n{}", settings_table(settings_of(command_)));
    spdlog::info("{} as frozen backbone: {:.1f} M parameters, {:.1f} M trained; {}, {} of them novel",
                 loaded_.clip.name, static_cast<double>(all) / 1e6, static_cast<double>(trained) / 1e6,
                 counted(std::ssize(loaded_.names()), "class", "classes"), loaded_.names(false).size());
    const int batch = flags_.run.images_a_step();
    spdlog::info(
        "{}, {} an epoch of {}, {} in all, learning rate {:g}{}", counted(dataset_->size(), "image"),
        counted(trainer_->steps_per_epoch(), "step"), counted(batch, "image"), counted(trainer_->total_steps(), "step"),
        lr(), lr() != flags_.run.lr ? fmt::format(" ({:g} x {} / {})", flags_.run.lr, batch, flags_.base_batch) : "");
    shell_.run();
  }

 private:
  double lr() const {
    if (flags_.base_batch == 0) return flags_.run.lr;
    return training::scaled_lr(flags_.run.lr, flags_.run.images_a_step(), flags_.base_batch);
  }

  void open_data() {
    spdlog::info("indexing {}", flags_.train_data);
    auto index = datasets::read_coco(flags_.train_data, {.segmentations = flags_.detector.config.masks});
    if (index.annotation_count() == 0)
      throw Error({.doing = "--train-data",
                   .where = flags_.train_data,
                   .found = "no annotations",
                   .expected = "boxes of the base classes"});
    if (!flags_.detector.classes.empty()) names_ = parse_names(flags_.detector.classes, "--class-names");
    const datasets::DetectionOptions options{.image_size = flags_.detector.image_size,
                                             .min_ratio = flags_.min_ratio,
                                             .max_ratio = flags_.max_ratio,
                                             .flip_probability = flags_.flip,
                                             .masks = flags_.detector.config.masks,
                                             .class_names = names_};
    for (const auto& name : names_)
      if (std::ranges::find(index.categories, name, &datasets::Category::name) == index.categories.end())
        throw Error({.doing = "--class-names",
                     .where = flags_.train_data,
                     .found = "no category '" + name + "'",
                     .expected = "every class among its categories"});
    if (!index.images.empty()) {  // the folder is the right one, before a run is begun in it
      const auto first = datasets::resolve_below(flags_.train_image_root, index.images.front().file_name);
      require_file(first.string(), "--train-image-root");
    }
    dataset_ = std::make_shared<datasets::DetectionDataset>(std::move(index), flags_.train_image_root, options);
    // Labels follow the file's order, and so must the names.
    names_.clear();
    for (const auto& category : dataset_->classes().categories()) names_.push_back(category.name);
    find_base();
    loader_ = std::make_unique<datasets::Loader>(dataset_,
                                                 datasets::LoaderOptions{.batch_size = flags_.run.batch_size,
                                                                         .workers = flags_.data.workers,
                                                                         .seed = flags_.detector.model.seed,
                                                                         .rank = processes_->rank(),
                                                                         .world_size = processes_->size(),
                                                                         .batches_a_step = flags_.run.accum_freq,
                                                                         .max_unreadable = flags_.run.max_unreadable});
  }

  void find_base() {
    std::set<std::int64_t> seen;
    const auto& index = dataset_->index();
    for (std::size_t i = 0; i < index.images.size(); ++i)
      for (const auto& annotation : index.annotations_of(i))
        if (const auto label = dataset_->classes().label(annotation.category_id); label && !annotation.is_crowd)
          seen.insert(*label);
    if (!flags_.detector.base.empty()) base_ = parse_names(flags_.detector.base, "--base-classes");
    for (const auto label : seen) {
      const auto& name = names_[static_cast<std::size_t>(label)];
      if (flags_.detector.base.empty())
        base_.push_back(name);
      else if (std::ranges::find(base_, name) == base_.end())
        throw Error({.doing = "--base-classes",
                     .where = flags_.train_data,
                     .found = "boxes of '" + name + "', which is none of them",
                     .expected = "training data of base classes alone",
                     .hint = "'clipself prepare' leaves the novel classes' annotations out"});
    }
    if (base_.empty())
      throw Error({.doing = "--train-data",
                   .where = flags_.train_data,
                   .found = "no box of any class",
                   .expected = "boxes of the base classes"});
  }

  void build() {
    loaded_ = flags_.detector.make(names_, base_);
    objective_ = std::make_unique<detection::DetectionObjective>(loaded_.detector, loaded_.pixels);
    auto options = flags_.run.optimizer_options();
    options.decay_all = true;
    optimizer_ = std::make_unique<training::AdamW>(objective_->parameters(), options);
    training::Schedule schedule{.kind = training::ScheduleKind::kSteps,
                                .base_lr = lr(),
                                .warmup_steps = flags_.run.warmup,
                                .gamma = flags_.gamma,
                                .warmup_ratio = flags_.warmup_ratio};
    const std::int64_t steps = loader_->batches_per_epoch() / flags_.run.accum_freq;
    for (const auto epoch : parse_numbers(flags_.milestones, "--milestones"))
      schedule.milestones.push_back(epoch * steps);
    loaded_.detector->train(true);
    loaded_.detector->synchronize_norms(processes_);
    trainer_ = std::make_unique<training::Trainer>(*objective_, *loader_, *optimizer_, schedule,
                                                   flags_.run.trainer_options(flags_.detector.model.seed, processes_));
  }

  Job job() {
    Job job;
    job.trainer = trainer_.get();
    job.optimizer = optimizer_.get();
    job.loader = loader_.get();
    const auto state = loaded_.detector->state();
    for (const auto& item : state)  // with running statistics, without the frozen tower
      if (!item.key().starts_with("backbone.visual.")) job.parameters.emplace_back(item.key(), item.value());
    job.start_fingerprint = formats::fingerprint(state);
    job.data_fingerprint = dataset_->fingerprint();
    job.weights = [this] { return loaded_.detector->state(); };
    job.save_beside = [this](const fs::path& folder) { flags_.detector.save_beside(folder, command_, loaded_); };
    if (tester_)
      job.evaluate = [this](std::int64_t epochs_done, const std::function<bool()>& interrupted) {
        return evaluate(epochs_done, interrupted);
      };
    job.evaluation = "detection";
    job.evaluate_at_start = false;
    return job;
  }

  std::map<std::string, double> evaluate(std::int64_t epochs_done, const std::function<bool()>& interrupted) {
    loaded_.detector->train(false);
    struct Training {
      detection::Detector& detector;
      ~Training() { detector.train(true); }
    } const back{*loaded_.detector};
    const auto found = tester_->detect(loaded_, interrupted, *processes_);
    DetectionTester::Report report;
    processes_->agree([&] {
      if (!processes_->first()) return;
      if (found.list.empty()) {
        spdlog::warn("nothing was found in the test images after {}", counted(epochs_done, "epoch"));
        return;
      }
      report = tester_->measure(loaded_, found, /*per_class=*/false);
      spdlog::info("detection after {}\n{}", counted(epochs_done, "epoch"), report.table);
    });
    return report.metrics;
  }

  DetectTrain flags_;
  const CLI::App& command_;
  std::shared_ptr<distributed::Processes> processes_;
  RunShell shell_;
  std::unique_ptr<DetectionTester> tester_;
  std::vector<std::string> names_, base_;
  std::shared_ptr<datasets::DetectionDataset> dataset_;
  std::unique_ptr<datasets::Loader> loader_;
  LoadedDetector loaded_;
  std::unique_ptr<detection::DetectionObjective> objective_;
  std::unique_ptr<training::AdamW> optimizer_;
  std::unique_ptr<training::Trainer> trainer_;
};

}  // namespace

void add_detect_train(CLI::App& detect) {
  auto* sub = detect.add_subcommand("train", "Train the pyramid and heads on boxes of base classes");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto flags = std::make_shared<DetectTrain>();
  sub->add_option("--config", "TOML file of these settings; flags override it");
  flags->add_to(*sub);
  sub->callback([flags, sub] {
    if (flags->processes.launches()) flags->run.check(flags->processes.processes);  // one message, not one of each
    run_together(flags->processes, [&](const auto& processes) { DetectTrainRun(*flags, *sub, processes).run(); });
  });
}

}  // namespace clipself::cli
