// A COCO- or LVIS-format file cut down to some of its classes: the annotation files of open-vocabulary detection.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "clipself/base/file.h"
#include "clipself/datasets/annotations.h"

namespace clipself::datasets {

struct CocoFilter {
  std::function<bool(const Category&)> keep_category;     ///< which categories the file goes on to list
  std::function<bool(const Category&)> keep_annotations;  ///< of which of those the annotations stay
  std::vector<std::string> required;                      ///< names that must be among the file's categories
  bool keep_empty_images = false;                         ///< also images that no annotation is left of
};

struct KeptCount {
  std::int64_t kept = 0, found = 0;
};

struct CocoFilterResult {
  KeptCount images, annotations, categories;
  std::vector<Category> listed;                              ///< the categories that stay, with LVIS's frequency
  std::vector<std::string> categories_json;                  ///< as the file writes them
  std::unordered_map<std::int64_t, std::int64_t> images_of;  ///< by category, in how many images it is still annotated
};

/// Copies what stays of `in` to `out`, uncommitted, entry by entry as it is written there and in the same order; other
/// parts of the file (info, licenses) are copied. The file is read twice and never held in memory. Throws Error naming
/// the key and entry when `images`, `annotations` or `categories` is missing or twice there, when an entry lacks an id,
/// name, image_id or category_id, when an annotation is of an unknown image or category, when one of the required
/// categories is missing, and when nothing is left.
CocoFilterResult filter_coco(const std::filesystem::path& in, AtomicFile& out, const CocoFilter& filter);

}  // namespace clipself::datasets
