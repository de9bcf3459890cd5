#include "clipself/evaluation/matching.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "clipself/base/error.h"
#include "clipself/base/thread_pool.h"
#include "clipself/evaluation/score_order.h"

namespace clipself::evaluation {
namespace {

/// One bit a threshold.
using Bits = std::uint32_t;
constexpr std::size_t kMostThresholds = 32;

struct Outcome {
  Bits matched = 0;
  Bits ignored = 0;
};

/// What one image has of one category.
struct Group {
  std::span<const std::size_t> truths;
  std::span<const std::size_t> found;  ///< as many as may count; kBestFree: by falling score
  std::size_t outcomes = 0;            ///< where the outcomes of its found regions begin
};

struct CategoryWork {
  std::vector<std::size_t> truths, found;  ///< by image
  std::vector<Group> groups;
  std::vector<Outcome> outcomes;  ///< found x area ranges
};

class Matching {
 public:
  Matching(std::span<const TruthRegion> truths, std::span<const FoundRegion> found, const Overlaps& overlaps,
           const MatchOptions& options)
      : truths_(truths), found_(found), overlaps_(overlaps), options_(options) {}

  void group(CategoryWork& work) const {
    const auto image_of_truth = [this](std::size_t i) { return truths_[i].image; };
    const auto image_of_found = [this](std::size_t i) { return found_[i].image; };
    std::ranges::stable_sort(work.truths, {}, image_of_truth);
    if (options_.rule == MatchRule::kBestOnly) {
      std::ranges::stable_sort(work.found, {}, image_of_found);
    } else {
      std::ranges::stable_sort(work.found, [this](std::size_t a, std::size_t b) {
        const FoundRegion &x = found_[a], &y = found_[b];
        return x.image != y.image ? x.image < y.image : x.score > y.score;
      });
    }
    const auto most = static_cast<std::size_t>(options_.max_found.back());
    std::size_t t = 0, f = 0, outcomes = 0;
    while (t < work.truths.size() || f < work.found.size()) {
      constexpr int kNone = std::numeric_limits<int>::max();
      const int image = std::min(t < work.truths.size() ? image_of_truth(work.truths[t]) : kNone,
                                 f < work.found.size() ? image_of_found(work.found[f]) : kNone);
      const std::size_t first_truth = t, first_found = f;
      while (t < work.truths.size() && image_of_truth(work.truths[t]) == image) ++t;
      while (f < work.found.size() && image_of_found(work.found[f]) == image) ++f;
      Group group{.truths = std::span(work.truths).subspan(first_truth, t - first_truth),
                  .found = std::span(work.found).subspan(first_found, std::min(f - first_found, most)),
                  .outcomes = outcomes};
      outcomes += group.found.size() * options_.area_ranges.size();
      work.groups.push_back(group);
    }
    work.outcomes.resize(outcomes);
  }

  void match(CategoryWork& work, const Group& group) const {
    if (group.found.empty()) return;
    std::vector<double> overlaps(group.found.size() * group.truths.size());
    if (!overlaps.empty()) overlaps_(group.found, group.truths, overlaps);
    for (std::size_t area = 0; area < options_.area_ranges.size(); ++area) {
      const auto outcome = [&](std::size_t i) -> Outcome& {
        return work.outcomes[group.outcomes + i * options_.area_ranges.size() + area];
      };
      if (options_.rule == MatchRule::kBestOnly) {
        match_best_only(group, overlaps, area, outcome);
      } else {
        match_best_free(group, overlaps, area, outcome);
      }
      for (std::size_t i = 0; i < group.found.size(); ++i) {
        const FoundRegion& found = found_[group.found[i]];
        if (found.unjudged || is_outside(found.area, area)) outcome(i).ignored |= ~outcome(i).matched;
      }
    }
  }

  void summarise(const CategoryWork& work, std::size_t category,
                 const std::function<void(const MatchCell&, const MatchCurve&)>& take) const {
    struct Ranked {
      std::size_t outcomes;
      std::int64_t rank;  // in its image
    };
    const std::size_t areas = options_.area_ranges.size(), thresholds = options_.iou_thresholds.size();
    std::vector<Ranked> ranked;
    std::vector<double> scores;
    for (const Group& group : work.groups) {
      for (std::size_t i = 0; i < group.found.size(); ++i) {
        ranked.push_back({group.outcomes + i * areas, static_cast<std::int64_t>(i)});
        scores.push_back(found_[group.found[i]].score);
      }
    }
    const auto order = ordered(scores);
    const Bits all = thresholds == kMostThresholds ? ~Bits{0} : (Bits{1} << thresholds) - 1;

    for (std::size_t area = 0; area < areas; ++area) {
      const std::int64_t truths =
          std::ranges::count_if(work.truths, [&](std::size_t i) { return !is_ignored(truths_[i], area); });
      if (truths == 0) continue;
      for (std::size_t limit = 0; limit < options_.max_found.size(); ++limit) {
        std::vector<MatchCurve> curves(thresholds, MatchCurve{.truths = truths, .false_positives = {}});
        // Most found regions are wrong at every threshold: those are counted once for all.
        std::int64_t wrong_everywhere = 0;
        std::array<std::int64_t, kMostThresholds> wrong{};
        for (const std::size_t next : order) {
          if (ranked[next].rank >= options_.max_found[limit]) continue;
          const Outcome& outcome = work.outcomes[ranked[next].outcomes + area];
          const Bits right = outcome.matched & ~outcome.ignored & all;
          const Bits against = ~outcome.matched & ~outcome.ignored & all;
          if (against == all) {
            ++wrong_everywhere;
            continue;
          }
          for (Bits left = right; left != 0; left &= left - 1) {
            const auto t = static_cast<std::size_t>(std::countr_zero(left));
            curves[t].false_positives.push_back(wrong_everywhere + wrong[t]);
          }
          for (Bits left = against; left != 0; left &= left - 1)
            ++wrong[static_cast<std::size_t>(std::countr_zero(left))];
        }
        for (std::size_t t = 0; t < thresholds; ++t)
          take({.category = category, .area = area, .max_found = limit, .threshold = t}, curves[t]);
      }
    }
  }

 private:
  bool is_outside(double value, std::size_t area) const {
    return value < options_.area_ranges[area][0] || value > options_.area_ranges[area][1];
  }
  bool is_ignored(const TruthRegion& truth, std::size_t area) const {
    return truth.ignore || is_outside(truth.area, area);
  }

  std::vector<std::size_t> ordered(std::span<const double> scores) const {
    return options_.rule == MatchRule::kBestOnly ? numpy_order(scores) : stable_order(scores);
  }

  template <typename OutcomeOf>
  void match_best_free(const Group& group, std::span<const double> overlaps, std::size_t area,
                       const OutcomeOf& outcome) const {
    constexpr double kNearlyOne = 1 - 1e-10;  // so that a threshold of 1 can be met
    const std::size_t count = group.truths.size();
    // Those to ignore come last.
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto first_ignored = static_cast<std::size_t>(
        std::stable_partition(order.begin(), order.end(),
                              [&](std::size_t i) { return !is_ignored(truths_[group.truths[i]], area); }) -
        order.begin());
    std::vector<Bits> taken(count, 0);
    for (std::size_t i = 0; i < group.found.size(); ++i) {
      const auto row = overlaps.subspan(i * count, count);
      const double largest = count == 0 ? 0 : std::ranges::max(row);
      for (std::size_t t = 0; t < options_.iou_thresholds.size(); ++t) {
        double best = std::min(options_.iou_thresholds[t], kNearlyOne);
        if (count == 0 || largest < best) break;  // nor will it reach the next threshold
        const Bits bit = Bits{1} << t;
        std::size_t match = count;
        for (std::size_t j = 0; j < count; ++j) {
          const std::size_t truth = order[j];
          if ((taken[truth] & bit) != 0 && !truths_[group.truths[truth]].is_crowd) continue;
          if (match < first_ignored && j >= first_ignored) break;
          if (row[truth] < best) continue;
          best = row[truth];
          match = j;
        }
        if (match == count) continue;
        taken[order[match]] |= bit;
        outcome(i).matched |= bit;
        if (match >= first_ignored) outcome(i).ignored |= bit;
      }
    }
  }

  template <typename OutcomeOf>
  void match_best_only(const Group& group, std::span<const double> overlaps, std::size_t area,
                       const OutcomeOf& outcome) const {
    const std::size_t count = group.truths.size();
    if (count == 0) return;
    std::vector<Bits> taken(count, 0);
    std::vector<double> scores;
    for (const std::size_t f : group.found) scores.push_back(found_[f].score);
    for (const std::size_t i : ordered(scores)) {
      const auto row = overlaps.subspan(i * count, count);
      const auto best = static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
      for (std::size_t t = 0; t < options_.iou_thresholds.size() && row[best] >= options_.iou_thresholds[t]; ++t) {
        const Bits bit = Bits{1} << t;
        if (is_ignored(truths_[group.truths[best]], area)) {
          outcome(i).ignored |= bit;
        } else if ((taken[best] & bit) == 0) {
          taken[best] |= bit;
          outcome(i).matched |= bit;
        }
      }
    }
  }

  std::span<const TruthRegion> truths_;
  std::span<const FoundRegion> found_;
  const Overlaps& overlaps_;
  const MatchOptions& options_;
};

}  // namespace

void parallel_over(std::int64_t count, std::int64_t block, int threads, const std::function<void(std::int64_t)>& body) {
  std::atomic<std::int64_t> next = 0;
  const auto work = [&] {
    for (std::int64_t first = next.fetch_add(block); first < count; first = next.fetch_add(block))
      for (std::int64_t i = first; i < std::min(first + block, count); ++i) body(i);
  };
  if (threads <= 1 || count <= block) return work();
  std::vector<std::future<void>> done;
  ThreadPool pool(threads);
  for (int i = 0; i < threads; ++i) done.push_back(pool.submit(work));
  for (auto& thread : done) thread.wait();
  for (auto& thread : done) thread.get();
}

void match_regions(std::span<const TruthRegion> truths, std::span<const FoundRegion> found, int categories,
                   const Overlaps& overlaps, const MatchOptions& options,
                   const std::function<void(const MatchCell&, const MatchCurve&)>& take) {
  if (options.iou_thresholds.empty() || options.iou_thresholds.size() > kMostThresholds || options.max_found.empty() ||
      !std::ranges::is_sorted(options.iou_thresholds) || !std::ranges::is_sorted(options.max_found))
    throw Error({.doing = "matching regions",
                 .found = "thresholds or limits that do not rise, none or too many",
                 .expected = "1 to " + std::to_string(kMostThresholds) + " thresholds and at least one limit"});
  std::vector<CategoryWork> work(static_cast<std::size_t>(categories));
  for (std::size_t i = 0; i < truths.size(); ++i)
    work[static_cast<std::size_t>(truths[i].category)].truths.push_back(i);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(found[i].score))
      throw Error({.doing = "matching regions", .found = "a score that is not a number", .expected = "a score"});
    work[static_cast<std::size_t>(found[i].category)].found.push_back(i);
  }
  const Matching matching(truths, found, overlaps, options);
  parallel_over(categories, 1, options.threads,
                [&](std::int64_t i) { matching.group(work[static_cast<std::size_t>(i)]); });
  // One list of all groups: a category may have nearly all of them.
  std::vector<std::pair<CategoryWork*, const Group*>> groups;
  for (CategoryWork& category : work)
    for (const Group& group : category.groups) groups.emplace_back(&category, &group);
  constexpr std::int64_t kBlock = 64;
  parallel_over(std::ssize(groups), kBlock, options.threads, [&](std::int64_t i) {
    const auto& [category, group] = groups[static_cast<std::size_t>(i)];
    matching.match(*category, *group);
  });
  parallel_over(categories, 1, options.threads, [&](std::int64_t i) {
    const auto category = static_cast<std::size_t>(i);
    matching.summarise(work[category], category, take);
  });
}

void interpolate_precision(const MatchCurve& curve, std::span<const double> recalls, double slack,
                           std::span<double> precision) {
  // Precision is largest just at a true positive, so only those need to be looked at.
  const std::size_t hits = curve.false_positives.size();
  std::vector<double> envelope(hits);
  double largest = 0;
  for (std::size_t i = hits; i-- > 0;) {
    const auto right = static_cast<double>(i + 1);
    largest = std::max(largest, right / (static_cast<double>(curve.false_positives[i]) + right + slack));
    envelope[i] = largest;
  }
  std::size_t hit = 0;
  for (std::size_t i = 0; i < recalls.size(); ++i) {
    while (hit < hits && static_cast<double>(hit + 1) / static_cast<double>(curve.truths) < recalls[i]) ++hit;
    precision[i] = hit < hits ? envelope[hit] : 0;
  }
}

double area_under_curve(const MatchCurve& curve) {
  double area = 0, largest = 0;
  for (std::size_t i = curve.false_positives.size(); i-- > 0;) {
    const auto right = static_cast<double>(i + 1);
    largest = std::max(largest, right / (static_cast<double>(curve.false_positives[i]) + right));
    area += largest / static_cast<double>(curve.truths);
  }
  return area;
}

}  // namespace clipself::evaluation
