#include "clipself/evaluation/ap_regions.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "clipself/base/error.h"
#include "clipself/ops/masks.h"

namespace clipself::evaluation {
namespace {

Error said_of(const std::string& source, const std::string& found, const std::string& expected = {}) {
  return Error({.doing = "evaluating detections by", .where = source, .found = found, .expected = expected});
}

/// Sorts `regions` and what stands beside each by class, keeping the order within one, and makes all one class.
template <typename Region, typename Companion>
void join_classes(std::vector<Region>& regions, std::vector<Companion>& companions) {
  std::vector<std::size_t> order(regions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return regions[i].category; });
  std::vector<Region> sorted;
  std::vector<Companion> beside;
  for (const std::size_t i : order) {
    sorted.push_back(regions[i]);
    sorted.back().category = 0;
    beside.push_back(companions[i]);
  }
  regions = std::move(sorted);
  companions = std::move(beside);
}

}  // namespace

ApRegions::ApRegions(const datasets::AnnotationIndex& truth, const Detections& detections, const ApOptions& options)
    : index_(truth),
      detections_(detections),
      kind_(options.regions),
      threads_(options.threads > 0 ? options.threads : at::get_num_threads()) {
  choose_images(options.image_ids);
  choose_categories(options.category_ids);
  take_truths();
  take_detections();
  measure_found(options.area);
}

void ApRegions::choose_images(const std::vector<std::int64_t>& ids) {
  std::set<std::int64_t> chosen(ids.begin(), ids.end());
  for (const auto& image : index_.images) known_images_.insert(image.id);
  for (std::size_t i = 0; i < index_.images.size(); ++i)
    if (ids.empty() || chosen.erase(index_.images[i].id) > 0) image_of_position_.push_back(i);
  if (!chosen.empty()) throw said_of(index_.source, "no image " + std::to_string(*chosen.begin()));
  std::ranges::sort(image_of_position_, {}, [this](std::size_t i) { return index_.images[i].id; });
  for (std::size_t i = 0; i < image_of_position_.size(); ++i)
    position_of_image_[index_.images[image_of_position_[i]].id] = static_cast<int>(i);
}

void ApRegions::choose_categories(const std::vector<std::int64_t>& ids) {
  const std::set<std::int64_t> chosen(ids.begin(), ids.end());
  for (auto& category : index_.categories_by_label()) {
    if (!ids.empty() && !chosen.contains(category.id)) continue;
    position_of_category_[category.id] = static_cast<int>(categories_.size());
    categories_.push_back(std::move(category));
  }
  if (categories_.empty()) throw said_of(index_.source, "no categories");
}

void ApRegions::take_truths() {
  for (std::size_t position = 0; position < image_of_position_.size(); ++position) {
    for (const auto& annotation : index_.annotations_of(image_of_position_[position])) {
      const auto category = position_of_category_.find(annotation.category_id);
      if (category == position_of_category_.end()) continue;
      const bool boxes = kind_ == RegionKind::kBoxes;
      if (boxes ? !annotation.has_bbox() : annotation.segmentation == datasets::kNoSegmentation)
        throw said_of(index_.source,
                      "annotation " + std::to_string(annotation.id) + " without " + (boxes ? "bbox" : "segmentation"),
                      "one in every annotation");
      truths_.push_back({.image = static_cast<int>(position),
                         .category = category->second,
                         .area = annotation.area,
                         .is_crowd = annotation.is_crowd,
                         .ignore = annotation.ignore});
      annotations_.push_back(&annotation);
    }
  }
}

void ApRegions::take_detections() {
  for (std::size_t i = 0; i < detections_.list.size(); ++i) {
    const Detection& detection = detections_.list[i];
    const auto image = position_of_image_.find(detection.image_id);
    const auto category = position_of_category_.find(detection.category_id);
    if (image == position_of_image_.end() || category == position_of_category_.end()) {
      require_known(detection, i);
      continue;
    }
    found_.push_back({.image = image->second, .category = category->second, .score = detection.score});
    sources_.push_back(i);
  }
}

// A detection of an image or a class that was not chosen is left out; but the annotations must have both.
void ApRegions::require_known(const Detection& detection, std::size_t at) const {
  const bool known_image = known_images_.contains(detection.image_id);
  if (known_image && index_.find_category(detection.category_id) != nullptr) return;
  throw said_of(detections_.source,
                (known_image ? "category " + std::to_string(detection.category_id)
                             : "image " + std::to_string(detection.image_id)) +
                    " of detection " + std::to_string(at),
                "one of '" + index_.source + "'");
}

void ApRegions::measure_found(DetectionArea area) {
  constexpr std::int64_t kBlock = 256;
  boxes_from_masks_.resize(detections_.list.size());
  parallel_over(std::ssize(found_), kBlock, threads_, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    const Detection& own = detection(at);
    if (own.has_bbox() && (kind_ == RegionKind::kBoxes || area == DetectionArea::kBox)) {
      found_[at].area = own.bbox[2] * own.bbox[3];
      return;
    }
    const auto pixels = mask(at);
    found_[at].area = static_cast<double>(ops::mask_area(pixels));
    if (!own.has_bbox()) boxes_from_masks_[sources_[at]] = ops::mask_box(pixels);
  });
}

void ApRegions::keep_found(const std::vector<bool>& keep) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < found_.size(); ++i) {
    if (!keep[i]) continue;
    found_[kept] = found_[i];
    sources_[kept++] = sources_[i];
  }
  found_.resize(kept);
  sources_.resize(kept);
}

void ApRegions::join_categories() {
  join_classes(truths_, annotations_);
  join_classes(found_, sources_);
}

Overlaps ApRegions::overlaps() const {
  if (kind_ == RegionKind::kBoxes) {
    return [this](std::span<const std::size_t> found, std::span<const std::size_t> truths, std::span<double> out) {
      std::size_t at = 0;
      for (const std::size_t f : found)
        for (const std::size_t t : truths) out[at++] = ops::box_iou(box(f), annotations_[t]->bbox, truths_[t].is_crowd);
    };
  }
  return [this](std::span<const std::size_t> found, std::span<const std::size_t> truths, std::span<double> out) {
    std::vector<formats::Rle> true_masks;
    std::vector<ops::BoxXywh> true_boxes;
    for (const std::size_t t : truths) {
      true_masks.push_back(index_.mask_of(image(truths_[t].image), *annotations_[t]));
      true_boxes.push_back(ops::mask_box(true_masks.back()));
    }
    std::size_t at = 0;
    for (const std::size_t f : found) {
      const auto pixels = mask(f);
      const auto around = ops::mask_box(pixels);
      for (std::size_t t = 0; t < truths.size(); ++t, ++at) {
        // Masks whose boxes do not touch need no walk over their runs.
        const bool touch = ops::box_iou(around, true_boxes[t], false) > 0;
        out[at] = touch ? ops::mask_iou(pixels, true_masks[t], truths_[truths[t]].is_crowd) : 0;
      }
    }
  };
}

ApResult ApRegions::blank_result(const char* protocol) const {
  ApResult result;
  result.protocol = protocol;
  result.regions = kind_;
  result.images = std::ssize(image_of_position_);
  result.truths = std::ssize(truths_);
  result.detections = std::ssize(found_);
  return result;
}

const std::array<double, 4>& ApRegions::box(std::size_t found) const {
  const Detection& own = detection(found);
  return own.has_bbox() ? own.bbox : boxes_from_masks_[sources_[found]];
}

formats::Rle ApRegions::mask(std::size_t found) const {
  const Detection& own = detection(found);
  const auto& record = image(found_[found].image);
  const auto said = [&](const std::string& what, const std::string& expected) {
    return said_of(detections_.source, what + " at detection " + std::to_string(sources_[found]), expected);
  };
  if (own.segmentation == datasets::kNoSegmentation) throw said("no mask", "a segmentation");
  if (record.height < 1 || record.width < 1)
    throw said("image " + std::to_string(record.id) + " without a size", "its width and height in pixels");
  try {
    return detections_.segmentations.mask(own.segmentation, record.height, record.width);
  } catch (const formats::RleError& error) {
    throw said(error.found(), error.expected());
  }
}

}  // namespace clipself::evaluation
