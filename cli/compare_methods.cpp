// clipself quickstart --compare-methods: CLIPSelf and RegionCLIP in the built-in world, each with and without
// retention; what they do for regions and what they cost the embeddings of whole images.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/quickstart.h"
#include "clipself/base/file.h"
#include "clipself/base/progress.h"
#include "clipself/distillation/pseudo_labels.h"
#include "clipself/scenes/single_things.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kSinglePictures = 960;  // 20 a class on average

/// Pseudo-labels of the training proposals, from the crops' embeddings by the model that is not refined yet; the nouns
/// are the class names.
fs::path label_proposals(const WorldSession& session) {
  const auto& train = session.data().train;
  const fs::path path = train.instances.parent_path() / "region_text_train2017.json";
  const auto proposals = datasets::read_coco(train.proposals);
  Progress progress("labelling proposals", static_cast<std::int64_t>(proposals.images.size()));
  distillation::PseudoLabelOptions options;
  options.progress = [&](std::int64_t done, std::int64_t) {
    progress.update(done);
    session.check_stop();
  };
  const double start = session.seconds();
  const auto boxes = distillation::write_pseudo_labels(path, *session.before(), proposals, train.images,
                                                       session.embeddings(), scenes::class_names(), options);
  progress.clear();
  fmt::print("pseudo-labels: {} proposals named by their crops' nearest of {} class embeddings, {}\n", boxes,
             scenes::kClasses, format_duration(session.seconds() - start));
  std::fflush(stdout);
  return path;
}

/// What is measured of one model.
struct Outcome {
  std::string name;
  double retain_weight = 0;
  Measured regions;
  double images_known = 0, images_held_out = 0;  ///< per cent of pictures of one thing named right
  double seconds = 0;                            ///< of training
};

void print_comparison(const std::vector<Outcome>& outcomes) {
  struct Column {
    const char* title;
    double (*value)(const Outcome&);
  };
  constexpr Column kColumns[] = {
      {"thing boxes", [](const Outcome& o) { return figure(o.regions.known, "rois.thing.macc1"); }},
      {"held out", [](const Outcome& o) { return figure(o.regions.held_out, "rois.thing.macc1"); }},
      {"stuff masks", [](const Outcome& o) { return figure(o.regions.known, "maskpool.stuff.macc1"); }},
      {"thing crops", [](const Outcome& o) { return figure(o.regions.known, "crops.thing.macc1"); }},
      {"held out", [](const Outcome& o) { return figure(o.regions.held_out, "crops.thing.macc1"); }},
      {"whole images", [](const Outcome& o) { return o.images_known; }},
      {"held out", [](const Outcome& o) { return o.images_held_out; }}};
  fmt::print("\n{:<30}{:>8}{:^39}|{:^52}|\n", "top-1, %", "retain", "dense map", "image embedding");
  fmt::print("{:<30}{:>8}", "", "weight");
  for (const Column& column : kColumns) fmt::print("{:>13}", column.title);
  fmt::print("{:>14}\n", "training");
  for (const Outcome& outcome : outcomes) {
    fmt::print("{:<30}{:>8}", outcome.name,
               outcome.retain_weight > 0 ? fmt::format("{:g}", outcome.retain_weight) : "-");
    for (const Column& column : kColumns) fmt::print("{:>13.1f}", column.value(outcome));
    fmt::print("{:>14}\n", outcome.seconds > 0 ? format_duration(outcome.seconds) : "");
  }
  fmt::print(R"(
Dense map: boxes of things and masks of stuff in new scenes. Image embedding: crops of the same things, and {} pictures of
one thing each ("whole images"), both by encode_image. "held out": combinations of colour, shape and pattern that no
training image shows. RegionCLIP learns from pseudo-labels, no annotator's, but is told the {} classes it is measured on.
)",
             kSinglePictures, scenes::kClasses);
}

void write_comparison(const fs::path& path, const std::vector<Outcome>& outcomes, double seconds) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Outcome& o : outcomes)
    rows.push_back({{"name", o.name},
                    {"retain_weight", o.retain_weight},
                    {"known", o.regions.known},
                    {"held_out", o.regions.held_out},
                    {"whole_images_known", o.images_known / 100},
                    {"whole_images_held_out", o.images_held_out / 100},
                    {"training_seconds", o.seconds}});
  write_text(path, nlohmann::ordered_json{{"seconds", seconds}, {"methods", rows}}.dump(2) + "\n");
}

}  // namespace

void compare_methods(const WorldSession& session) {
  using datasets::RegionKind;
  const auto& train = session.data().train;
  const int side = session.before()->visual().image_size();
  const auto known = scenes::single_things(session.flags().seed, scenes::Combinations::kSeen, kSinglePictures, side);
  const auto held_out =
      scenes::single_things(session.flags().seed, scenes::Combinations::kHeldOut, kSinglePictures, side);
  std::vector<Outcome> outcomes;
  const auto measure = [&](models::ClipModel& model, const std::string& name, double retain_weight, double seconds) {
    outcomes.push_back({name, retain_weight, session.measure(model, name),
                        100 * scenes::named_right(model, known, session.embeddings()),
                        100 * scenes::named_right(model, held_out, session.embeddings()), seconds});
  };
  measure(*session.before(), "CLIP before", 0, 0);
  const fs::path labelled = label_proposals(session);
  // RegionCLIP's loss is a sum over classes, some tens of times a cosine's size, and so must be what holds against it.
  constexpr double kRetainCosine = 1, kRetainSum = 30;
  const Refinement refinements[] = {
      {"CLIPSelf, image patches", "clipself", RegionKind::kGrid, train.instances, kRetainCosine},
      {"CLIPSelf, region proposals", "clipself", RegionKind::kProposals, train.proposals, kRetainCosine},
      {"RegionCLIP, pseudo-labels", "regionclip", RegionKind::kLabelled, labelled, kRetainSum}};
  for (const Refinement& each : refinements)
    for (const bool retain : {false, true}) {
      Refinement refinement = each;
      if (!retain) refinement.retain_weight = 0;
      refinement.name += retain ? ", retaining" : "";
      const Refined refined = session.refine(refinement);
      measure(*refined.model, each.name, refinement.retain_weight, refined.seconds);
    }
  print_comparison(outcomes);
  write_comparison(session.folder() / "methods.json", outcomes, session.seconds());
  fmt::print("\nFigures: {}\nDone in {}.\n", (session.folder() / "methods.json").string(),
             format_duration(session.seconds()));
}

}  // namespace clipself::cli
