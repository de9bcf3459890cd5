#include "clipself/distillation/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace clipself::distillation {
namespace {

std::vector<std::int64_t> to_vector(const at::Tensor& classes) {
  const auto* first = classes.const_data_ptr<std::int64_t>();
  return {first, first + classes.numel()};
}

std::vector<std::int64_t> draw(const std::vector<std::int64_t>& labels, std::int64_t num_classes, std::int64_t sample,
                               std::uint64_t seed) {
  Rng rng(seed);
  return to_vector(federated_classes(at::tensor(labels, at::kLong), num_classes, sample, rng));
}

TEST(CosineLoss, IsZeroForParallelTwoForOppositeOneForOrthogonalRows) {
  const auto a = at::tensor({1.0, 0.0, 0.0, 2.0}, at::kFloat).reshape({2, 2});
  EXPECT_NEAR(cosine_loss(a, a * 3).item<double>(), 0.0, 1e-6);
  EXPECT_NEAR(cosine_loss(a, -a).item<double>(), 2.0, 1e-6);
  EXPECT_NEAR(cosine_loss(a, a.flip(0)).item<double>(), 1.0, 1e-6);
  EXPECT_TRUE(std::isfinite(cosine_loss(at::zeros({1, 2}), a.slice(0, 0, 1)).item<double>()));
}

TEST(FederatedClasses, BeginWithThosePresentAscendingThenOthersWithoutRepetition) {
  const auto classes = draw({9, 2, 9, 5}, 30, 12, 1);
  ASSERT_EQ(classes.size(), 12U);
  EXPECT_EQ(std::vector<std::int64_t>(classes.begin(), classes.begin() + 3), (std::vector<std::int64_t>{2, 5, 9}));
  EXPECT_EQ(std::set<std::int64_t>(classes.begin(), classes.end()).size(), 12U);
  for (const auto c : classes) EXPECT_TRUE(c >= 0 && c < 30) << c;
}

TEST(FederatedClasses, DependOnTheGeneratorAlone) {
  EXPECT_EQ(draw({3, 1}, 50, 10, 4), draw({1, 3}, 50, 10, 4));
  EXPECT_NE(draw({3, 1}, 50, 10, 4), draw({3, 1}, 50, 10, 5));
}

TEST(FederatedClasses, DrawNothingWhenThosePresentSuffice) {
  EXPECT_EQ(draw({4, 0, 2}, 5, 3, 1), (std::vector<std::int64_t>{0, 2, 4}));
  EXPECT_EQ(draw({4, 0, 2, 3}, 5, 3, 1), (std::vector<std::int64_t>{0, 2, 3, 4}));
  Rng used(1), untouched(1);
  federated_classes(at::tensor({4, 0, 2}, at::kLong), 5, 3, used);
  EXPECT_EQ(used(), untouched());
}

TEST(FederatedClasses, AreAllOfThemWhenThereAreFewerThanAskedFor) {
  const auto classes = draw({6}, 7, 100, 1);
  EXPECT_EQ(std::set<std::int64_t>(classes.begin(), classes.end()).size(), 7U);
  EXPECT_EQ(classes.size(), 7U);
  EXPECT_EQ(classes.front(), 6);
}

// Each of the other 8 classes should be drawn in 3 of 8 cases; 4 standard deviations of 4000 draws are 0.03.
TEST(FederatedClasses, DrawEveryOtherClassEquallyOften) {
  std::vector<int> hits(10);
  constexpr int kDraws = 4000;
  for (int seed = 0; seed < kDraws; ++seed)
    for (const auto c : draw({2, 7}, 10, 5, static_cast<std::uint64_t>(seed))) ++hits[static_cast<std::size_t>(c)];
  for (std::size_t c = 0; c < hits.size(); ++c)
    EXPECT_NEAR(hits[c] / static_cast<double>(kDraws), c == 2 || c == 7 ? 1.0 : 0.375, 0.031) << c;
}

struct FederatedCase {
  at::Tensor features, scale = at::scalar_tensor(5.0, at::kFloat), classes = at::tensor({0, 3, 1}, at::kLong);
  RegionTargets targets;
  FederatedCase() {
    torch::manual_seed(3);
    features = at::randn({4, 6});
    targets = {at::randn({5, 6}) * 2, at::tensor({3, 0, 0, 3}, at::kLong)};
  }
};

// The definition, number by number: -log sigmoid(x) for the answer, -log sigmoid(-x) for the others.
TEST(FederatedBce, IsTheSumOverTheClassesAveragedOverTheRegions) {
  const FederatedCase c;
  double expected = 0;
  for (int i = 0; i < 4; ++i) {
    const auto f = c.features[i].to(at::kDouble);
    for (const std::int64_t k : {0, 3, 1}) {
      const auto b = c.targets.bank[k].to(at::kDouble);
      const double x = 5.0 * (f.dot(b) / (f.norm() * b.norm())).item<double>();
      const bool answer = c.targets.index[i].item<std::int64_t>() == k;
      expected += std::log1p(std::exp(answer ? -x : x)) / 4;
    }
  }
  EXPECT_NEAR(federated_bce(c.features, c.targets, c.classes, c.scale).item<double>(), expected, 1e-5);
}

TEST(FederatedBce, HasTheGradientOfFiniteDifferencesAndNoneForTheScale) {
  FederatedCase c;
  c.features.set_requires_grad(true);
  c.scale.set_requires_grad(true);
  federated_bce(c.features, c.targets, c.classes, c.scale).backward();
  EXPECT_FALSE(c.scale.grad().defined());
  const at::NoGradGuard no_grad;
  const auto loss_at = [&](int row, int column, float shift) {
    auto moved = c.features.detach().clone();
    moved[row][column] += shift;
    return federated_bce(moved, c.targets, c.classes, c.scale).item<double>();
  };
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 6; ++column) {
      const double slope = (loss_at(row, column, 1e-2F) - loss_at(row, column, -1e-2F)) / 2e-2;
      EXPECT_NEAR(c.features.grad()[row][column].item<double>(), slope, 2e-3) << row << " " << column;
    }
}

}  // namespace
}  // namespace clipself::distillation
