// clipself detect: F-ViT, the open-vocabulary detector on a frozen CLIP vision tower.
#include "cli/detect.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"

namespace clipself::cli {

void DetectionDataFlags::add_to(CLI::App& app) {
  app.add_option("--task", task, "Whose rules measure: coco, lvis or voc")
      ->capture_default_str()
      ->check(CLI::IsMember({"coco", "lvis", "voc"}));
  app.add_option("--val-data", validation, "Annotations to test on, COCO or LVIS JSON ('clipself prepare' makes them)");
  app.add_option("--val-image-root", validation_root, "Folder of its images");
  app.add_option("--workers", workers, "Threads that read images (and augment them for training)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  app.add_option("--test-batch-size", batch_size, "Images at a time in testing")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
}

DetectionTester::DetectionTester(const DetectionDataFlags& flags, const std::string& data_root, bool masks)
    : flags_(flags), masks_(masks) {
  flags_.validation = under(data_root, flags.validation);
  flags_.validation_root = under(data_root, flags.validation_root);
  require_file(flags_.validation, "--val-data");
  require_folder(flags_.validation_root, "--val-image-root");
  const auto kind = masks ? evaluation::RegionKind::kMasks : evaluation::RegionKind::kBoxes;
  truth_ = std::make_shared<const datasets::AnnotationIndex>(
      evaluation::read_truth(flags_.validation, kind, flags.task == "lvis"));
  // Rather before the first picture than after the last.
  for (std::size_t i = 0; masks_ && i < truth_->images.size(); ++i)
    for (const auto& annotation : truth_->annotations_of(i))
      if (annotation.segmentation == datasets::kNoSegmentation) {
        spdlog::warn("{}: annotation {} has no segmentation: masks are not measured", flags_.validation, annotation.id);
        masks_ = false;
        break;
      }
}

std::vector<std::string> DetectionTester::category_names() const {
  std::vector<std::string> names;
  for (const auto& category : truth_->categories) names.push_back(category.name);
  return names;
}

std::vector<std::int64_t> DetectionTester::category_ids(const LoadedDetector& loaded) const {
  std::vector<std::int64_t> ids;
  for (const auto& name : loaded.names()) {
    const auto found = std::ranges::find(truth_->categories, name, &datasets::Category::name);
    if (found == truth_->categories.end())
      throw Error({.doing = "--val-data",
                   .where = flags_.validation,
                   .found = "no category '" + name + "'",
                   .expected = "every class of the detector among its categories",
                   .hint = "--class-names and --embed-path choose other classes"});
    ids.push_back(found->id);
  }
  return ids;
}

evaluation::Detections DetectionTester::detect(const LoadedDetector& loaded, const std::function<bool()>& interrupted,
                                               distributed::Processes& processes) const {
  processes.check_equal("images of --val-data", datasets::fingerprint_of(*truth_));
  std::vector<std::int64_t> order, ids;
  processes.agree([&] { ids = category_ids(loaded); });
  for (const auto& image : truth_->images) order.push_back(image.id);
  const datasets::DetectionTestDataset data(truth_, flags_.validation_root, loaded.image_size);
  evaluation::Detections found;
  std::int64_t done = 0;
  Progress bar("detecting", data.size());
  evaluation::run_share(data.size(), processes, interrupted, [&](const auto& mine, const auto& after_image) {
    const auto take = [&](const std::vector<datasets::DetectionImage>& images) {
      const auto results = detection::detect_images(*loaded.detector, images, loaded.pixels);
      for (std::size_t i = 0; i < images.size(); ++i)
        detection::append_detections(results[i], images[i].image_id, ids, found);
      done += std::ssize(images) * processes.size();
      bar.update(std::min(done, data.size()));
      for (std::size_t i = 0; i < images.size(); ++i) after_image();
      return true;
    };
    detection::for_each_batch(data, flags_.batch_size, flags_.workers, take, {}, mine);
  });
  return evaluation::gather(std::move(found), order, processes);
}

DetectionTester::Report DetectionTester::measure(const LoadedDetector& loaded, const evaluation::Detections& found,
                                                 bool per_class) const {
  using evaluation::RegionKind;
  Report report;
  auto document = nlohmann::ordered_json::object();
  const auto add = [&](const std::string& key, evaluation::ApResult result, bool at_half = true) {
    for (const auto& metric : result.metrics)
      if (metric.value >= 0) report.metrics[key + "." + metric.key] = metric.value;  // -1: nothing to measure by
    if (at_half) {
      result.split = evaluation::split_ap(result, loaded.names(true), loaded.names(false));
      const std::pair<const char*, double> parts[] = {
          {"AP50.base", result.split->base}, {"AP50.novel", result.split->novel}, {"AP50.all", result.split->all}};
      for (const auto& [name, value] : parts)
        if (std::isfinite(value)) report.metrics[key + "." + name] = value;
    }
    document[key] = nlohmann::ordered_json::parse(evaluation::report_json(result));
    report.table += evaluation::report_table(result, per_class);
  };
  if (flags_.task == "voc") {
    for (const double overlap : {0.5, 0.75})
      add(fmt::format("bbox{:.0f}", 100 * overlap),
          evaluate_voc(*truth_, found, {.iou_threshold = overlap, .category_ids = category_ids(loaded)}),
          overlap == 0.5);
  } else {
    const bool lvis = flags_.task == "lvis";
    for (const auto kind : {RegionKind::kBoxes, RegionKind::kMasks}) {
      if (kind == RegionKind::kMasks && (!masks_ || !loaded.detector->has_masks())) continue;
      evaluation::ApOptions options{.regions = kind, .category_ids = category_ids(loaded)};
      if (lvis) {
        options.max_detections = {300};
        options.area = evaluation::DetectionArea::kBox;
      }
      add(name(kind), lvis ? evaluate_lvis(*truth_, found, options) : evaluate_coco(*truth_, found, options));
    }
  }
  report.json = document.dump(1) + "\n";
  return report;
}

void add_detect(CLI::App& app) {
  auto* sub = app.add_subcommand(
      "detect",
      "F-ViT, the open-vocabulary detector on a frozen CLIP tower: train it, test it, find things in pictures");
  sub->require_subcommand(1);
  add_detect_train(*sub);
  add_detect_test(*sub);
  add_detect_predict(*sub);
}

}  // namespace clipself::cli
