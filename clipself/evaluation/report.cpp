// Zero-shot results as JSON for programs and as tables for people.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "clipself/evaluation/text_table.h"
#include "clipself/evaluation/zero_shot.h"

namespace clipself::evaluation {
namespace {

struct Row {
  const char* key;
  const char* title;
};
constexpr std::array<Row, 3> kRows{Row{"rois", "boxes"}, Row{"maskpool", "masks"}, Row{"crops", "crops"}};

std::string percent(const double* value) {
  return value ? fmt::format("{:.1f}", 100.0 * *value) : "-";
}

const double* find(const std::map<std::string, double>& metrics, const std::string& key) {
  const auto it = metrics.find(key);
  return it == metrics.end() ? nullptr : &it->second;
}

std::string class_table(const ZeroShotResult& result) {
  std::size_t width = 5;
  for (const auto& entry : result.classes) width = std::max(width, columns(entry.name));
  std::string text = fmt::format("\n{}  {:<5}  {:>5}", padded("class", width), "kind", "count");
  for (const auto& row : kRows) text += fmt::format("  {:>14}", fmt::format("{} 1/5", row.key));
  text += '\n';
  for (const auto& entry : result.classes) {
    text += fmt::format("{}  {:<5}  {:>5}", padded(entry.name, width), entry.is_thing ? "thing" : "stuff", entry.count);
    for (const auto& row : kRows) {
      const auto it = entry.accuracy.find(row.key);
      const double* values = it == entry.accuracy.end() ? nullptr : it->second.data();
      text += fmt::format("  {:>6}  {:>6}", percent(values), percent(values ? values + 1 : nullptr));
    }
    text += '\n';
  }
  return text;
}

}  // namespace

std::string report_json(const ZeroShotResult& result) {
  nlohmann::ordered_json document;
  document["segments"] = result.labels.numel();
  document["empty_masks"] = result.empty_masks.sum().item<std::int64_t>();
  document["metrics"] = result.metrics;
  auto& classes = document["classes"] = nlohmann::ordered_json::array();
  for (const auto& entry : result.classes)
    classes.push_back({{"label", entry.label},
                       {"name", entry.name},
                       {"kind", entry.is_thing ? "thing" : "stuff"},
                       {"count", entry.count},
                       {"accuracy", entry.accuracy}});
  // A class's name is the data set's; one that is no UTF-8 must not cost the report.
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string report_table(const ZeroShotResult& result, bool per_class) {
  std::string text =
      "mean class accuracy, %   things            stuff\n"
      "                         top-1    top-5    top-1    top-5\n";
  for (const auto& row : kRows) {
    text += fmt::format("{:<23}", row.title);
    for (const char* kind : {"thing", "stuff"})
      for (const int k : {1, 5})
        text += fmt::format("  {:>5}  ", percent(find(result.metrics, fmt::format("{}.{}.macc{}", row.key, kind, k))));
    while (text.back() == ' ') text.pop_back();
    text += '\n';
  }
  const auto things = result.is_thing.sum().item<std::int64_t>();
  text +=
      fmt::format("{} segments: {} things, {} stuff", result.labels.numel(), things, result.labels.numel() - things);
  if (const auto empty = result.empty_masks.sum().item<std::int64_t>(); empty > 0)
    text += fmt::format("; {} with no token under the mask, left out of the masks' row", empty);
  text += '\n';
  if (per_class) text += class_table(result);
  return text;
}

}  // namespace clipself::evaluation
