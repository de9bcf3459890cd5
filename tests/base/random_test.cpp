#include "clipself/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <tuple>
#include <vector>

namespace clipself {
namespace {

// The first outputs of the authors' splitmix64.c started at state 1234567. The keys below are those that lead to that
// state; they were found by running the mixing function backwards.
TEST(Rng, GivesThePublishedSplitMix64Sequence) {
  constexpr std::array<std::uint64_t, 5> kPublished = {6457827717110365317ULL, 3203168211198807973ULL,
                                                       9817491932198370423ULL, 4593380528125082431ULL,
                                                       16408922859458223821ULL};
  Rng seed_only(0xb7e1ef370b3a7142ULL);
  Rng all_three(0x7d7094b01d224ffeULL, 7, 9);
  for (const auto expected : kPublished) {
    EXPECT_EQ(seed_only(), expected);
    EXPECT_EQ(all_three(), expected);
  }
}

TEST(Rng, StreamsOfNeighbouringKeysDiffer) {
  std::set<std::uint64_t> first;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (std::uint64_t stream = 0; stream < 10; ++stream) {
      for (std::uint64_t index = 0; index < 10; ++index) first.insert(Rng(seed, stream, index)());
    }
  }
  EXPECT_EQ(first.size(), 1000U);
}

TEST(Rng, BelowIsUniform) {
  constexpr int kDraws = 100'000;
  std::array<int, 10> counts{};
  Rng rng(1);
  for (int i = 0; i < kDraws; ++i) ++counts.at(rng.below(10));
  double chi_square = 0.0;
  for (const int count : counts) chi_square += std::pow(count - kDraws / 10.0, 2) / (kDraws / 10.0);
  EXPECT_LT(chi_square, 27.9);  // exceeded once in a thousand with 9 degrees of freedom
}

// A plain remainder would put half of all draws, not a third, into the first third of this range.
TEST(Rng, BelowIsUnbiasedWhereARemainderIsNot) {
  constexpr std::uint64_t kThird = 1ULL << 62;
  constexpr int kDraws = 30'000;
  Rng rng(2);
  int low = 0;
  for (int i = 0; i < kDraws; ++i) {
    const auto value = rng.below(3 * kThird);
    ASSERT_LT(value, 3 * kThird);
    low += value < kThird ? 1 : 0;
  }
  EXPECT_NEAR(low, kDraws / 3, 4 * std::sqrt(kDraws * 2.0 / 9.0));
}

TEST(Rng, BelowOneIsZero) {
  Rng rng(3);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rng.below(1), 0U);
}

TEST(Rng, UniformStaysInItsRangeAndHasItsMoments) {
  constexpr int kDraws = 100'000;
  Rng rng(4);
  double sum = 0.0;
  double squares = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.uniform(-2.0, 4.0);
    ASSERT_GE(value, -2.0);
    ASSERT_LT(value, 4.0);
    sum += value;
    squares += value * value;
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(mean, 1.0, 0.03);
  EXPECT_NEAR(squares / kDraws - mean * mean, 36.0 / 12.0, 0.05);
}

TEST(Rng, NormalHasTheShareOfDrawsWithinOneTwoAndThreeDeviations) {
  constexpr int kDraws = 100'000;
  Rng rng(5);
  std::array<int, 3> within{};
  double sum = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    for (int k = 0; k < 3; ++k) within.at(static_cast<std::size_t>(k)) += std::abs(value) < k + 1 ? 1 : 0;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.015);
  for (int k = 0; k < 3; ++k) {
    const double share = std::erf((k + 1) / std::sqrt(2.0));
    EXPECT_NEAR(within.at(static_cast<std::size_t>(k)), kDraws * share,
                4.5 * std::sqrt(kDraws * share * (1.0 - share)));
  }
}

TEST(Rng, ShuffleReachesEveryOrderEquallyOften) {
  constexpr int kDraws = 24'000;
  std::map<std::array<int, 4>, int> counts;
  Rng rng(6);
  for (int i = 0; i < kDraws; ++i) {
    std::array<int, 4> items = {0, 1, 2, 3};
    rng.shuffle(std::span<int>(items));
    ++counts[items];
  }
  ASSERT_EQ(counts.size(), 24U);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 4.5 * std::sqrt(1000.0));
}

TEST(Rng, ShuffleKeepsTheItems) {
  std::vector<int> items(1000);
  std::iota(items.begin(), items.end(), 0);
  const auto before = items;
  Rng(7).shuffle(std::span<int>(items));
  EXPECT_NE(items, before);
  std::sort(items.begin(), items.end());
  EXPECT_EQ(items, before);
}

}  // namespace
}  // namespace clipself
