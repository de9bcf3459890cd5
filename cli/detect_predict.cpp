// clipself detect predict: things of any vocabulary in pictures.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/class_names.h"
#include "cli/commands.h"
#include "cli/detect.h"
#include "cli/pictures.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/base/signals.h"
#include "clipself/formats/rle.h"
#include "clipself/visualization/detections.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct DetectPredict {
  DetectorFlags detector;
  std::vector<std::string> images;
  std::string names, out = "detections";
  double show = 0.3;
  bool json = false;
};

/// The results of one picture, in COCO's results format with the picture's file and the class's name beside.
Json entries_of(const evaluation::Detections& found, const fs::path& file, const std::vector<std::string>& names) {
  Json entries = Json::array();
  for (const auto& detection : found.list) {
    Json entry = {
        {"image_id", detection.image_id}, {"category_id", detection.category_id},
        {"bbox", detection.bbox},         {"score", detection.score},
        {"file_name", file.string()},     {"category", names[static_cast<std::size_t>(detection.category_id - 1)]}};
    if (detection.segmentation != datasets::kNoSegmentation) {
      const auto rle = found.segmentations.rle(detection.segmentation);
      entry["segmentation"] = {{"size", {rle.height, rle.width}}, {"counts", formats::rle_text(rle)}};
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

void run_detect_predict(DetectPredict& command, const CLI::App& sub) {
  const auto files = find_pictures(command.images);
  require_pictures(files);
  if (sub.count("--names") > 0 && command.names.empty())
    throw Error(
        {.doing = "--names", .found = "nothing", .expected = "what to look for, such as \"a cat,traffic light\""});
  const auto names = command.names.empty() ? std::vector<std::string>{} : parse_names(command.names, "--names");
  for (auto name = names.begin(); name != names.end(); ++name)
    if (std::find(names.begin(), name, *name) != name)
      throw Error({.doing = "--names", .where = *name, .found = "the name twice", .expected = "once"});
  const auto loaded = command.detector.load(sub, {}, names);
  require_writable_folder(command.out);
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 1; i <= std::ssize(loaded.names()); ++i) ids.push_back(i);

  const StopRequest stop;
  Json all = Json::array();
  ResultNames result_names;
  std::size_t done = files.size();
  Progress bar("detecting", std::ssize(files));
  for (std::size_t i = 0; i < files.size(); ++i) {
    const formats::Image picture = read_rgb(files[i], /*exif_orientation=*/true);  // as in training
    auto results = detection::detect_images(*loaded.detector, {datasets::detection_image(picture, loaded.image_size)},
                                            loaded.pixels);
    const auto& found = results.at(0);
    evaluation::Detections list;
    detection::append_detections(found, static_cast<std::int64_t>(i + 1), ids, list);
    for (auto& entry : entries_of(list, files[i], loaded.names())) all.push_back(std::move(entry));

    const auto shown = (found.scores >= command.show).sum().item<std::int64_t>();
    const auto image = fs::path(command.out) / (result_names.of(files[i]) + "_detections.png");
    const formats::Image large = enlarged_to_see(picture);
    formats::write_png(image,
                       visualization::draw_detections(
                           large, {.boxes = found.boxes.narrow(0, 0, shown) * (large.width / picture.width),
                                   .scores = found.scores.narrow(0, 0, shown),
                                   .labels = found.labels.narrow(0, 0, shown),
                                   .masks = found.masks.defined() ? found.masks.narrow(0, 0, shown) : at::Tensor(),
                                   .names = loaded.names()}));
    bar.clear();
    if (!command.json) {
      fmt::print("{}: {} of {} shown, {}\n", files[i].string(), shown, counted(found.scores.size(0), "detection"),
                 image.string());
      for (std::int64_t k = 0; k < std::min<std::int64_t>(shown, 20); ++k) {
        const auto& box = list.list[static_cast<std::size_t>(k)].bbox;
        fmt::print("  {:4.0f} %  {}  at {:.0f}, {:.0f}, {:.0f} x {:.0f}\n",
                   100 * list.list[static_cast<std::size_t>(k)].score,
                   loaded.names()[static_cast<std::size_t>(found.labels[k].item<std::int64_t>())], box[0], box[1],
                   box[2], box[3]);
      }
    }
    bar.update(static_cast<std::int64_t>(i + 1));
    if (stop.signal() != 0) {
      done = i + 1;
      break;
    }
  }
  bar.clear();
  const std::string text = all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  write_text(fs::path(command.out) / "results.json", text);
  if (command.json) fmt::print("{}", text);
  if (done < files.size()) {
    spdlog::warn("interrupted after {} of {} pictures", done, files.size());
    throw ExitCode{128 + stop.signal()};
  }
}

}  // namespace

void add_detect_predict(CLI::App& detect) {
  auto* sub = detect.add_subcommand("predict", "Find things in pictures: those a detector knows, or any --names");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto command = std::make_shared<DetectPredict>();
  sub->add_option("IMAGE", command->images, "Pictures, or folders of them")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  sub->add_option("--config", "TOML file of these settings; what it says to the other commands alone is passed over");
  command->detector.add_detector_to(*sub);
  command->detector.add_to(*sub);
  sub->add_option(
      "--names", command->names,
      "Look for these instead of the detector's classes: \"a, b, c\", a file with a name a line, or a known "
      "list such as coco; needs --embed-path, or --pretrained for the text tower");
  sub->add_option("--show", command->show, "Draw detections of at least this score; results.json has all")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  sub->add_option("--out", command->out, "Folder for the pictures and results.json, COCO results")
      ->capture_default_str();
  sub->add_flag("--json", command->json, "Print the results as JSON instead of a list");
  sub->callback([command, sub] { run_detect_predict(*command, *sub); });
}

}  // namespace clipself::cli
