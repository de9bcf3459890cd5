// clipself make-pseudo-labels: the noun nearest to each proposal's crop, for RegionCLIP training.
#include <fmt/format.h>

#include "cli/class_names.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/base/signals.h"
#include "clipself/distillation/pseudo_labels.h"

namespace clipself::cli {
namespace {

struct MakePseudoLabels {
  ModelFlags model;
  NamesFlags nouns;
  std::string proposals, image_root, out;
  datasets::ProposalOptions boxes{.crop_scale = 1.5};
  int crops_at_once = 64;
};

void run_make_pseudo_labels(const MakePseudoLabels& command) {
  const auto type = parse_precision(command.model.precision);
  if (!command.nouns.given())
    throw Error({.doing = "choosing nouns", .found = "none", .expected = "--names or --embed-path"});
  require_file(command.proposals, "--proposals");
  require_folder(command.image_root, "--image-root");
  require_writable_file(command.out);
  if (command.boxes.min_size > command.boxes.max_size)
    throw Error({.doing = "--min-size", .found = "more than --max-size", .expected = "less"});
  const auto index = datasets::read_coco(command.proposals);
  if (index.annotation_count() == 0)
    throw Error({.doing = "--proposals", .where = command.proposals, .found = "no boxes", .expected = "boxes to name"});
  const auto model = command.model.load(command.nouns.need_text());
  auto nouns = command.nouns.load(command.model, *model);
  // A detector's embeddings have a row for what is no thing.
  if (const auto none = std::ranges::find(nouns.names, "background"); none != nouns.names.end()) {
    const auto row = none - nouns.names.begin();
    nouns.rows = at::cat({nouns.rows.slice(0, 0, row), nouns.rows.slice(0, row + 1)});
    nouns.names.erase(none);
    spdlog::info("\"background\" is no noun: left out");
  }
  model->freeze(type);
  const StopRequest stop;
  Progress bar("naming boxes", std::ssize(index.images));
  distillation::PseudoLabelOptions options{.proposals = command.boxes, .crops_at_once = command.crops_at_once};
  options.progress = [&](std::int64_t done, std::int64_t) {
    bar.update(done);
    if (stop.signal() == 0) return;
    bar.clear();
    spdlog::warn("interrupted: nothing was written");
    throw ExitCode{128 + stop.signal()};
  };
  const auto boxes = distillation::write_pseudo_labels(command.out, *model, index, command.image_root, nouns.rows,
                                                       nouns.names, options);
  bar.clear();
  if (boxes == 0) spdlog::warn("no box passed --min-size and --max-size");
  fmt::print("{}: {} of {} boxes (the others by --max-boxes, --min-size, --max-size) in {}, named by {}\n", command.out,
             boxes, index.annotation_count(), counted(std::ssize(index.images), "image"),
             counted(std::ssize(nouns.names), "noun"));
}

}  // namespace

void add_make_pseudo_labels(CLI::App& app) {
  auto* sub = app.add_subcommand(
      "make-pseudo-labels", "Name each proposal by the noun nearest to its crop: region-text pairs for RegionCLIP");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto command = std::make_shared<MakePseudoLabels>();
  sub->add_option("--config", "TOML file of these settings");
  command->model.add_to(*sub);
  command->nouns.add_to(*sub);
  sub->add_option("--proposals", command->proposals, "COCO-format JSON of boxes, from 'clipself make-proposals'")
      ->required();
  sub->add_option("--image-root", command->image_root, "Folder of its images")->required();
  sub->add_option("--out", command->out,
                  "The COCO-format JSON to write, for 'clipself train --method regionclip --train-data'")
      ->required();
  sub->add_option("--max-boxes", command->boxes.max_boxes, "Boxes taken from an image at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  sub->add_option("--min-size", command->boxes.min_size, "Boxes of less than this squared, in pixels, are left out")
      ->capture_default_str()
      ->check(not_negative());
  sub->add_option("--max-size", command->boxes.max_size, "Boxes of more than this squared, in pixels, are left out")
      ->capture_default_str()
      ->check(not_negative());
  sub->add_option("--crop-scale", command->boxes.crop_scale, "A crop is its box enlarged by this about its centre")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 16.0));
  sub->add_option("--crops-at-once", command->crops_at_once, "Crops in one pass through the tower")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  sub->callback([command] { run_make_pseudo_labels(*command); });
}

}  // namespace clipself::cli
