// What the commands of `clipself detect` share.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/detector_flags.h"
#include "clipself/evaluation/average_precision.h"

namespace clipself::cli {

/// --workers, --task, --val-data, --val-image-root, --test-batch-size
struct DetectionDataFlags {
  std::string task = "coco", validation, validation_root;
  int batch_size = 1;
  int workers = 2;

  void add_to(CLI::App& app);
};

/// Detects in all images of a data set and measures the result.
class DetectionTester {
 public:
  /// Reads the annotations. Throws Error.
  DetectionTester(const DetectionDataFlags& flags, const std::string& data_root, bool masks);
  const datasets::AnnotationIndex& truth() const { return *truth_; }
  std::vector<std::string> category_names() const;

  /// With a progress bar. Throws Interrupted when `interrupted` says so, and Error when a class of the detector is no
  /// category of the annotations.
  /// Processes divide the images among them, and all have what was found.
  evaluation::Detections detect(const LoadedDetector& loaded, const std::function<bool()>& interrupted,
                                distributed::Processes& processes = *distributed::Processes::alone()) const;
  struct Report {
    std::map<std::string, double> metrics;  ///< "bbox.AP", "bbox.AP50.novel"
    std::string json, table;
  };
  Report measure(const LoadedDetector& loaded, const evaluation::Detections& found, bool per_class) const;

 private:
  std::vector<std::int64_t> category_ids(const LoadedDetector& loaded) const;
  DetectionDataFlags flags_;
  bool masks_;
  std::shared_ptr<const datasets::AnnotationIndex> truth_;
};

void add_detect_train(CLI::App& detect);
void add_detect_test(CLI::App& detect);
void add_detect_predict(CLI::App& detect);

}  // namespace clipself::cli
