// clipself make-proposals: boxes of anything for `clipself train --dataset-type proposals_distill`, from a detector's
// proposal network.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/detector_flags.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/base/signals.h"
#include "clipself/datasets/annotations.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct MakeProposals {
  DetectorFlags detector;
  std::string images, image_root, out;
  double least_score = 0.5, least_side = 8;
  int most = 100, batch_size = 1, workers = 2;
  std::int64_t max_unreadable = 100;
  bool exif_orientation = false;
};

void run_make_proposals(MakeProposals& command, const CLI::App& sub) {
  command.images = under(command.detector.data_root, command.images);
  command.image_root = under(command.detector.data_root, command.image_root);
  command.detector.names_matter = false;
  std::error_code ignored;
  const bool folder = fs::is_directory(command.images, ignored);
  if (!folder) {
    require_file(command.images, "--images");
    require_folder(command.image_root, "--image-root");
  }
  require_writable_file(command.out);
  auto index = std::make_shared<const datasets::AnnotationIndex>(folder ? datasets::read_image_folder(command.images)
                                                                        : datasets::read_coco(command.images));
  const auto loaded = command.detector.load(sub, {});
  const datasets::DetectionTestDataset data(index, folder ? command.images : command.image_root, loaded.image_size,
                                            command.exif_orientation);
  const StopRequest stop;
  AtomicFile file(command.out);
  Json images = Json::array();
  std::int64_t boxes_written = 0, unreadable = 0;
  file.write(std::string_view("{\"annotations\":["));
  Progress bar("proposing", data.size());
  detection::for_each_batch(
      data, command.batch_size, command.workers,
      [&](const std::vector<datasets::DetectionImage>& batch) {
        const auto found = detection::propose_images(*loaded.detector, batch, loaded.pixels);
        for (std::size_t i = 0; i < batch.size(); ++i) {
          const auto& record = index->images[static_cast<std::size_t>(batch[i].index)];
          images.push_back({{"id", record.id},
                            {"file_name", record.file_name},
                            {"width", batch[i].original[1]},
                            {"height", batch[i].original[0]}});
          const auto boxes = found[i].boxes.contiguous();
          const auto corners = boxes.accessor<float, 2>();
          int kept = 0;
          for (std::int64_t k = 0; k < boxes.size(0) && kept < command.most; ++k) {  // by falling score
            const double score = found[i].scores[k].item<double>();
            const double width = corners[k][2] - corners[k][0], height = corners[k][3] - corners[k][1];
            if (score < command.least_score) break;
            if (width < command.least_side || height < command.least_side) continue;
            ++kept;
            const Json annotation = {{"id", ++boxes_written},  {"image_id", record.id},
                                     {"category_id", 1},       {"bbox", {corners[k][0], corners[k][1], width, height}},
                                     {"area", width * height}, {"iscrowd", 0},
                                     {"score", score}};
            file.write((boxes_written > 1 ? ",\n" : "\n") + annotation.dump());
          }
        }
        bar.update(batch.back().index + 1);
        return stop.signal() == 0;
      },
      [&](const Error& error) {
        bar.clear();
        spdlog::warn("left out: {}", error.what());
        if (++unreadable > command.max_unreadable) throw error;
      });
  bar.clear();
  if (boxes_written == 0 && stop.signal() == 0)
    throw Error({.doing = "making proposals",
                 .where = command.images,
                 .found = fmt::format("no box of score {:g} or more", command.least_score),
                 .expected = "some",
                 .hint = "a lower --min-score"});
  const Json categories = {{{"id", 1}, {"name", "object"}}};
  file.write("],\n\"images\":" + images.dump(-1, ' ', false, Json::error_handler_t::replace) +
             ",\n\"categories\":" + categories.dump() + "}\n");
  file.commit();
  fmt::print("{}: {} in {}\n", command.out, counted(boxes_written, "box", "boxes"),
             counted(std::ssize(images), "image"));
  if (stop.signal() != 0) {
    spdlog::warn("interrupted after {} of {}: the file holds the boxes of these", images.size(),
                 counted(data.size(), "image"));
    throw ExitCode{128 + stop.signal()};
  }
}

}  // namespace

void add_make_proposals(CLI::App& app) {
  auto* sub = app.add_subcommand("make-proposals",
                                 "Boxes of anything by a detector's proposal network, to refine a tower with");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto command = std::make_shared<MakeProposals>();
  sub->add_option("--config", "TOML file of these settings");
  command->detector.add_detector_to(*sub);
  command->detector.add_to(*sub);
  sub->add_option("--images", command->images, "A folder of pictures, or a COCO-format JSON that lists them")
      ->required();
  sub->add_option("--image-root", command->image_root, "Folder of the JSON's images");
  sub->add_option("--out", command->out, "The COCO-format JSON to write, for 'clipself train --train-data'")
      ->required();
  sub->add_option("--min-score", command->least_score, "Boxes of at least this probability of an object")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  sub->add_option("--min-side", command->least_side, "Narrower or lower boxes are left out, in pixels")
      ->capture_default_str()
      ->check(not_negative());
  sub->add_option("--max-boxes", command->most, "Of a picture, the best of them")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  sub->add_option("--batch-size", command->batch_size, "Images at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  sub->add_option("--workers", command->workers, "Threads that read images")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  sub->add_option("--max-unreadable", command->max_unreadable,
                  "Images that cannot be read are left out, up to this many")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
  sub->add_flag("--exif-orientation", command->exif_orientation,
                "Turn photos as their EXIF tag says, for a 'clipself train --exif-orientation'");
  sub->callback([command, sub] { run_make_proposals(*command, *sub); });
}

}  // namespace clipself::cli
