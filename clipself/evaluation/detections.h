// What a detector found, in memory and as COCO results JSON: [{"image_id", "category_id", "bbox", "score",
// "segmentation"}, …].
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "clipself/datasets/annotations.h"
#include "clipself/distributed/processes.h"

namespace clipself::evaluation {

struct Detection {
  std::int64_t image_id = 0;
  std::int64_t category_id = 0;
  double score = 0;
  std::array<double, 4> bbox{};  ///< x, y, width, height in pixels; NaN when there is none
  datasets::SegmentationHandle segmentation = datasets::kNoSegmentation;
  bool has_bbox() const { return bbox[0] == bbox[0]; }
};

/// Detections in the order that decides between equal scores.
struct Detections {
  std::string source = "detections";  ///< for messages
  std::vector<Detection> list;
  datasets::SegmentationStore segmentations;
};

/// What regions are compared by.
enum class RegionKind { kBoxes, kMasks };
/// "bbox", "segm".
const char* name(RegionKind kind);

/// Reads a results file for that kind of comparison; masks are skipped over when boxes are compared and given. Throws
/// Error naming file, entry and key when something is missing, of the wrong type, no number (a score, a box), or names
/// an image or a category that `truth` does not have; and when there are no entries.
Detections read_detections(const std::filesystem::path& path, const datasets::AnnotationIndex& truth, RegionKind kind);
/// Writes a results file, atomically: numbers to nine digits, masks as texts of run lengths.
void write_detections(const std::filesystem::path& path, const Detections& detections);

/// Those of all processes, in the order that one process would have found them in: `order` are the images' ids.
Detections gather(Detections mine, const std::vector<std::int64_t>& order, distributed::Processes& processes);

}  // namespace clipself::evaluation
