// Average precision of detections by the rules of COCO, LVIS and Pascal VOC, to the numbers of pycocotools, lvis-api
// and MMDetection's eval_map.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/datasets/annotations.h"
#include "clipself/evaluation/detections.h"

namespace clipself::evaluation {

/// Which area decides whether a detection counts as small, medium or large, when it has a box and a mask.
enum class DetectionArea { kBox, kMask };

struct ApOptions {
  RegionKind regions = RegionKind::kBoxes;
  /// Detections a picture and class that count: precision by the last, average recall by each.
  std::vector<std::int64_t> max_detections = {1, 10, 100};
  bool by_class = true;  ///< false: classes are not told apart (recall of proposals)
  DetectionArea area = DetectionArea::kMask;
  std::vector<std::int64_t> image_ids{};     ///< empty: all images
  std::vector<std::int64_t> category_ids{};  ///< empty: all classes
  int threads = 0;                           ///< 0: as many as LibTorch uses
};

struct ApMetric {
  std::string key;     ///< "AP50", "ARs"
  std::string iou;     ///< "0.50:0.95"
  std::string area;    ///< "all", "small", "medium", "large"
  std::string subset;  ///< of classes: "all", "rare", "common", "frequent"
  std::int64_t max_detections = 0;
  double value = -1;  ///< in [0, 1]; -1 when there is nothing to measure it by
};

struct ClassAp {
  std::int64_t id = 0;
  std::string name;
  char frequency = '\0';
  std::int64_t truths = 0;  ///< regions that count
  double ap = 0;            ///< NaN without any
  double ap50 = 0;          ///< the same
};

/// AP at IoU 0.5 over the classes that a detector was taught, those it was not, and all.
struct SplitAp {
  double base = 0, novel = 0, all = 0;  ///< NaN without any class that has true regions
};

struct ApResult {
  std::string protocol;  ///< "COCO", "LVIS", "VOC"
  RegionKind regions = RegionKind::kBoxes;
  std::int64_t images = 0, truths = 0, detections = 0;
  std::vector<ApMetric> metrics;
  std::vector<ClassAp> classes;  ///< by rising id
  std::optional<SplitAp> split;
  /// double (IoU thresholds, recalls, classes, areas, limits) and (IoU thresholds, classes, areas, limits), -1 for what
  /// has no true regions. Thresholds 0.5 to 0.95 by 0.05, recalls 0 to 1 by 0.01, areas all, small, medium, large.
  at::Tensor precision, recall;

  double metric(const std::string& key) const;  ///< throws Error for an unknown key
};

/// Reads annotations with all that these evaluations need. `lvis`: also what is known to be absent, and frequencies.
datasets::AnnotationIndex read_truth(const std::filesystem::path& path, RegionKind regions, bool lvis);

/// COCO: a crowd region may be found any number of times and counts neither way. Metrics in pycocotools' order: AP (by
/// 100 detections when that is one of the limits, else by the last), AP50, AP75, APs, APm, APl, AR by each limit, ARs,
/// ARm, ARl. Throws Error for a detection of an unknown image or class, and for a region without box or mask.
ApResult evaluate_coco(const datasets::AnnotationIndex& truth, const Detections& detections, const ApOptions& options);

/// LVIS: of an image only classes that are known to be in it or known to be absent count; of a class not annotated
/// exhaustively, detections that match nothing do not count. The last of max_detections limits an image's detections of
/// all classes together. Metrics: AP, AP50, AP75, APs, APm, APl, APr, APc, APf, AR@n, ARs@n, ARm@n, ARl@n.
/// `truth` must come from read_truth(…, lvis) or carry the same: throws Error for a class without a frequency, and as
/// evaluate_coco does.
ApResult evaluate_lvis(const datasets::AnnotationIndex& truth, const Detections& detections, const ApOptions& options);

struct VocOptions {
  double iou_threshold = 0.5;
  bool eleven_points = true;                 ///< VOC 2007; else the area under the curve, as since 2010
  bool legacy_pixels = true;                 ///< boxes include their last pixel: width x1 - x0 + 1
  std::vector<std::int64_t> category_ids{};  ///< empty: all classes
  int threads = 0;
};
/// VOC: regions to `ignore` (difficult) and crowds count neither way. Boxes only, compared in float32 by their corners
/// x0 y0 x1 y1 with x1 = x + width. The one metric is mAP.
ApResult evaluate_voc(const datasets::AnnotationIndex& truth, const Detections& detections, const VocOptions& options);

/// AP50 by classes whose names are listed (any that the annotations do not have are no harm); NaN for a group without
/// true regions.
SplitAp split_ap(const ApResult& result, const std::vector<std::string>& base, const std::vector<std::string>& novel);

/// JSON document of all numbers; and the same as text for people.
std::string report_json(const ApResult& result);
std::string report_table(const ApResult& result, bool per_class);

}  // namespace clipself::evaluation
