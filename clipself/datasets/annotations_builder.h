// Inside of datasets/annotations: how an index is put together.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "clipself/datasets/annotations.h"

namespace clipself::datasets {

/// Collects entries in whatever order a file has them. Images and categories seen twice keep the first one's place and
/// the last one's content.
class AnnotationIndexBuilder {
 public:
  void add_image(ImageRecord image);
  void add_category(Category category);
  void add_annotation(std::int64_t image_id, const Annotation& annotation);
  SegmentationStore& segmentations() { return index_.segmentations; }
  /// The PNG of an image that may come later.
  void set_segmentation_file(std::int64_t image_id, std::string name);
  /// Groups the annotations by image. Throws Error, naming `source`, when there are no images or when an annotation's
  /// image is unknown.
  AnnotationIndex finish(const std::string& source) &&;

 private:
  AnnotationIndex index_;
  std::unordered_map<std::int64_t, std::size_t> image_positions_;
  std::unordered_map<std::int64_t, std::size_t> category_positions_;
  std::vector<std::pair<std::int64_t, Annotation>> annotations_;  // with their image's id
  std::unordered_map<std::int64_t, std::string> segmentation_files_;
};

}  // namespace clipself::datasets
