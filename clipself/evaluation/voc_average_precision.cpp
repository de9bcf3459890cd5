// Average precision as Pascal VOC measures it.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "clipself/evaluation/ap_regions.h"

namespace clipself::evaluation {
namespace {

constexpr double kNoVocAp = std::numeric_limits<double>::quiet_NaN();

}  // namespace

ApResult evaluate_voc(const datasets::AnnotationIndex& truth, const Detections& detections, const VocOptions& options) {
  const ApOptions boxes{.category_ids = options.category_ids, .threads = options.threads};
  ApRegions regions(truth, detections, boxes);
  for (TruthRegion& region : regions.truths()) region.ignore = region.ignore || region.is_crowd;
  auto result = regions.blank_result("VOC");
  const float last_pixel = options.legacy_pixels ? 1.F : 0.F;
  const auto corners = [](const std::array<double, 4>& box) {
    return std::array{static_cast<float>(box[0]), static_cast<float>(box[1]), static_cast<float>(box[0] + box[2]),
                      static_cast<float>(box[1] + box[3])};
  };
  const auto area = [&](const std::array<float, 4>& box) {
    return (box[2] - box[0] + last_pixel) * (box[3] - box[1] + last_pixel);
  };
  const Overlaps overlaps = [&](std::span<const std::size_t> found, std::span<const std::size_t> truths,
                                std::span<double> out) {
    std::size_t at = 0;
    for (const std::size_t f : found) {
      const auto a = corners(regions.box(f));
      for (const std::size_t t : truths) {
        constexpr float kLeastUnion = 1e-6F;
        const auto b = corners(regions.annotation(t).bbox);
        const float width = std::max(std::min(a[2], b[2]) - std::max(a[0], b[0]) + last_pixel, 0.F);
        const float height = std::max(std::min(a[3], b[3]) - std::max(a[1], b[1]) + last_pixel, 0.F);
        const float both = width * height;
        out[at++] = both / std::max(area(a) + area(b) - both, kLeastUnion);
      }
    }
  };
  const auto& categories = regions.categories();
  for (const auto& category : categories)
    result.classes.push_back({.id = category.id, .name = category.name, .ap = kNoVocAp, .ap50 = kNoVocAp});
  const MatchOptions matching{
      .rule = MatchRule::kBestOnly,
      .iou_thresholds = {options.iou_threshold},
      .area_ranges = {{-std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()}},
      .max_found = {std::numeric_limits<std::int64_t>::max()},
      .threads = regions.threads()};
  std::vector<double> points;
  for (int i = 0; i <= 10; ++i) points.push_back(i * 0.1);
  match_regions(regions.truths(), regions.found(), static_cast<int>(categories.size()), overlaps, matching,
                [&](const MatchCell& cell, const MatchCurve& curve) {
                  ClassAp& entry = result.classes[cell.category];
                  entry.truths = curve.truths;
                  if (options.eleven_points) {
                    std::vector<double> precision(points.size());
                    interpolate_precision(curve, points, 0, precision);
                    double sum = 0;
                    for (const double value : precision) sum += value;
                    entry.ap = sum / static_cast<double>(points.size());
                  } else {
                    entry.ap = area_under_curve(curve);
                  }
                });
  double sum = 0;
  int known = 0;
  for (ClassAp& entry : result.classes) {
    if (entry.truths == 0) continue;
    if (options.iou_threshold == 0.5) entry.ap50 = entry.ap;
    sum += entry.ap;
    ++known;
  }
  result.metrics.push_back({.key = "mAP",
                            .iou = fmt::format("{:.2f}", options.iou_threshold),
                            .area = "all",
                            .subset = "all",
                            .value = known == 0 ? -1 : sum / known});
  return result;
}

}  // namespace clipself::evaluation
