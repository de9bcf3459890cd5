#include "clipself/datasets/annotations.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/annotations_builder.h"

namespace clipself::datasets {
namespace fs = std::filesystem;

std::span<const Annotation> AnnotationIndex::annotations_of(std::size_t image) const {
  if (image + 1 >= first_.size()) return {};
  return std::span(annotations_).subspan(first_[image], first_[image + 1] - first_[image]);
}

formats::Rle AnnotationIndex::mask_of(const ImageRecord& image, const Annotation& annotation) const {
  const auto said = [&](const std::string& found, const std::string& expected) {
    return Error({.doing = "making the mask of annotation " + std::to_string(annotation.id) + " of image " +
                           std::to_string(image.id) + " in",
                  .where = source,
                  .found = found,
                  .expected = expected});
  };
  if (annotation.segmentation == kNoSegmentation) throw said("no segmentation", "polygons or run lengths");
  if (image.height < 1 || image.width < 1) throw said("an image without a size", "its width and height in pixels");
  try {
    return segmentations.mask(annotation.segmentation, image.height, image.width);
  } catch (const formats::RleError& error) {
    throw said(error.found(), error.expected());
  }
}

int AnnotationIndex::label_of(std::int64_t category_id) const {
  const auto found = std::lower_bound(sorted_labels_.begin(), sorted_labels_.end(), category_id,
                                      [this](std::size_t i, std::int64_t id) { return categories[i].id < id; });
  if (found == sorted_labels_.end() || categories[*found].id != category_id) {
    throw Error({.doing = "looking up a category",
                 .where = source,
                 .found = "id " + std::to_string(category_id),
                 .expected = "one of the file's " + std::to_string(categories.size()) + " categories"});
  }
  return static_cast<int>(found - sorted_labels_.begin());
}

const Category* AnnotationIndex::find_category(std::int64_t category_id) const {
  const auto found = std::lower_bound(sorted_labels_.begin(), sorted_labels_.end(), category_id,
                                      [this](std::size_t i, std::int64_t id) { return categories[i].id < id; });
  return found == sorted_labels_.end() || categories[*found].id != category_id ? nullptr : &categories[*found];
}

std::vector<Category> AnnotationIndex::categories_by_label() const {
  std::vector<Category> sorted;
  sorted.reserve(sorted_labels_.size());
  for (const std::size_t i : sorted_labels_) sorted.push_back(categories[i]);
  return sorted;
}

void AnnotationIndexBuilder::add_image(ImageRecord image) {
  const auto [entry, is_new] = image_positions_.try_emplace(image.id, index_.images.size());
  if (is_new) {
    index_.images.push_back(std::move(image));
  } else {
    index_.images[entry->second] = std::move(image);
  }
}

void AnnotationIndexBuilder::add_category(Category category) {
  const auto [entry, is_new] = category_positions_.try_emplace(category.id, index_.categories.size());
  if (is_new) {
    index_.categories.push_back(std::move(category));
  } else {
    index_.categories[entry->second] = std::move(category);
  }
}

void AnnotationIndexBuilder::add_annotation(std::int64_t image_id, const Annotation& annotation) {
  annotations_.emplace_back(image_id, annotation);
}

void AnnotationIndexBuilder::set_segmentation_file(std::int64_t image_id, std::string name) {
  segmentation_files_[image_id] = std::move(name);
}

AnnotationIndex AnnotationIndexBuilder::finish(const std::string& source) && {
  index_.source = source;
  if (index_.images.empty()) throw Error({.doing = "reading annotations", .where = source, .found = "no images"});
  std::vector<std::size_t> owners;
  owners.reserve(annotations_.size());
  auto& first = index_.first_;
  first.assign(index_.images.size() + 1, 0);
  for (const auto& [image_id, annotation] : annotations_) {
    const auto owner = image_positions_.find(image_id);
    if (owner == image_positions_.end()) {
      throw Error({.doing = "reading annotations",
                   .where = source,
                   .found = "annotation " + std::to_string(annotation.id) + " of image " + std::to_string(image_id),
                   .expected = "an image id that the file's `images` have"});
    }
    owners.push_back(owner->second);
    ++first[owner->second + 1];
  }
  std::partial_sum(first.begin(), first.end(), first.begin());
  auto next = first;
  index_.annotations_.resize(annotations_.size());
  for (std::size_t i = 0; i < owners.size(); ++i) index_.annotations_[next[owners[i]]++] = annotations_[i].second;

  for (auto& [image_id, name] : segmentation_files_) {
    const auto owner = image_positions_.find(image_id);
    if (owner != image_positions_.end()) index_.images[owner->second].segmentation_file = std::move(name);
  }
  auto& labels = index_.sorted_labels_;
  labels.resize(index_.categories.size());
  std::iota(labels.begin(), labels.end(), std::size_t{0});
  std::sort(labels.begin(), labels.end(),
            [this](std::size_t a, std::size_t b) { return index_.categories[a].id < index_.categories[b].id; });
  return std::move(index_);
}

AnnotationIndex read_image_folder(const fs::path& folder) {
  require_folder(folder, "image folder");
  const auto is_image = [](const fs::path& path) {
    std::string extension = path.extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
  };
  std::vector<std::string> names;
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, fs::directory_options::skip_permission_denied, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    std::error_code ignored;
    if (!is_image(entries->path()) || !entries->is_regular_file(ignored)) continue;
    names.push_back(entries->path().lexically_relative(folder).generic_string());
  }
  if (error) throw Error({.doing = "reading image folder", .where = folder.string(), .found = error.message()});
  if (names.empty()) {
    throw Error({.doing = "reading image folder",
                 .where = folder.string(),
                 .found = "no images",
                 .expected = ".jpg, .jpeg or .png files"});
  }
  std::sort(names.begin(), names.end());
  AnnotationIndexBuilder builder;
  std::int64_t id = 0;
  for (auto& name : names) builder.add_image({.id = id++, .file_name = std::move(name), .segmentation_file = {}});
  return std::move(builder).finish(folder.string());
}

fs::path resolve_below(const fs::path& root, const std::string& name) {
  const fs::path relative(name);
  const bool climbs = std::find(relative.begin(), relative.end(), "..") != relative.end();
  if (name.empty() || relative.is_absolute() || climbs || name.find('\0') != std::string::npos) {
    throw Error({.doing = "locating an image below",
                 .where = root.string(),
                 .found = "the file name '" + name + "'",
                 .expected = "a relative path without '..'"});
  }
  return root / relative;
}

}  // namespace clipself::datasets
