#include "cli/eval_ap.h"

#include "cli/class_names.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/evaluation/average_precision.h"

namespace clipself::cli {
namespace {

using evaluation::RegionKind;

evaluation::DetectionArea detection_area(const std::string& name, bool lvis) {
  if (name == "auto") return lvis ? evaluation::DetectionArea::kBox : evaluation::DetectionArea::kMask;
  return name == "box" ? evaluation::DetectionArea::kBox : evaluation::DetectionArea::kMask;
}

/// The classes that a flag lists; at least one must be among the results', and what is not is told.
std::vector<std::string> listed_classes(const std::string& text, const std::string& flag,
                                        const evaluation::ApResult& result) {
  if (text.empty()) return {};
  auto names = parse_names(text, flag);
  const auto known = [&](const std::string& name) {
    return std::ranges::find(result.classes, name, &evaluation::ClassAp::name) != result.classes.end();
  };
  const auto unknown = std::ranges::find_if_not(names, known);
  if (std::ranges::any_of(names, known)) {
    if (unknown != names.end())
      spdlog::warn("{}: {} of {} names are no category of the annotations, '{}' among them", flag,
                   names.size() - static_cast<std::size_t>(std::ranges::count_if(names, known)), names.size(),
                   *unknown);
    return names;
  }
  throw Error({.doing = flag,
               .where = text,
               .found = "no name that the annotations have",
               .expected = "names of their categories"});
}

}  // namespace

void ApTaskFlags::add_to(CLI::App& app) {
  app.add_option("--gt", truth, "…-ap: annotations, COCO or LVIS JSON");
  app.add_option("--results", results, "…-ap: a detector's results, COCO results JSON");
  app.add_option("--iou-type", iou_type, "coco-ap, lvis-ap: compare bbox (boxes) or segm (masks)")
      ->capture_default_str()
      ->check(CLI::IsMember({"bbox", "segm"}));
  app.add_option("--base-classes", base_classes, "…-ap: names of the classes a detector was taught (list or file)");
  app.add_option("--novel-classes", novel_classes, "…-ap: names of the classes it was not");
  app.add_option("--max-dets", max_detections,
                 "Detections that count: coco-ap a picture and class, rising (1,10,100); lvis-ap a picture (300)")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30));
  app.add_flag("--class-agnostic", class_agnostic, "coco-ap: do not tell classes apart (recall of proposals)");
  app.add_option("--detection-area", area,
                 "segm: sizes of detections by their mask or their box (auto: mask for coco-ap, box for lvis-ap)")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "mask", "box"}));
  app.add_option("--voc-iou", voc_iou, "voc-ap: overlap that makes a hit")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 1.0));
  app.add_flag("--voc-area", voc_area, "voc-ap: area under the curve (VOC 2010 on) instead of 11 points (VOC 2007)");
}

void ApTaskFlags::prefix(const std::string& data_root) {
  truth = under(data_root, truth);
  results = under(data_root, results);
}

EvalReport ap_report(const std::string& task, const ApTaskFlags& flags, int threads, bool per_class) {
  if (flags.truth.empty() || flags.results.empty())
    throw Error({.doing = "--task " + task,
                 .found = flags.truth.empty() ? "no annotations" : "no results",
                 .expected = flags.truth.empty() ? "--gt, a COCO JSON" : "--results, a COCO results JSON"});
  require_file(flags.truth, "--gt");
  require_file(flags.results, "--results");
  const bool lvis = task == "lvis-ap", voc = task == "voc-ap";
  const auto kind = flags.iou_type == "segm" ? RegionKind::kMasks : RegionKind::kBoxes;
  if (voc && kind == RegionKind::kMasks)
    throw Error({.doing = "--iou-type", .where = flags.iou_type, .found = "masks", .expected = "bbox for voc-ap"});
  if (flags.class_agnostic && (lvis || voc))
    throw Error({.doing = "--class-agnostic", .found = "--task " + task, .expected = "--task coco-ap"});
  const auto truth = evaluation::read_truth(flags.truth, kind, lvis);
  const auto detections = evaluation::read_detections(flags.results, truth, kind);
  if (detections.list.empty()) spdlog::warn("{} holds no results", flags.results);
  evaluation::ApResult result;
  if (voc) {
    result = evaluate_voc(truth, detections,
                          {.iou_threshold = flags.voc_iou, .eleven_points = !flags.voc_area, .threads = threads});
  } else {
    evaluation::ApOptions options{.regions = kind,
                                  .by_class = !flags.class_agnostic,
                                  .area = detection_area(flags.area, lvis),
                                  .threads = threads};
    if (lvis) options.max_detections = {300};
    if (!flags.max_detections.empty()) options.max_detections = flags.max_detections;
    result = lvis ? evaluate_lvis(truth, detections, options) : evaluate_coco(truth, detections, options);
  }
  if (!flags.base_classes.empty() || !flags.novel_classes.empty()) {
    const auto base = listed_classes(flags.base_classes, "--base-classes", result);
    const auto novel = listed_classes(flags.novel_classes, "--novel-classes", result);
    for (const auto& name : novel)
      if (std::ranges::find(base, name) != base.end())
        throw Error(
            {.doing = "--novel-classes", .where = name, .found = "a base class too", .expected = "one or the other"});
    result.split = split_ap(result, base, novel);
  }
  return {evaluation::report_json(result), evaluation::report_table(result, per_class)};
}

}  // namespace clipself::cli
