// The tasks of 'clipself eval' that measure a detector's results: average precision by COCO, LVIS or Pascal VOC.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/eval_images.h"

namespace clipself::cli {

/// --gt, --results, --iou-type, --base-classes, --novel-classes, --max-dets, --class-agnostic, --detection-area,
/// --voc-iou, --voc-area
struct ApTaskFlags {
  std::string truth, results, iou_type = "bbox", base_classes, novel_classes, area = "auto";
  std::vector<std::int64_t> max_detections;
  bool class_agnostic = false;
  double voc_iou = 0.5;
  bool voc_area = false;

  void add_to(CLI::App& app);
  void prefix(const std::string& data_root);
  static bool is_task(const std::string& task) { return task.ends_with("-ap"); }
};

/// `task`: coco-ap, lvis-ap or voc-ap.
EvalReport ap_report(const std::string& task, const ApTaskFlags& flags, int threads, bool per_class);

}  // namespace clipself::cli
