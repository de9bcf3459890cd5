// Inside of average precision: annotations and detections as the matching takes them.
#pragma once

#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "clipself/evaluation/average_precision.h"
#include "clipself/evaluation/matching.h"

namespace clipself::evaluation {

/// The regions of the chosen images (by rising id) and classes (by rising id), and where each came from. Both
/// arguments must outlive it.
class ApRegions {
 public:
  /// Throws Error for a chosen image that the annotations do not have, a detection of an image or a class that they do
  /// not have, and a region without what `options.regions` compares.
  ApRegions(const datasets::AnnotationIndex& truth, const Detections& detections, const ApOptions& options);

  std::span<const datasets::Category> categories() const { return categories_; }
  std::size_t image_count() const { return image_of_position_.size(); }
  const datasets::ImageRecord& image(int position) const {
    return index_.images[image_of_position_[static_cast<std::size_t>(position)]];
  }
  std::vector<TruthRegion>& truths() { return truths_; }
  std::vector<FoundRegion>& found() { return found_; }
  const datasets::Annotation& annotation(std::size_t truth) const { return *annotations_[truth]; }
  /// Its own, or the one around its mask.
  const std::array<double, 4>& box(std::size_t found) const;
  int threads() const { return threads_; }

  /// Leaves out the found regions whose entry is false.
  void keep_found(const std::vector<bool>& keep);
  /// All as one class, in the order of the classes.
  void join_categories();
  /// Of boxes or masks. Must not outlive this.
  Overlaps overlaps() const;
  /// A result with the counts of these regions.
  ApResult blank_result(const char* protocol) const;

 private:
  void choose_images(const std::vector<std::int64_t>& ids);
  void choose_categories(const std::vector<std::int64_t>& ids);
  void take_truths();
  void take_detections();
  void measure_found(DetectionArea area);
  void require_known(const Detection& detection, std::size_t at) const;
  const Detection& detection(std::size_t found) const { return detections_.list[sources_[found]]; }
  formats::Rle mask(std::size_t found) const;

  const datasets::AnnotationIndex& index_;
  const Detections& detections_;
  RegionKind kind_;
  int threads_;
  std::vector<std::size_t> image_of_position_;
  std::unordered_set<std::int64_t> known_images_;  ///< chosen or not
  std::unordered_map<std::int64_t, int> position_of_image_, position_of_category_;
  std::vector<datasets::Category> categories_;
  std::vector<TruthRegion> truths_;
  std::vector<const datasets::Annotation*> annotations_;  ///< of truths_
  std::vector<FoundRegion> found_;
  std::vector<std::size_t> sources_;                     ///< of found_: positions among the detections
  std::vector<std::array<double, 4>> boxes_from_masks_;  ///< by detection; of those without a box of their own
};

}  // namespace clipself::evaluation
