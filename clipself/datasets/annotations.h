// COCO-format, LVIS-format and COCO-panoptic JSON, and plain folders, as compact indexes.
//
// instances_train2017.json (448 MB) and lvis_v1_train.json (1.1 GB) are walked once with simdjson's on-demand parser;
// only what is listed here is kept; polygons and the like are skipped over unless asked for.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "clipself/datasets/segmentations.h"

namespace clipself::datasets {

struct Category {
  std::int64_t id = 0;
  std::string name;
  bool is_thing = true;  ///< panoptic only
  // LVIS, when asked for.
  char frequency = '\0';         ///< 'r'are, 'c'ommon or 'f'requent; 0 when the file does not say
  std::int64_t image_count = 0;  ///< training images that have it
};

struct ImageRecord {
  std::int64_t id = 0;
  std::string file_name;  ///< relative to the image root; from coco_url's last two parts when there is no file_name
  int width = 0;          ///< 0 when the file does not say
  int height = 0;
  std::string segmentation_file;  ///< panoptic only: the PNG's name
  // LVIS, when asked for: categories known to be absent, and those of which not every instance is annotated.
  std::vector<std::int64_t> negative_categories{};
  std::vector<std::int64_t> not_exhaustive_categories{};
};

struct Annotation {
  std::int64_t id = 0;  ///< panoptic: the segment's id (colour)
  std::int64_t category_id = 0;
  std::array<double, 4> bbox{};  ///< x, y, width, height in pixels; NaN when the file gives none
  double area = 0;
  bool is_crowd = false;
  bool ignore = false;
  float score = 1.0F;                                 ///< proposals
  SegmentationHandle segmentation = kNoSegmentation;  ///< in the index's `segmentations`, when asked for
  bool has_bbox() const { return bbox[0] == bbox[0]; }
};

/// Images in file order with their annotations in file order; categories in file order.
class AnnotationIndex {
 public:
  std::string source;  ///< the file or folder it was read from, for messages
  std::vector<ImageRecord> images;
  std::vector<Category> categories;
  SegmentationStore segmentations;

  std::span<const Annotation> annotations_of(std::size_t image) const;
  std::size_t annotation_count() const { return annotations_.size(); }
  /// An annotation's mask in an image of the file. Throws Error, naming both, when it has no segmentation, or one of
  /// another size, or the file does not say the image's size.
  formats::Rle mask_of(const ImageRecord& image, const Annotation& annotation) const;
  /// Position among the categories sorted by id, the label of the original's cat_id2label. Throws Error for an unknown
  /// id.
  int label_of(std::int64_t category_id) const;
  /// The category of that id, or null.
  const Category* find_category(std::int64_t category_id) const;
  /// Categories by label, that is sorted by id.
  std::vector<Category> categories_by_label() const;

 private:
  friend class AnnotationIndexBuilder;
  std::vector<Annotation> annotations_;     ///< grouped by image
  std::vector<std::size_t> first_;          ///< images.size() + 1 offsets into annotations_
  std::vector<std::size_t> sorted_labels_;  ///< positions in `categories`, sorted by id
};

/// What to keep besides boxes.
struct ReadOptions {
  bool segmentations = false;  ///< polygons and run lengths
  bool federated = false;  ///< what LVIS says of categories (frequency, images) and of images (absent, not exhaustive)
};

/// COCO or LVIS instances, proposals, region-text files; also image lists without annotations. Keys may come in any
/// order, unknown ones are skipped. An image needs `id` and `file_name` or `coco_url`, an annotation `image_id`, a
/// category `id`; everything else is optional. Of images or categories with the same id the last one counts, in the
/// first one's place. Throws Error naming the key and the entry when something required is missing or of the wrong
/// type, when an annotation belongs to no image, or when there are no images.
AnnotationIndex read_coco(const std::filesystem::path& path, const ReadOptions& options = {});
/// COCO panoptic. Every segment's category must be known, and carry `isthing`.
AnnotationIndex read_coco_panoptic(const std::filesystem::path& path);
/// Every .jpg, .jpeg and .png (in any case) below `folder`, sorted by path; ids count from 0. Links to files are
/// followed, links to folders are not. Throws Error when there are none.
AnnotationIndex read_image_folder(const std::filesystem::path& folder);

/// root / name, for a name found in a file. Throws Error when it is absolute, empty or leads out of the root by "..".
std::filesystem::path resolve_below(const std::filesystem::path& root, const std::string& name);

}  // namespace clipself::datasets
