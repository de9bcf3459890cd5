#include "clipself/evaluation/matching.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "clipself/base/error.h"
#include "clipself/evaluation/score_order.h"

namespace clipself::evaluation {
namespace {

constexpr AreaRange kAny{0, 1e10};

// Overlaps by a table: found x truths, in the order of the lists.
Overlaps table(std::vector<std::vector<double>> rows) {
  return [rows = std::move(rows)](std::span<const std::size_t> found, std::span<const std::size_t> truths,
                                  std::span<double> out) {
    std::size_t at = 0;
    for (const std::size_t f : found)
      for (const std::size_t t : truths) out[at++] = rows[f][t];
  };
}

std::map<std::size_t, MatchCurve> curves(std::span<const TruthRegion> truths, std::span<const FoundRegion> found,
                                         const Overlaps& overlaps, MatchOptions options) {
  if (options.iou_thresholds.empty()) options.iou_thresholds = {0.5};
  if (options.area_ranges.empty()) options.area_ranges = {kAny};
  if (options.max_found.empty()) options.max_found = {100};
  std::map<std::size_t, MatchCurve> result;
  match_regions(truths, found, 1, overlaps, options, [&](const MatchCell& cell, const MatchCurve& curve) {
    result[cell.threshold + 10 * cell.max_found + 100 * cell.area] = curve;
  });
  return result;
}

using Falses = std::vector<std::int64_t>;

TEST(Matching, GivesATrueRegionToTheBestScoreAndOnlyOnce) {
  const std::vector<TruthRegion> truths(2);
  const std::vector<FoundRegion> found{{.score = 0.5}, {.score = 0.9}, {.score = 0.7}};
  // The best takes truth 0; the second would like it too and settles for truth 1; the third finds none.
  const auto result = curves(truths, found, table({{0.9, 0.6}, {0.8, 0}, {0.9, 0.6}}), {});
  EXPECT_EQ(result.at(0).truths, 2);
  EXPECT_EQ(result.at(0).false_positives, (Falses{0, 0}));
  EXPECT_EQ(result.at(0).recall(), 1);
  const auto voc = curves(truths, found, table({{0.9, 0.6}, {0.8, 0}, {0.9, 0.6}}), {.rule = MatchRule::kBestOnly});
  EXPECT_EQ(voc.at(0).false_positives, (Falses{0})) << "the best overlap is taken: wrong";
}

TEST(Matching, CountsNeitherWayWhatMatchesAnIgnoredRegion) {
  std::vector<TruthRegion> truths(2);
  truths[0].ignore = true;
  const std::vector<FoundRegion> found{{.score = 0.9}, {.score = 0.8}, {.score = 0.7}};
  const auto rows = std::vector<std::vector<double>>{{0.9, 0.5}, {0.8, 0.0}, {0.7, 0.0}};
  // The first prefers the region that counts, though the ignored one overlaps more; of the others one is ignored, and
  // one is wrong unless the region is a crowd.
  EXPECT_EQ(curves(truths, found, table(rows), {}).at(0).false_positives, (Falses{0}));
  const std::vector<FoundRegion> late{{.score = 0.1}, {.score = 0.8}, {.score = 0.7}};
  EXPECT_EQ(curves(truths, late, table(rows), {}).at(0).false_positives, (Falses{1}));
  truths[0].is_crowd = true;
  EXPECT_EQ(curves(truths, late, table(rows), {}).at(0).false_positives, (Falses{0}));
}

TEST(Matching, LeavesOutWhatIsOfAnotherSizeAndUnjudged) {
  std::vector<TruthRegion> truths(1);
  truths[0].area = 50;
  std::vector<FoundRegion> found{{.score = 0.9, .area = 500}, {.score = 0.8, .area = 50}, {.score = 0.7, .area = 500}};
  const auto rows = std::vector<std::vector<double>>{{0}, {0}, {0.9}};
  const MatchOptions options{.area_ranges = {kAny, {0, 100}, {100, 1e10}}};
  const auto result = curves(truths, found, table(rows), options);
  EXPECT_EQ(result.at(0).false_positives, (Falses{2}));
  EXPECT_EQ(result.at(100).false_positives, (Falses{1})) << "of another size, but it matches";
  EXPECT_FALSE(result.contains(200)) << "no true region of that size";
  found[0].unjudged = found[2].unjudged = true;
  EXPECT_EQ(curves(truths, found, table(rows), options).at(0).false_positives, (Falses{1}));
}

TEST(Matching, LooksAtTheBestOfAnImageOnly) {
  const std::vector<TruthRegion> truths{{.image = 0}, {.image = 1}};
  const std::vector<FoundRegion> found{
      {.image = 0, .score = 0.9}, {.image = 0, .score = 0.8}, {.image = 1, .score = 0.7}};
  const auto rows = std::vector<std::vector<double>>{{0, 0}, {1, 0}, {0, 1}};
  const auto result = curves(truths, found, table(rows), {.max_found = {1, 2}});
  EXPECT_EQ(result.at(0).false_positives, (Falses{1}));
  EXPECT_EQ(result.at(10).false_positives, (Falses{1, 1}));
}

TEST(Matching, DoesNotDependOnThreads) {
  std::vector<TruthRegion> truths;
  std::vector<FoundRegion> found;
  for (int i = 0; i < 3000; ++i) {
    truths.push_back({.image = i % 500, .category = i % 7});
    found.push_back({.image = i * 13 % 500, .category = i % 7, .score = (i * 37 % 100) / 100.0});
  }
  const Overlaps overlaps = [](auto f, auto t, std::span<double> out) {
    std::size_t at = 0;
    for (const auto a : f)
      for (const auto b : t) out[at++] = static_cast<double>((a * 31 + b * 17) % 101) / 100;
  };
  const auto with = [&](int threads) {
    std::map<std::tuple<std::size_t, std::size_t>, Falses> result;
    std::mutex guard;
    match_regions(truths, found, 7, overlaps,
                  {.iou_thresholds = {0.5, 0.75}, .area_ranges = {kAny}, .max_found = {10}, .threads = threads},
                  [&](const MatchCell& cell, const MatchCurve& curve) {
                    const std::lock_guard lock(guard);
                    result[{cell.category, cell.threshold}] = curve.false_positives;
                  });
    return result;
  };
  EXPECT_EQ(with(1).size(), 14U);
  EXPECT_EQ(with(1), with(4));
}

TEST(Matching, RefusesScoresThatAreNone) {
  const std::vector<FoundRegion> found{{.score = std::nan("")}};
  EXPECT_THROW(curves({}, found, table({{}}), {}), Error);
  EXPECT_THROW(curves({}, {}, table({{}}), {.iou_thresholds = {0.7, 0.5}}), Error);
}

TEST(Interpolation, TakesTheBestPrecisionOfAnyLargerRecall) {
  // right, wrong, right, right of 4: precision 1, 2/3, 3/4 at recall 1/4, 2/4, 3/4.
  const MatchCurve curve{.truths = 4, .false_positives = {0, 1, 1}};
  const std::vector<double> recalls{0, 0.25, 0.26, 0.5, 0.75, 0.8, 1};
  std::vector<double> precision(recalls.size());
  interpolate_precision(curve, recalls, 0, precision);
  EXPECT_EQ(precision, (std::vector<double>{1, 1, 0.75, 0.75, 0.75, 0, 0}));
  EXPECT_DOUBLE_EQ(area_under_curve(curve), 0.25 * (1 + 0.75 + 0.75));
}

TEST(ScoreOrder, IsByFallingScoreAndStable) {
  EXPECT_EQ(stable_order(std::vector<double>{0.5, 0.9, 0.5, 0.9, 1}), (std::vector<std::size_t>{4, 1, 3, 0, 2}));
}

TEST(ScoreOrder, LeavesEqualScoresAsNumpyDoes) {
  EXPECT_EQ(numpy_order(std::vector<double>{0.5, 0.9, 0.5, 0.9, 1}), (std::vector<std::size_t>{4, 1, 3, 0, 2}))
      << "few are sorted by insertion";
  // numpy 2.4 without vector instructions: np.argsort(-np.array([i % 3 for i in range(20)], np.float32))
  std::vector<double> scores;
  for (int i = 0; i < 20; ++i) scores.push_back(i % 3);
  EXPECT_EQ(numpy_order(scores),
            (std::vector<std::size_t>{2, 17, 5, 8, 11, 14, 19, 1, 4, 16, 7, 10, 13, 15, 0, 18, 6, 3, 12, 9}));
}

}  // namespace
}  // namespace clipself::evaluation
