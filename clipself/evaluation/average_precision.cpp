#include "clipself/evaluation/average_precision.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <unordered_map>

#include "clipself/base/error.h"
#include "clipself/evaluation/ap_regions.h"

namespace clipself::evaluation {
namespace {

constexpr double kNoValue = -1;
constexpr double kNoAp = std::numeric_limits<double>::quiet_NaN();

// COCO's, in pixels.
struct NamedArea {
  const char* name;
  AreaRange range;
};
constexpr double kSmall = 32 * 32, kMedium = 96 * 96, kAnyArea = 1e10;
const std::vector<NamedArea>& named_areas() {
  static const std::vector<NamedArea> areas = {
      {"all", {0, kAnyArea}}, {"small", {0, kSmall}}, {"medium", {kSmall, kMedium}}, {"large", {kMedium, kAnyArea}}};
  return areas;
}

// Evenly from `first` to `last`, both exact: the sums that the references compare with.
std::vector<double> evenly(double first, double last, int count) {
  std::vector<double> values;
  const double step = (last - first) / (count - 1);
  for (int i = 0; i + 1 < count; ++i) values.push_back(i * step + first);
  values.push_back(last);
  return values;
}
const std::vector<double>& coco_thresholds() {
  static const auto values = evenly(0.5, 0.95, 10);
  return values;
}
const std::vector<double>& coco_recalls() {
  static const auto values = evenly(0, 1, 101);
  return values;
}
constexpr std::size_t kIou50 = 0, kIou75 = 5;

/// Precision and recall of all cells, from which COCO's and LVIS's numbers are means.
class Tables {
 public:
  Tables(ApRegions& regions, const MatchOptions& options, int categories) {
    const auto T = std::ssize(options.iou_thresholds), R = std::ssize(coco_recalls()),
               A = std::ssize(options.area_ranges), M = std::ssize(options.max_found);
    precision = at::full({T, R, categories, A, M}, kNoValue, at::kDouble);
    recall = at::full({T, categories, A, M}, kNoValue, at::kDouble);
    truths.assign(static_cast<std::size_t>(categories), 0);
    auto at_precision = precision.accessor<double, 5>();
    auto at_recall = recall.accessor<double, 4>();
    match_regions(
        regions.truths(), regions.found(), categories, regions.overlaps(), options,
        [&](const MatchCell& cell, const MatchCurve& curve) {
          const auto t = static_cast<std::int64_t>(cell.threshold), k = static_cast<std::int64_t>(cell.category),
                     a = static_cast<std::int64_t>(cell.area), m = static_cast<std::int64_t>(cell.max_found);
          std::array<double, 128> values{};
          constexpr double kSlack = std::numeric_limits<double>::epsilon();
          interpolate_precision(curve, coco_recalls(), kSlack, std::span(values).first(coco_recalls().size()));
          for (std::int64_t r = 0; r < R; ++r) at_precision[t][r][k][a][m] = values[static_cast<std::size_t>(r)];
          at_recall[t][k][a][m] = curve.recall();
          if (cell.area == 0) truths[cell.category] = curve.truths;
        });
  }

  at::Tensor precision, recall;
  std::vector<std::int64_t> truths;  ///< of each class, over all areas
};

/// The mean of what there is, else -1.
double mean_of_known(const at::Tensor& values) {
  const auto known = values.masked_select(values > kNoValue);
  return known.numel() == 0 ? kNoValue : known.mean().item<double>();
}

constexpr std::int64_t kAllIous = -1;

/// Makes the lines of a result from tables.
class Summary {
 public:
  Summary(ApResult& result, const std::vector<std::int64_t>& limits) : result_(result), limits_(limits) {}

  void precision(const std::string& key, std::int64_t iou, std::size_t area, std::size_t limit) {
    add(key, iou, area, limit, "all", result_.precision.select(4, static_cast<std::int64_t>(limit)));
  }
  void precision_of(const std::string& key, const std::string& subset, const at::Tensor& classes, std::size_t limit) {
    add(key, kAllIous, 0, limit, subset,
        result_.precision.select(4, static_cast<std::int64_t>(limit)).index_select(2, classes));
  }
  void recall(const std::string& key, std::size_t area, std::size_t limit) {
    add(key, kAllIous, area, limit, "all", result_.recall.select(3, static_cast<std::int64_t>(limit)).unsqueeze(1));
  }
  void classes(std::span<const datasets::Category> categories, const std::vector<std::int64_t>& truths) {
    for (std::size_t k = 0; k < categories.size(); ++k) {
      const auto curves = result_.precision.select(4, -1).select(3, 0).select(2, static_cast<std::int64_t>(k));
      const bool known = truths[k] > 0;
      result_.classes.push_back({.id = categories[k].id,
                                 .name = categories[k].name,
                                 .frequency = categories[k].frequency,
                                 .truths = truths[k],
                                 .ap = known ? curves.mean().item<double>() : kNoAp,
                                 .ap50 = known ? curves[kIou50].mean().item<double>() : kNoAp});
    }
  }

 private:
  // values: (IoU thresholds, recalls, classes, areas)
  void add(const std::string& key, std::int64_t iou, std::size_t area, std::size_t limit, const std::string& subset,
           at::Tensor values) {
    values = values.select(3, static_cast<std::int64_t>(area));
    if (iou != kAllIous) values = values[iou];
    const auto& thresholds = coco_thresholds();
    const std::string range = iou == kAllIous ? fmt::format("{:.2f}:{:.2f}", thresholds.front(), thresholds.back())
                                              : fmt::format("{:.2f}", thresholds[static_cast<std::size_t>(iou)]);
    result_.metrics.push_back({.key = key,
                               .iou = range,
                               .area = named_areas()[area].name,
                               .subset = subset,
                               .max_detections = limits_[limit],
                               .value = mean_of_known(values)});
  }

  ApResult& result_;
  const std::vector<std::int64_t>& limits_;
};

MatchOptions coco_matching(int threads, std::vector<std::int64_t> limits) {
  MatchOptions options{
      .iou_thresholds = coco_thresholds(), .area_ranges = {}, .max_found = std::move(limits), .threads = threads};
  for (const auto& area : named_areas()) options.area_ranges.push_back(area.range);
  return options;
}

std::vector<std::int64_t> checked_limits(std::vector<std::int64_t> limits) {
  std::ranges::sort(limits);
  if (limits.empty() || limits.front() < 1)
    throw Error({.doing = "evaluating detections",
                 .found = "no limit of detections a picture, or one below 1",
                 .expected = "numbers above 0"});
  return limits;
}

void add_areas(Summary& summary, const std::string& prefix, const std::string& suffix, std::size_t limit,
               bool precision) {
  constexpr const char* kLetters = "asml";  // of named_areas()
  for (std::size_t area = 1; area < named_areas().size(); ++area) {
    const std::string key = prefix + kLetters[area] + suffix;
    precision ? summary.precision(key, kAllIous, area, limit) : summary.recall(key, area, limit);
  }
}

}  // namespace

double ApResult::metric(const std::string& key) const {
  const auto found = std::ranges::find(metrics, key, &ApMetric::key);
  if (found == metrics.end()) throw Error({.doing = "looking up a metric", .where = key, .found = "no such metric"});
  return found->value;
}

datasets::AnnotationIndex read_truth(const std::filesystem::path& path, RegionKind regions, bool lvis) {
  auto truth = datasets::read_coco(path, {.segmentations = regions == RegionKind::kMasks, .federated = lvis});
  if (truth.annotation_count() == 0)
    throw Error({.doing = "reading annotations",
                 .where = path.string(),
                 .found = "nothing to be found in any image",
                 .expected = "annotations with boxes, as in COCO's instances_val2017.json"});
  for (std::size_t i = 0; i < truth.images.size(); ++i)
    for (const auto& annotation : truth.annotations_of(i))
      if (annotation.bbox[2] < 0 || annotation.bbox[3] < 0)
        throw Error({.doing = "reading annotations",
                     .where = path.string(),
                     .found = fmt::format("a bbox of {:g} x {:g} pixels in image {}", annotation.bbox[2],
                                          annotation.bbox[3], truth.images[i].id),
                     .expected = "left, top, width and height"});
  return truth;
}

ApResult evaluate_coco(const datasets::AnnotationIndex& truth, const Detections& detections, const ApOptions& options) {
  constexpr std::int64_t kUsualLimit = 100;
  const auto limits = checked_limits(options.max_detections);
  ApRegions regions(truth, detections, options);
  for (TruthRegion& region : regions.truths()) region.ignore = region.is_crowd;
  auto result = regions.blank_result("COCO");
  if (!options.by_class) regions.join_categories();
  const int classes = options.by_class ? static_cast<int>(regions.categories().size()) : 1;
  const Tables tables(regions, coco_matching(regions.threads(), limits), classes);
  result.precision = tables.precision;
  result.recall = tables.recall;

  Summary summary(result, limits);
  const std::size_t last = limits.size() - 1;
  const auto usual = std::ranges::find(limits, kUsualLimit);
  summary.precision("AP", kAllIous, 0, usual == limits.end() ? last : static_cast<std::size_t>(usual - limits.begin()));
  summary.precision("AP50", kIou50, 0, last);
  summary.precision("AP75", kIou75, 0, last);
  add_areas(summary, "AP", "", last, true);
  for (std::size_t m = 0; m < limits.size(); ++m) summary.recall("AR@" + std::to_string(limits[m]), 0, m);
  add_areas(summary, "AR", "", last, false);
  if (options.by_class) summary.classes(regions.categories(), tables.truths);
  return result;
}

ApResult evaluate_lvis(const datasets::AnnotationIndex& truth, const Detections& detections, const ApOptions& options) {
  const auto limits = checked_limits(options.max_detections);
  const std::int64_t most = limits.back();
  ApRegions regions(truth, detections, options);
  for (const auto& category : regions.categories())
    if (category.frequency == '\0')
      throw Error({.doing = "evaluating detections by",
                   .where = truth.source,
                   .found = "category " + std::to_string(category.id) + " without a frequency",
                   .expected = "\"r\", \"c\" or \"f\"; are these annotations LVIS's?"});
  // A crowd is nothing special here.
  for (TruthRegion& region : regions.truths()) region.is_crowd = false;

  // The best of each image over all classes.
  std::vector<std::vector<std::size_t>> by_image(regions.image_count());
  for (std::size_t i = 0; i < regions.found().size(); ++i)
    by_image[static_cast<std::size_t>(regions.found()[i].image)].push_back(i);
  std::vector<bool> keep(regions.found().size(), true);
  for (auto& list : by_image) {
    if (std::ssize(list) <= most) continue;
    std::ranges::stable_sort(list, std::ranges::greater{}, [&](std::size_t i) { return regions.found()[i].score; });
    for (std::size_t i = static_cast<std::size_t>(most); i < list.size(); ++i) keep[list[i]] = false;
  }

  // Of each image: classes that were looked for, and those of which some instances may be missing.
  std::vector<std::set<int>> judged(regions.image_count()), partly(regions.image_count());
  std::unordered_map<std::int64_t, int> label;
  for (std::size_t k = 0; k < regions.categories().size(); ++k) label[regions.categories()[k].id] = static_cast<int>(k);
  const auto add_known = [&](std::set<int>& into, const std::vector<std::int64_t>& ids) {
    for (const std::int64_t id : ids)
      if (const auto known = label.find(id); known != label.end()) into.insert(known->second);
  };
  for (std::size_t i = 0; i < judged.size(); ++i) {
    const auto& image = regions.image(static_cast<int>(i));
    add_known(judged[i], image.negative_categories);
    add_known(partly[i], image.not_exhaustive_categories);
  }
  for (const TruthRegion& region : regions.truths())
    judged[static_cast<std::size_t>(region.image)].insert(region.category);
  for (std::size_t i = 0; i < regions.found().size(); ++i) {
    FoundRegion& region = regions.found()[i];
    const auto image = static_cast<std::size_t>(region.image);
    if (!judged[image].contains(region.category)) keep[i] = false;
    region.unjudged = partly[image].contains(region.category);
  }
  regions.keep_found(keep);

  auto result = regions.blank_result("LVIS");
  result.detections = std::ssize(detections.list);
  const std::vector<std::int64_t> limit{most};
  const Tables tables(regions, coco_matching(regions.threads(), limit), static_cast<int>(regions.categories().size()));
  result.precision = tables.precision;
  result.recall = tables.recall;

  Summary summary(result, limit);
  summary.precision("AP", kAllIous, 0, 0);
  summary.precision("AP50", kIou50, 0, 0);
  summary.precision("AP75", kIou75, 0, 0);
  add_areas(summary, "AP", "", 0, true);
  for (const auto& [letter, name] : {std::pair{'r', "rare"}, {'c', "common"}, {'f', "frequent"}}) {
    std::vector<std::int64_t> members;
    for (std::size_t k = 0; k < regions.categories().size(); ++k)
      if (regions.categories()[k].frequency == letter) members.push_back(static_cast<std::int64_t>(k));
    summary.precision_of(std::string("AP") + letter, name, at::tensor(members, at::kLong), 0);
  }
  const std::string suffix = "@" + std::to_string(most);
  summary.recall("AR" + suffix, 0, 0);
  add_areas(summary, "AR", suffix, 0, false);
  summary.classes(regions.categories(), tables.truths);
  return result;
}

SplitAp split_ap(const ApResult& result, const std::vector<std::string>& base, const std::vector<std::string>& novel) {
  const auto mean_over = [&](const auto& belongs) {
    double sum = 0;
    int known = 0;
    for (const ClassAp& entry : result.classes) {
      if (std::isnan(entry.ap50) || !belongs(entry.name)) continue;
      sum += entry.ap50;
      ++known;
    }
    return known == 0 ? kNoAp : sum / known;
  };
  const auto listed = [](const std::vector<std::string>& names) {
    return [set = std::set<std::string>(names.begin(), names.end())](const std::string& name) {
      return set.contains(name);
    };
  };
  return {.base = mean_over(listed(base)), .novel = mean_over(listed(novel)), .all = mean_over([](const std::string&) {
                                                                                return true;
                                                                              })};
}

}  // namespace clipself::evaluation
