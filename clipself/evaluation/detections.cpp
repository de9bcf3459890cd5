#include "clipself/evaluation/detections.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "clipself/base/file.h"
#include "clipself/datasets/json_walker.h"

namespace clipself::evaluation {
namespace {

namespace json = simdjson::ondemand;

class DetectionWalker : private datasets::JsonWalker {
 public:
  DetectionWalker(const std::filesystem::path& path, const datasets::AnnotationIndex& truth, RegionKind kind)
      : JsonWalker(path, "reading detections"), truth_(truth), kind_(kind) {
    images_.reserve(truth.images.size());
    for (const auto& image : truth.images) images_.insert(image.id);
  }

  Detections read() {
    detections_.source = path_.string();
    walk([this](json::document& document) {
      json::array array;
      if (datasets::is_other_type(document.get_array().get(array)))
        fail(datasets::describe(document.type()), "an array of results");
      each_of(array, [this](object result) { entry(result); });
      entry_ = -1;
    });
    return std::move(detections_);
  }

 private:
  void entry(object result) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    Detection detection;
    detection.bbox.fill(kNaN);
    bool has_image = false, has_category = false, has_score = false;
    const std::size_t masks = detections_.segmentations.bytes();
    for (auto field : result) {
      const key key = field.key();
      if (is(key, "image_id")) {
        detection.image_id = integer(field.value());
        if (!images_.contains(detection.image_id)) unknown(detection.image_id, "image", truth_.images.size());
        has_image = true;
      } else if (is(key, "category_id")) {
        detection.category_id = integer(field.value());
        if (truth_.find_category(detection.category_id) == nullptr)
          unknown(detection.category_id, "category", truth_.categories.size());
        has_category = true;
      } else if (is(key, "score")) {
        detection.score = number(field.value(), kNaN);
        if (!std::isfinite(detection.score)) fail(std::to_string(detection.score), "a number");
        has_score = true;
      } else if (is(key, "bbox")) {
        detection.bbox = box(field.value(), /*may_be_empty=*/true);  // some writers leave boxes out so
        if (detection.bbox[2] < 0 || detection.bbox[3] < 0)
          fail(fmt::format("{:g} x {:g} pixels", detection.bbox[2], detection.bbox[3]),
               "left, top, width and height; are these two corners?");
      } else if (is(key, "segmentation")) {
        value region = field.value();
        if (kind_ == RegionKind::kBoxes && detection.has_bbox()) continue;
        detection.segmentation = segmentation(region, detections_.segmentations);
      }
    }
    if (!has_image) fail_missing("image_id", "an integer");
    if (!has_category) fail_missing("category_id", "an integer");
    if (!has_score) fail_missing("score", "a number");
    if (kind_ == RegionKind::kMasks && detection.segmentation == datasets::kNoSegmentation)
      fail_missing("segmentation", "a mask; are these results of boxes only?");
    if (kind_ == RegionKind::kBoxes && !detection.has_bbox() && detections_.segmentations.bytes() == masks)
      fail_missing("bbox", "a box, or a mask to take it from");
    detections_.list.push_back(detection);
  }

  [[noreturn]] void unknown(std::int64_t id, const std::string& what, std::size_t known) const {
    fail(std::to_string(id), "the id of one of the " + std::to_string(known) +
                                 (what == "image" ? " images" : " categories") + " of '" + truth_.source + "'");
  }

  const datasets::AnnotationIndex& truth_;
  RegionKind kind_;
  std::unordered_set<std::int64_t> images_;
  Detections detections_;
};

}  // namespace

const char* name(RegionKind kind) {
  return kind == RegionKind::kBoxes ? "bbox" : "segm";
}

Detections read_detections(const std::filesystem::path& path, const datasets::AnnotationIndex& truth, RegionKind kind) {
  return DetectionWalker(path, truth, kind).read();
}

void write_detections(const std::filesystem::path& path, const Detections& detections) {
  AtomicFile file(path);
  std::string text = "[";
  const auto flush = [&] {
    file.write(text);
    text.clear();
  };
  for (const auto& detection : detections.list) {
    text += fmt::format("{}{{\"image_id\": {}, \"category_id\": {}, \"score\": {:.9g}", text == "[" ? "\n" : ",\n",
                        detection.image_id, detection.category_id, detection.score);
    if (detection.has_bbox()) {
      const auto& box = detection.bbox;
      text += fmt::format(", \"bbox\": [{:.9g}, {:.9g}, {:.9g}, {:.9g}]", box[0], box[1], box[2], box[3]);
    }
    if (detection.segmentation != datasets::kNoSegmentation) {
      const auto rle = detections.segmentations.rle(detection.segmentation);
      std::string counts;  // its one character that JSON escapes
      for (const char c : formats::rle_text(rle)) counts += c == '\\' ? std::string("\\\\") : std::string(1, c);
      text +=
          fmt::format(", \"segmentation\": {{\"size\": [{}, {}], \"counts\": \"{}\"}}", rle.height, rle.width, counts);
    }
    text += "}";
    if (text.size() > (1U << 20U)) flush();
  }
  text += "\n]\n";
  flush();
  file.commit();
}

Detections gather(Detections mine, const std::vector<std::int64_t>& order, distributed::Processes& processes) {
  if (processes.size() == 1) return mine;
  // An image, a category, how many counts its mask has (-1: no mask), and then the masks one after another: height,
  // width, counts.
  constexpr int kNumbers = 3, kMeasures = 5;
  std::vector<std::int64_t> numbers, runs;
  std::vector<double> measures;
  for (const auto& detection : mine.list) {
    std::int64_t counts = -1;
    if (detection.segmentation != datasets::kNoSegmentation) {
      const auto rle = mine.segmentations.rle(detection.segmentation);
      counts = std::ssize(rle.counts);
      runs.insert(runs.end(), {rle.height, rle.width});
      runs.insert(runs.end(), rle.counts.begin(), rle.counts.end());
    }
    numbers.insert(numbers.end(), {detection.image_id, detection.category_id, counts});
    measures.push_back(detection.score);
    measures.insert(measures.end(), detection.bbox.begin(), detection.bbox.end());
  }
  const auto all_numbers = processes.gather_rows(at::tensor(numbers, at::kLong).view({-1, kNumbers}));
  const auto all_measures = processes.gather_rows(at::tensor(measures, at::kDouble).view({-1, kMeasures}));
  const auto all_runs = processes.gather_rows(at::tensor(runs, at::kLong));
  const auto* number = all_numbers.const_data_ptr<std::int64_t>();
  const auto* measure = all_measures.const_data_ptr<double>();
  const auto* run = all_runs.const_data_ptr<std::int64_t>();

  Detections all{.source = mine.source, .list = {}, .segmentations = {}};
  for (std::int64_t i = 0; i < all_numbers.size(0); ++i, number += kNumbers, measure += kMeasures) {
    Detection detection{.image_id = number[0], .category_id = number[1], .score = measure[0]};
    std::copy(measure + 1, measure + kMeasures, detection.bbox.begin());
    if (number[2] >= 0) {
      formats::Rle rle{.height = run[0], .width = run[1]};
      for (std::int64_t k = 0; k < number[2]; ++k) rle.counts.push_back(static_cast<std::uint32_t>(run[2 + k]));
      run += 2 + number[2];
      detection.segmentation = all.segmentations.add(rle);
    }
    all.list.push_back(detection);
  }
  std::unordered_map<std::int64_t, std::size_t> place;
  for (std::size_t i = 0; i < order.size(); ++i) place.emplace(order[i], i);
  std::ranges::stable_sort(all.list, {}, [&](const Detection& detection) { return place.at(detection.image_id); });
  return all;
}

}  // namespace clipself::evaluation
