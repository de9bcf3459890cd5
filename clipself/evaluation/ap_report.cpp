// Average precision as JSON for programs and as tables for people.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "clipself/evaluation/average_precision.h"
#include "clipself/evaluation/text_table.h"

namespace clipself::evaluation {
namespace {

using ApJson = nlohmann::ordered_json;

// -1 and NaN both say that there was nothing to measure by.
bool is_known(double value) {
  return value >= 0;
}
ApJson number_or_null(double value) {
  return is_known(value) ? ApJson(value) : ApJson(nullptr);
}
std::string ap_percent(double value) {
  return is_known(value) ? fmt::format("{:.1f}", 100 * value) : "-";
}

std::string class_rows(const ApResult& result) {
  std::vector<ClassAp> entries = result.classes;
  std::size_t width = 5;
  for (const auto& entry : entries) width = std::max(width, columns(entry.name));
  const bool has_frequency = std::ranges::any_of(entries, [](const ClassAp& entry) { return entry.frequency != '\0'; });
  const bool has_ap50 = result.protocol != "VOC";
  std::string text = fmt::format("\n{}  {}{:>7}  {:>6}{}\n", padded("class", width), has_frequency ? "group  " : "",
                                 "truths", "AP", has_ap50 ? "    AP50" : "");
  for (const auto& entry : entries) {
    text += padded(entry.name, width) + "  ";
    if (has_frequency) text += fmt::format("{:<7}", entry.frequency == '\0' ? '-' : entry.frequency);
    text += fmt::format("{:>7}  {:>6}", entry.truths, ap_percent(entry.ap));
    if (has_ap50) text += fmt::format("  {:>6}", ap_percent(entry.ap50));
    text += '\n';
  }
  return text;
}

}  // namespace

std::string report_json(const ApResult& result) {
  ApJson document;
  document["protocol"] = result.protocol;
  document["iou_type"] = name(result.regions);
  document["images"] = result.images;
  document["truths"] = result.truths;
  document["detections"] = result.detections;
  auto& metrics = document["metrics"] = ApJson::object();
  for (const auto& metric : result.metrics) metrics[metric.key] = number_or_null(metric.value);
  if (result.split)
    document["ap50"] = {{"base", number_or_null(result.split->base)},
                        {"novel", number_or_null(result.split->novel)},
                        {"all", number_or_null(result.split->all)}};
  auto& classes = document["classes"] = ApJson::array();
  for (const auto& entry : result.classes) {
    ApJson row = {{"id", entry.id}, {"name", entry.name}, {"truths", entry.truths}, {"AP", number_or_null(entry.ap)}};
    if (result.protocol != "VOC") row["AP50"] = number_or_null(entry.ap50);
    if (entry.frequency != '\0') row["frequency"] = std::string(1, entry.frequency);
    classes.push_back(std::move(row));
  }
  // A class's name is the data set's; one that is no UTF-8 must not cost the report.
  return document.dump(2, ' ', false, ApJson::error_handler_t::replace) + "\n";
}

std::string report_table(const ApResult& result, bool per_class) {
  std::string text = fmt::format("{} average precision of {}, %\n", result.protocol,
                                 result.regions == RegionKind::kBoxes ? "boxes" : "masks");
  const bool has_limits = std::ranges::any_of(result.metrics, [](const ApMetric& m) { return m.max_detections > 0; });
  text += fmt::format("{:<8}  {:<9}  {:<6}  {:<8}  {}{:>6}\n", "", "IoU", "area", "classes",
                      has_limits ? "detections  " : "", "");
  for (const auto& metric : result.metrics) {
    text += fmt::format("{:<8}  {:<9}  {:<6}  {:<8}  ", metric.key, metric.iou, metric.area, metric.subset);
    if (has_limits) text += fmt::format("{:>10}  ", metric.max_detections);
    text += fmt::format("{:>6}\n", ap_percent(metric.value));
  }
  if (result.split)
    text += fmt::format("AP50 of base classes {}, novel {}, all {}\n", ap_percent(result.split->base),
                        ap_percent(result.split->novel), ap_percent(result.split->all));
  text += fmt::format("{} images, {} true regions, {} detections\n", result.images, result.truths, result.detections);
  if (per_class && !result.classes.empty()) text += class_rows(result);
  return text;
}

}  // namespace clipself::evaluation
