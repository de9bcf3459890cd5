#include "clipself/datasets/detection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "clipself/base/error.h"

namespace clipself::datasets {
namespace {

// A sample is redrawn this often before the data set is given up as one of invisible things.
constexpr int kMostRedraws = 1000;

[[noreturn]] void refuse_detection(const std::string& where, const std::string& found, const std::string& expected) {
  throw Error({.doing = "setting up detection data", .where = where, .found = found, .expected = expected});
}

void check(const DetectionOptions& options) {
  if (options.image_size < 1)
    refuse_detection("image size", std::to_string(options.image_size), "a positive number of pixels");
  if (!(options.min_ratio > 0 && options.min_ratio <= options.max_ratio && options.max_ratio <= 100))
    refuse_detection("ratio range", fmt::format("{}..{}", options.min_ratio, options.max_ratio),
                     "0 < smallest <= largest <= 100");
  if (!(options.flip_probability >= 0 && options.flip_probability <= 1))
    refuse_detection("flip probability", fmt::format("{}", options.flip_probability), "0 to 1");
}

/// The picture as its annotations see it: a photo whose sides they give unturned is not turned.
formats::Image read_rgb(const std::filesystem::path& root, const ImageRecord& record, bool apply_exif_orientation) {
  const auto path = resolve_below(root, record.file_name);
  const auto read = [&](bool turn) {
    return formats::to_rgb(formats::read_image(path, {.apply_exif_orientation = turn}));
  };
  const auto fits = [&](const formats::Image& image) {
    return record.width < 1 || record.height < 1 || (image.width == record.width && image.height == record.height);
  };
  auto image = read(apply_exif_orientation);
  if (fits(image)) return image;
  if (apply_exif_orientation)
    if (auto unturned = read(false); fits(unturned)) return unturned;
  throw Error({.doing = "reading image",
               .where = path.string(),
               .found = fmt::format("{} x {} pixels", image.width, image.height),
               .expected = fmt::format("{} x {}, as its annotations say", record.width, record.height)});
}

}  // namespace

CategoryLabels::CategoryLabels(const AnnotationIndex& index, const std::vector<std::string>& names) {
  const std::unordered_set<std::string> wanted(names.begin(), names.end());
  for (const Category& category : index.categories) {
    if (!names.empty() && !wanted.contains(category.name)) continue;
    labels_.emplace(category.id, static_cast<std::int64_t>(categories_.size()));
    categories_.push_back(category);
  }
  if (!categories_.empty()) return;
  refuse_detection(index.source, fmt::format("{} categories, none of the classes", index.categories.size()),
                   names.empty() ? "categories" : fmt::format("'{}' or another class", names.front()));
}

std::optional<std::int64_t> CategoryLabels::label(std::int64_t category_id) const {
  const auto found = labels_.find(category_id);
  return found == labels_.end() ? std::nullopt : std::optional(found->second);
}

DetectionDataset::DetectionDataset(AnnotationIndex index, std::filesystem::path image_root, DetectionOptions options)
    : index_(std::move(index)),
      image_root_(std::move(image_root)),
      options_(std::move(options)),
      classes_(index_, options_.class_names) {
  check(options_);
  std::int64_t things = 0;
  for (std::size_t i = 0; i < index_.images.size(); ++i) {
    const ImageRecord& image = index_.images[i];
    const auto annotations = index_.annotations_of(i);
    const auto wanted = [&](const Annotation& a) { return classes_.label(a.category_id).has_value(); };
    if (!std::any_of(annotations.begin(), annotations.end(), wanted)) continue;
    if (image.width < 1 || image.height < 1)
      refuse_detection(index_.source, fmt::format("image {} without width and height", image.id), "both");
    if (std::min(image.width, image.height) < options_.min_side) continue;
    // What is wrong with an annotation is said now, not in the middle of a run.
    things += detection_objects(index_, i, classes_).labels.numel();
    const int group = image.width > image.height ? 1 : 0;
    groups_[static_cast<std::size_t>(group)].push_back(size());
    group_of_.push_back(group);
    chosen_.push_back(i);
  }
  if (chosen_.empty()) {
    refuse_detection(
        index_.source, "no images to train on",
        fmt::format("images with annotations of the classes and sides of at least {} pixels", options_.min_side));
  }
  if (things == 0)
    refuse_detection(index_.source, "no boxes to train on",
                     "annotations of the classes with an area above 0 and sides of at least 1");
}

std::optional<Sample> DetectionDataset::try_get(std::int64_t index, Rng& rng) const {
  const std::size_t place = position(index);
  const ImageRecord& record = index_.images[place];
  const formats::Image image = read_rgb(image_root_, record, options_.apply_exif_orientation);
  const auto objects = detection_objects(index_, place, classes_, options_.masks);
  auto sample =
      augment(image, objects, draw_augmentation(image.width, image.height, options_, rng), options_.image_size);
  if (sample) sample->image_id = record.id;
  return sample;
}

Sample DetectionDataset::get(std::int64_t index, Rng& rng) const {
  const auto& others = groups_[static_cast<std::size_t>(group(index))];
  for (int i = 0; i < kMostRedraws; ++i) {
    if (auto sample = try_get(index, rng)) return *std::move(sample);
    index = others[rng.below(others.size())];
  }
  throw Error({.doing = "drawing a training sample",
               .where = index_.source,
               .found = fmt::format("nothing visible left in {} pictures", kMostRedraws),
               .expected = "things larger than a pixel"});
}

DetectionImage detection_image(const formats::Image& image, int image_size) {
  const auto [width, height] = ops::rescale_size(image.width, image.height, image_size, image_size);
  const auto resized = ops::resize_bilinear_opencv(image, width, height);
  DetectionImage out;
  out.image = place_in_square(resized, image_size, /*flip=*/false);
  out.original = {image.height, image.width};
  out.content = {height, width};
  const auto across = static_cast<float>(static_cast<double>(width) / image.width);
  const auto down = static_cast<float>(static_cast<double>(height) / image.height);
  out.scale_factor = {across, down, across, down};
  return out;
}

DetectionTestDataset::DetectionTestDataset(std::shared_ptr<const AnnotationIndex> index,
                                           std::filesystem::path image_root, int image_size,
                                           bool apply_exif_orientation)
    : index_(std::move(index)),
      image_root_(std::move(image_root)),
      image_size_(image_size),
      apply_exif_orientation_(apply_exif_orientation) {
  check({.image_size = image_size, .class_names = {}});
}

DetectionImage DetectionTestDataset::get(std::int64_t index) const {
  const ImageRecord& record = index_->images.at(static_cast<std::size_t>(index));
  DetectionImage image = detection_image(read_rgb(image_root_, record, apply_exif_orientation_), image_size_);
  image.image_id = record.id;
  image.index = index;
  return image;
}

}  // namespace clipself::datasets
