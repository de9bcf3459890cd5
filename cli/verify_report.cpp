#include "cli/verify_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "clipself/base/progress.h"

namespace clipself::cli::verify {
namespace {

constexpr std::size_t kTensorWidth = 52;
constexpr std::size_t kToleranceWidth = 26;
constexpr std::size_t kFailuresListed = 8;

std::string number(double value) {
  if (value == 0) return "0";
  return std::isfinite(value) ? fmt::format("{:.1e}", value) : "-";
}

std::string row(const std::string& label, std::size_t label_width, const Comparison& c) {
  const bool skipped = c.status == Status::kSkipped;
  auto text = fmt::format("{:<{}}  {:<{}}  {:>8}  {:>8}  {:<{}}  {:<7}  {}", label, label_width, c.tensor, kTensorWidth,
                          skipped ? "" : number(c.absolute), skipped ? "" : number(c.relative), c.tolerance,
                          kToleranceWidth, name(c.status), c.note);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

/// One line for several comparisons: their worst values, and the name of the worst.
Comparison merged(const std::vector<const Comparison*>& members) {
  const auto* worst = *std::max_element(members.begin(), members.end(), [](const auto* a, const auto* b) {
    return std::pair(a->status == Status::kFailed, a->excess) < std::pair(b->status == Status::kFailed, b->excess);
  });
  Comparison result = *worst;
  result.tensor = fmt::format("{} ({})", worst->group, members.size());
  for (const auto* member : members) {
    result.absolute = std::max(result.absolute, member->absolute);
    result.relative = std::max(result.relative, member->relative);
  }
  if (worst->excess > 0) result.note = "worst: " + worst->tensor;
  return result;
}

bool failed(const Case& c) {
  return std::any_of(c.comparisons().begin(), c.comparisons().end(),
                     [](const Comparison& entry) { return entry.status == Status::kFailed; });
}

}  // namespace

std::string table_header(std::size_t label_width) {
  return fmt::format("{:<{}}  {:<{}}  {:>8}  {:>8}  {:<{}}  {}\n", "case", label_width, "tensor", kTensorWidth, "abs",
                     "rel", "tolerance", kToleranceWidth, "result");
}

std::string table_rows(const Case& finished, std::size_t label_width, bool verbose) {
  if (!verbose && !failed(finished) && finished.unreadable().empty() && !finished.comparisons().empty()) {
    std::vector<const Comparison*> all;
    for (const auto& entry : finished.comparisons()) all.push_back(&entry);
    auto line = merged(all);
    line.tensor = counted(std::ssize(all), "comparison");
    return row(finished.label(), label_width, line);
  }
  std::vector<std::string> order;
  std::map<std::string, std::vector<const Comparison*>> groups;
  for (const auto& entry : finished.comparisons()) {
    // A line of its own has no group; its name cannot be a group's, which all end in '*'.
    const auto& key = verbose || entry.group.empty() ? entry.tensor : entry.group;
    if (groups[key].empty()) order.push_back(key);
    groups[key].push_back(&entry);
  }
  std::string text;
  const auto line = [&](const Comparison& c) { text += row(text.empty() ? finished.label() : "", label_width, c); };
  for (const auto& key : order) {
    const auto& members = groups[key];
    if (members.front()->group.empty() || verbose || members.size() == 1) {
      for (const auto* member : members) line(*member);
      continue;
    }
    line(merged(members));
    std::size_t listed = 0, more = 0;
    for (const auto* member : members) {
      if (member->status != Status::kFailed) continue;
      if (listed < kFailuresListed) {
        line(*member);
        ++listed;
      } else {
        ++more;
      }
    }
    if (more > 0)
      line({.group = "",
            .tensor = fmt::format("... and {} more", more),
            .tolerance = "",
            .status = Status::kFailed,
            .note = {}});
  }
  // Each names its case, wherever it stands: such a line must make sense alone.
  for (const auto& message : finished.unreadable())
    text += fmt::format("{:<{}}  cannot be read: {}\n", finished.label(), label_width, message);
  return text;
}

Totals count(const std::vector<Case>& cases) {
  Totals totals;
  for (const auto& c : cases) {
    totals.comparisons += static_cast<std::int64_t>(c.comparisons().size());
    const bool bad = failed(c), unread = !c.unreadable().empty();
    totals.failed += bad ? 1 : 0;
    totals.unreadable += unread ? 1 : 0;
    totals.passed += bad || unread ? 0 : 1;
  }
  return totals;
}

std::string summary(const std::vector<Case>& cases, const std::vector<UnknownCase>& unknown) {
  std::string text;
  double seconds = 0;
  std::vector<std::string> failures, broken, skipped;
  for (const auto& c : cases) {
    seconds += c.seconds;
    if (failed(c)) failures.push_back(c.label());
    if (!c.unreadable().empty()) broken.push_back(c.label());
  }
  for (const auto& c : unknown) skipped.push_back(c.label);
  const auto totals = count(cases);
  text += fmt::format("{} cases, {} comparisons in {}: {} ok, {} failed, {} unreadable\n", cases.size(),
                      totals.comparisons, format_duration(seconds), totals.passed, totals.failed, totals.unreadable);
  if (!failures.empty()) text += fmt::format("failed: {}\n", fmt::join(failures, ", "));
  if (!broken.empty()) text += fmt::format("unreadable: {}\n", fmt::join(broken, ", "));
  if (!skipped.empty()) text += fmt::format("skipped (unknown kind): {}\n", fmt::join(skipped, ", "));
  return text;
}

std::string json_report(const std::vector<Case>& cases, const std::vector<UnknownCase>& unknown) {
  nlohmann::ordered_json document;
  auto& list = document["cases"] = nlohmann::ordered_json::array();
  for (const auto& c : cases) {
    nlohmann::ordered_json entry{{"case", c.label()},
                                 {"kind", c.kind()},
                                 {"result", failed(c)                 ? "FAIL"
                                            : !c.unreadable().empty() ? "unreadable"
                                                                      : "ok"},
                                 {"seconds", c.seconds},
                                 {"errors", c.unreadable()},
                                 {"tensors", nlohmann::ordered_json::array()}};
    for (const auto& t : c.comparisons())
      entry["tensors"].push_back({{"tensor", t.tensor},
                                  {"group", t.group},
                                  {"abs", t.absolute},
                                  {"rel", t.relative},
                                  {"tolerance", t.tolerance},
                                  {"result", name(t.status)},
                                  {"note", t.note}});
    list.push_back(std::move(entry));
  }
  auto& skipped = document["skipped"] = nlohmann::ordered_json::array();
  for (const auto& c : unknown) skipped.push_back({{"case", c.label}, {"reason", "unknown kind"}});
  const auto totals = count(cases);
  document["summary"] = {{"cases", cases.size()},   {"comparisons", totals.comparisons}, {"ok", totals.passed},
                         {"failed", totals.failed}, {"unreadable", totals.unreadable},   {"skipped", unknown.size()}};
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace clipself::cli::verify
