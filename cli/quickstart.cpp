// clipself quickstart: the whole method on a world that needs no download. A small CLIP, its dense map measured,
// refined twice (image patches, region proposals) by the code of `clipself train` and measured again by that of
// `clipself eval`.
#include "cli/quickstart.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/progress.h"
#include "clipself/scenes/picture.h"

namespace clipself::cli {

namespace {

namespace fs = std::filesystem;

constexpr double kPictureScale = 2.1;  // pixels a unit in the picture

struct Row {
  std::string name;
  Measured figures;
};

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

fs::path write_picture(const WorldSession& session, const std::vector<ModelPtr>& models, const std::vector<Row>& rows) {
  std::vector<scenes::PictureRow> pictures;
  for (const bool held_out : {false, true}) {
    const auto split = held_out ? scenes::Split::kHeldOut : scenes::Split::kVal;
    const scenes::Scene scene = scenes::dataset_scene(
        session.flags().seed, split, liveliest(session.flags().seed, split, session.flags().val_images));
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
      picture.maps.push_back(scenes::dense_classes(*model, photo.image, kWorldImageSize, session.embeddings(),
                                                   large.image.width, large.image.height));
      picture.notes.push_back(
          fmt::format("{} of {} things named right by their boxes",
                      scenes::boxes_named_right(*model, photo.image, kWorldImageSize, session.embeddings(), things),
                      things.size()));
    }
    pictures.push_back(std::move(picture));
  }
  const auto box = [&](std::size_t row) { return figure(rows[row].figures.known, "rois.thing.macc1"); };
  const std::string subtitle = fmt::format(
      "Each pixel shows which of {} classes its dense feature is nearest to. Boxes of things named right: {:.1f} % "
      "before, "
      "{:.1f} % after image patches, {:.1f} % after region proposals; crops, the teacher: {:.1f} %.",
      scenes::kClasses, box(0), box(1), box(2), figure(rows[0].figures.known, "crops.thing.macc1"));
  const fs::path path = session.folder() / "dense_maps.png";
  formats::write_png(
      path,
      scenes::compose_picture("CLIPSelf in the built-in world", subtitle,
                              {"scene", "ground truth", "CLIP before", "image patches", "region proposals"}, pictures));
  return path;
}

void print_next_steps(const WorldSession& session) {
  const std::string folder = session.folder().string();
  fmt::print(R"(
Files: {0}/data (COCO formats), {0}/*.safetensors (models), {0}/results.json
Try the other commands on them, for example
  clipself info {0}/patches.safetensors
  clipself eval --model {0}/model.json --pretrained {0}/proposals.safetensors --precision fp32 --det-image-size {1} \
    --val-data {2} --val-image-root {3} --embed-path {0}/class_embeddings.npy
  clipself embed-text --model {0}/model.json --pretrained {0}/clip.safetensors --names {2} \
    --templates {0}/prompts.txt --out {0}/embedded.npy
  clipself visualize {3}/000000500001.jpg --kind segment --model {0}/model.json --pretrained {0}/proposals.safetensors \
    --precision fp32 --det-image-size {1} --embed-path {0}/class_embeddings.npy --out {0}/pictures
  clipself train --model {0}/model.json --pretrained {0}/clip.safetensors --precision fp32 --det-image-size {1} \
    --dataset-type proposals_distill --train-data {4} --train-image-root {5} \
    --lock-image-unlocked-groups 4 --batch-size {6} --lr 1e-3 --warmup 10 --epochs 1 --alpha 1 --logs {0}/logs
)",
             folder, kWorldImageSize, session.data().val.panoptic.string(), session.data().val.images.string(),
             session.data().train.proposals.string(), session.data().train.images.string(), kWorldBatchSize);
}

void tell_story(const WorldSession& session) {
  std::vector<Row> rows{{"CLIP before", session.measure(*session.before(), "before")}};
  fmt::print("before: boxes of things {:.1f} %, their crops {:.1f} %\n",
             figure(rows[0].figures.known, "rois.thing.macc1"), figure(rows[0].figures.known, "crops.thing.macc1"));
  std::fflush(stdout);
  const auto& train = session.data().train;
  const ModelPtr patches = session
                               .refine({.name = "CLIPSelf, image patches",
                                        .regions = datasets::RegionKind::kGrid,
                                        .annotations = train.instances})
                               .model;
  session.save("patches", *patches);
  rows.push_back({"after image patches", session.measure(*patches, "image patches")});
  const ModelPtr proposals = session
                                 .refine({.name = "CLIPSelf, region proposals",
                                          .regions = datasets::RegionKind::kProposals,
                                          .annotations = train.proposals})
                                 .model;
  session.save("proposals", *proposals);
  rows.push_back({"after region proposals", session.measure(*proposals, "region proposals")});

  const int scenes = session.flags().val_images;
  print_table(fmt::format("{} new scenes of known combinations", scenes), rows, false);
  print_table(fmt::format("{} scenes of held-out combinations", scenes), rows, true);
  print_summary(rows);
  const fs::path picture = write_picture(session, {session.before(), patches, proposals}, rows);
  const double seconds = session.seconds();
  write_results(session.folder() / "results.json", rows, seconds);
  print_next_steps(session);
  fmt::print("\nPicture: {}\nDone in {}.\n", picture.string(), format_duration(seconds));
}

void quickstart(QuickstartFlags flags) {
  if (flags.compare_methods && flags.detector)
    throw Error({.doing = "--detector", .found = "--compare-methods as well", .expected = "one of the two"});
  if (flags.steps == 0) flags.steps = flags.compare_methods || flags.detector ? 400 : 600;
  const WorldSession session(flags);
  if (flags.compare_methods)
    compare_methods(session);
  else if (flags.detector)
    detector_story(session);
  else
    tell_story(session);
}

}  // namespace

void add_quickstart(CLI::App& app) {
  auto flags = std::make_shared<QuickstartFlags>();
  CLI::App* command = app.add_subcommand(
      "quickstart", "Watch a small CLIP learn where things are: built-in scenes, no download, a few minutes");
  command->add_option("--out", flags->out, "Folder for the scenes, models, figures and the picture")
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Seed of the scenes and of training")
      ->check(not_negative())
      ->capture_default_str();
  command
      ->add_option("--steps", flags->steps,
                   "Steps of each refinement, 8 scenes each (default: 600; with --compare-methods or --detector 400)")
      ->check(CLI::Range(1, 100000));
  command->add_option("--val-images", flags->val_images, "Scenes to measure on, in each of the two sets")
      ->check(CLI::Range(1, 90000))
      ->capture_default_str();
  command->add_option("--lr", flags->lr, "Learning rate of the refinements")
      ->check(above_zero())
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
  command->add_flag("--compare-methods", flags->compare_methods,
                    "Instead compare CLIPSelf and RegionCLIP, each with and without retention, in one table; minutes");
  command->add_flag("--detector", flags->detector,
                    "Instead train a small open-vocabulary detector (F-ViT) on the unrefined and on the refined tower, "
                    "without a quarter of the classes, and compare them on those; minutes");
  command->callback([flags] { quickstart(*flags); });
}

}  // namespace clipself::cli
