// `quickstart --detector`: a small F-ViT on the built-in world, on the unrefined and on the refined tower. A quarter of
// the classes are novel: no box of theirs is ever trained on.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/detect.h"
#include "cli/pictures.h"
#include "cli/quickstart.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/coco_filter.h"
#include "clipself/formats/safetensors.h"
#include "clipself/models/text_embeddings.h"
#include "clipself/scenes/world.h"
#include "clipself/training/trainer.h"
#include "clipself/visualization/detections.h"
#include "clipself/visualization/sheet.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;

/// Every colour and every shape is seen in training, a quarter of their combinations is not.
bool is_novel(int label) {
  return (label % scenes::kColours + label / scenes::kColours) % 4 == 0;
}

struct DetectorData {
  fs::path annotations;  ///< of base classes alone
  fs::path embeddings;
  std::vector<std::string> names, base;
};

DetectorData prepare_data(const WorldSession& session) {
  DetectorData data;
  const auto& all = scenes::class_names();
  for (int label = 0; label < scenes::kThings; ++label) {
    data.names.push_back(all[static_cast<std::size_t>(label)]);
    if (!is_novel(label)) data.base.push_back(data.names.back());
  }
  const std::set<std::string> things(data.names.begin(), data.names.end()), base(data.base.begin(), data.base.end());
  data.annotations = session.data().train.instances.parent_path() / "instances_train2017_base.json";
  AtomicFile file(data.annotations);
  datasets::filter_coco(session.data().train.instances, file,
                        {.keep_category = [&](const auto& category) { return things.contains(category.name); },
                         .keep_annotations = [&](const auto& category) { return base.contains(category.name); },
                         .required = data.names});
  file.commit();
  // Behind the things is stuff: its mean stands for the background, a word that this world does not have.
  const auto rows = session.embeddings().to(at::kFloat);
  models::ClassEmbeddings embeddings{
      .rows = at::cat({rows.slice(0, 0, scenes::kThings), rows.slice(0, scenes::kThings).mean(0, true)}),
      .names = data.names,
      .model = "model"};
  embeddings.names.emplace_back("background");
  data.embeddings = session.folder() / "detector_embeddings.pt";
  models::write_class_embeddings(data.embeddings, embeddings);
  return data;
}

struct TrainedDetector {
  LoadedDetector loaded;
  DetectionTester::Report report;
  fs::path file;
};

/// The arguments of `clipself detect train` that describe the small detector.
std::vector<std::string> detector_arguments(const WorldSession& session, const std::string& weights,
                                            const DetectorData& data) {
  return {"--model",         (session.folder() / "model.json").string(),
          "--pretrained",    (session.folder() / (weights + ".safetensors")).string(),
          "--embed-path",    data.embeddings.string(),
          "--precision",     "fp32",
          "--image-size",    std::to_string(kWorldImageSize),
          "--taps",          "0,1,2,3",
          "--pixel-stats",   "model",
          "--head-channels", "48",
          "--proposals",     "100",
          "--roi-samples",   "96",
          "--seed",          std::to_string(session.flags().seed)};
}

TrainedDetector train_detector(const WorldSession& session, const std::string& name, const std::string& weights,
                               const DetectorData& data, const DetectionTester& tester) {
  constexpr double kLearningRate = 1e-3;
  CLI::App command;
  DetectorFlags flags;
  flags.add_to(command);
  auto arguments = detector_arguments(session, weights, data);
  std::reverse(arguments.begin(), arguments.end());
  command.parse(arguments);
  TrainedDetector trained;
  trained.loaded = flags.make(data.names, data.base);
  auto& detector = *trained.loaded.detector;

  const auto dataset = std::make_shared<datasets::DetectionDataset>(
      datasets::read_coco(data.annotations), session.data().train.images,
      datasets::DetectionOptions{
          .image_size = kWorldImageSize, .min_ratio = 0.8, .max_ratio = 1.25, .class_names = data.names});
  datasets::Loader loader(dataset, {.batch_size = kWorldBatchSize, .workers = 1, .seed = session.flags().seed});
  detection::DetectionObjective objective(trained.loaded.detector, trained.loaded.pixels);
  training::AdamW optimizer(objective.parameters(), {.beta2 = 0.999, .eps = 1e-8, .decay_all = true});
  training::Trainer trainer(objective, loader, optimizer, {.base_lr = kLearningRate, .warmup_steps = 20},
                            {.epochs = 1, .grad_clip_norm = 1.0, .seed = session.flags().seed});
  const auto start = std::chrono::steady_clock::now();
  double first = 0, last = 0;
  detector.train(true);
  {
    Progress bar("detector on the " + name, trainer.total_steps());
    trainer.run({.on_step = [&](const training::StepReport& report) {
      if (report.step == 0) first = report.loss;
      last = report.loss;
      bar.update(report.step + 1, fmt::format("loss {:.3f}", report.loss));
      session.check_stop();
    }});
  }
  detector.train(false);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  fmt::print("detector on the {}: {} of {} scenes, loss {:.3f} -> {:.3f}, {}\n", name,
             counted(trainer.total_steps(), "step"), kWorldBatchSize, first, last, format_duration(seconds.count()));
  std::fflush(stdout);

  const fs::path folder = session.folder() / ("detector_" + weights);
  require_writable_folder(folder);
  trained.file = folder / "detector.safetensors";
  formats::write_safetensors(trained.file, detector.state());
  flags.save_beside(folder, command, trained.loaded);
  const auto found = tester.detect(trained.loaded, [&] {
    session.check_stop();
    return false;
  });
  trained.report = tester.measure(trained.loaded, found, /*per_class=*/false);
  return trained;
}

double ap50(const TrainedDetector& trained, const std::string& part) {
  const auto found = trained.report.metrics.find("bbox.AP50." + part);
  return found == trained.report.metrics.end() ? 0.0 : 100 * found->second;
}

fs::path write_detector_picture(const WorldSession& session, const TrainedDetector& before,
                                const TrainedDetector& after, const DetectionTester& tester) {
  namespace vis = visualization;
  const auto& truth = tester.truth();
  // Scenes with novel things in them.
  std::vector<std::size_t> chosen;
  const auto novel = before.loaded.names(false);
  for (std::size_t i = 0; i < truth.images.size() && chosen.size() < 4; ++i) {
    const auto annotations = truth.annotations_of(i);
    const auto count = std::ranges::count_if(annotations, [&](const auto& annotation) {
      return std::ranges::find(novel, truth.find_category(annotation.category_id)->name) != novel.end();
    });
    if (annotations.size() >= 3 && count >= 1) chosen.push_back(i);
  }
  vis::Sheet sheet;
  sheet.title = "An open-vocabulary detector in the built-in world";
  sheet.subtitle = fmt::format(
      "AP50 of classes never trained on: {:.1f} on the unrefined tower, {:.1f} on the refined one (novel classes end "
      "in *)",
      ap50(before, "novel"), ap50(after, "novel"));
  sheet.columns = 3;
  std::vector<std::string> labels;
  for (const auto& name : before.loaded.names())
    labels.push_back(std::ranges::find(novel, name) != novel.end() ? name + "*" : name);
  for (const auto i : chosen) {
    const auto picture = read_rgb(session.data().val.images / truth.images[i].file_name);
    const auto large = enlarged_to_see(picture);
    const int factor = large.width / picture.width;
    std::vector<float> boxes;
    std::vector<std::int64_t> things;
    for (const auto& annotation : truth.annotations_of(i)) {
      const auto& box = annotation.bbox;
      for (const double edge : {box[0], box[1], box[0] + box[2], box[1] + box[3]})
        boxes.push_back(static_cast<float>(edge * factor));
      const auto& own = before.loaded.names();
      things.push_back(std::ranges::find(own, truth.find_category(annotation.category_id)->name) - own.begin());
    }
    const auto count = std::ssize(things);
    sheet.panels.push_back({"what is there", vis::draw_detections(large, {.boxes = at::tensor(boxes).view({count, 4}),
                                                                          .scores = {},
                                                                          .labels = at::tensor(things),
                                                                          .masks = {},
                                                                          .names = labels})});
    for (const auto* trained : {&before, &after}) {
      const auto found = detection::detect_images(
          *trained->loaded.detector, {datasets::detection_image(picture, kWorldImageSize)}, trained->loaded.pixels)[0];
      // As many as there are things, so that the pictures compare.
      const std::int64_t shown = std::min<std::int64_t>(count, found.scores.size(0));
      sheet.panels.push_back({trained == &before ? "unrefined" : "refined",
                              vis::draw_detections(large, {.boxes = found.boxes.narrow(0, 0, shown) * factor,
                                                           .scores = found.scores.narrow(0, 0, shown),
                                                           .labels = found.labels.narrow(0, 0, shown),
                                                           .masks = {},
                                                           .names = labels})});
    }
  }
  const fs::path path = session.folder() / "detections.png";
  formats::write_png(path, vis::compose(sheet));
  return path;
}

}  // namespace

void detector_story(const WorldSession& session) {
  const auto data = prepare_data(session);
  fmt::print("{} classes of things, {} base and {} novel: no box of a novel class is trained on\n", data.names.size(),
             data.base.size(), data.names.size() - data.base.size());
  std::fflush(stdout);
  const auto refined = session.refine({.name = "CLIPSelf, region proposals",
                                       .regions = datasets::RegionKind::kProposals,
                                       .annotations = session.data().train.proposals});
  session.save("proposals", *refined.model);
  const DetectionTester tester({.validation = session.data().val.instances.string(),
                                .validation_root = session.data().val.images.string(),
                                .batch_size = kWorldBatchSize},
                               /*data_root=*/"", /*masks=*/false);
  const auto before = train_detector(session, "unrefined tower", "clip", data, tester);
  const auto after = train_detector(session, "refined tower", "proposals", data, tester);

  fmt::print("\nAP50 on {} new scenes, %\n{:<20}{:>10}{:>10}{:>10}\n", session.flags().val_images, "", "base", "novel",
             "all");
  nlohmann::ordered_json document;
  for (const auto* trained : {&before, &after}) {
    const char* name = trained == &before ? "unrefined tower" : "refined tower";
    fmt::print("{:<20}{:>10.1f}{:>10.1f}{:>10.1f}\n", name, ap50(*trained, "base"), ap50(*trained, "novel"),
               ap50(*trained, "all"));
    document[name] = trained->report.metrics;
  }
  document["seconds"] = session.seconds();
  write_text(session.folder() / "results.json", document.dump(2) + "\n");
  const auto picture = write_detector_picture(session, before, after, tester);
  fmt::print(R"(
Try the detector, for example
  clipself detect predict {0}/data/val2017/000000500001.jpg --detector {1} --precision fp32 --out {0}/pictures \
    --names "red square,blue circle" --pretrained {0}/proposals.safetensors --templates {0}/prompts.txt
  clipself detect test --detector {1} --precision fp32 --val-data {2} --val-image-root {3} --per-class

Picture: {4}
Done in {5}.
)",
             session.folder().string(), after.file.string(), session.data().val.instances.string(),
             session.data().val.images.string(), picture.string(), format_duration(session.seconds()));
}

}  // namespace clipself::cli
