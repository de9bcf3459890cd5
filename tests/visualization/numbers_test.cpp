// Clusters, components and colours against closed forms.
#include <gtest/gtest.h>

#include <cmath>

#include "clipself/base/error.h"
#include "clipself/visualization/clustering.h"
#include "clipself/visualization/colours.h"
#include "clipself/visualization/principal_components.h"
#include "clipself/visualization/row_sample.h"

namespace clipself::visualization {
namespace {

// `sizes[i]` features close to axis i of a space of 8 dimensions.
at::Tensor bundles(const std::vector<std::int64_t>& sizes) {
  torch::manual_seed(5);
  std::vector<at::Tensor> rows;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    at::Tensor axis = at::zeros({8});
    axis[static_cast<std::int64_t>(i)] = 3;
    rows.push_back(axis + 0.1 * at::randn({sizes[i], 8}));
  }
  return at::cat(rows);
}

TEST(RowSample, IsAllRowsInOrderUpToTheLimitAndThenAUniformDraw) {
  const auto rows = at::arange(60, at::kFloat).view({60, 1}).expand({-1, 3});
  RowSample all(60, 1);
  for (const auto& part : rows.split(7)) all.add(part);
  EXPECT_TRUE(all.rows().equal(rows));
  // Each of 60 rows is among 15 with probability 1/4.
  at::Tensor drawn = at::zeros({60});
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    RowSample some(15, seed);
    for (const auto& part : rows.split(7)) some.add(part);
    EXPECT_EQ(some.seen(), 60);
    const auto found = some.rows().select(1, 0).to(at::kLong);
    ASSERT_EQ(std::get<0>(at::_unique(found)).numel(), 15) << "no row twice";
    drawn.index_add_(0, found, at::ones({15}));
  }
  EXPECT_LT((drawn / 2000 - 0.25).abs().max().item<double>(), 0.05);  // five deviations of 0.0097
  EXPECT_THROW(RowSample(3, 0).rows(), Error);
}

TEST(Clustering, FindsSeparateBundlesTheLargestFirst) {
  const at::Tensor features = bundles({7, 40, 15, 22});
  Rng rng(1);
  const Clusters found = cluster(features, {.clusters = 4}, rng);
  EXPECT_EQ(found.sizes, (std::vector<std::int64_t>{40, 22, 15, 7}));
  const std::vector<std::int64_t> bundle_of{1, 3, 2, 0};  // by size
  for (std::int64_t i = 0; i < 4; ++i) {
    const std::int64_t axis = bundle_of[static_cast<std::size_t>(i)];
    EXPECT_EQ(found.centres[i].argmax().item<std::int64_t>(), axis);
    EXPECT_NEAR(found.centres[i].norm().item<double>(), 1, 1e-5);
  }
  // Rows 7..46 are the second bundle, the largest cluster.
  EXPECT_TRUE(at::equal(found.assignment.narrow(0, 7, 40), at::zeros({40}, at::kLong)));
  EXPECT_TRUE(at::equal(found.assignment.narrow(0, 0, 7), at::full({7}, 3, at::kLong)));
  EXPECT_TRUE(at::equal(found.assignment, nearest_centre(features, found.centres)));
  EXPECT_GT(found.mean_cosine, 0.98);
}

TEST(Clustering, ACentreIsItsFeaturesMeanDirection) {
  Rng rng(2);
  const at::Tensor features = at::tensor({1.0F, 0.0F, 0.0F, 5.0F, 0.6F, 0.8F}).view({3, 2});
  const Clusters found = cluster(features, {.clusters = 1}, rng);
  // Unit vectors (1, 0), (0, 1), (0.6, 0.8): their sum is (1.6, 1.8).
  EXPECT_NEAR(found.centres[0][0].item<double>(), 1.6 / std::hypot(1.6, 1.8), 1e-6);
  EXPECT_NEAR(found.mean_cosine, std::hypot(1.6, 1.8) / 3, 1e-6);
}

TEST(Clustering, RepeatsItself) {
  torch::manual_seed(9);
  const at::Tensor features = at::randn({300, 16});
  Rng first(4), second(4);
  const Clusters a = cluster(features, {.clusters = 7}, first), b = cluster(features, {.clusters = 7}, second);
  EXPECT_TRUE(at::equal(a.assignment, b.assignment));
  EXPECT_TRUE(at::equal(a.centres, b.centres));
}

TEST(Clustering, MakesNoMoreClustersThanFeaturesDiffer) {
  Rng rng(1);
  const at::Tensor features = bundles({1, 1, 1}).repeat({5, 1});
  const Clusters found = cluster(features, {.clusters = 8}, rng);
  EXPECT_EQ(found.sizes, (std::vector<std::int64_t>{5, 5, 5}));
  EXPECT_THROW(cluster(features, {.clusters = 0}, rng), Error);
  EXPECT_THROW(cluster(at::empty({0, 4}), {.clusters = 2}, rng), Error);
}

TEST(PrincipalComponents, FindTheAxesOfAnEllipsoid) {
  // Points at +-a along orthogonal directions: the covariance is diagonal in them, variances 9 : 4 : 1.
  const double c = std::cos(0.4), s = std::sin(0.4);
  const at::Tensor axes = at::tensor({c, s, 0.0, -s, c, 0.0, 0.0, 0.0, -1.0}, at::kDouble).view({3, 3});
  std::vector<at::Tensor> points;
  for (int i = 0; i < 3; ++i)
    for (const double sign : {-1.0, 1.0}) points.push_back(sign * (3 - i) * axes[i] + at::tensor({5.0, 6.0, 7.0}));
  const at::Tensor features = at::stack(points);
  const PrincipalComponents found = principal_components(features, 3);
  EXPECT_NEAR(found.explained[0], 9.0 / 14, 1e-12);
  EXPECT_NEAR(found.explained[1], 4.0 / 14, 1e-12);
  EXPECT_NEAR(found.explained[2], 1.0 / 14, 1e-12);
  EXPECT_TRUE(at::allclose(found.mean, at::tensor({5.0, 6.0, 7.0}, at::kDouble)));
  // The largest entry of each is positive, so the third axis comes out turned.
  EXPECT_TRUE(at::allclose(found.directions, axes * at::tensor({1.0, 1.0, -1.0}, at::kDouble).view({3, 1}), 0, 1e-9));
  const at::Tensor projected = project(found, features);
  EXPECT_NEAR(projected[1][0].item<double>(), 3, 1e-9);
  EXPECT_NEAR(projected[2][1].item<double>(), -2, 1e-9);
}

TEST(PrincipalComponents, AreQuietWithoutAnyVariance) {
  const PrincipalComponents found = principal_components(at::ones({4, 5}), 3);
  EXPECT_EQ(found.explained, (std::vector<double>{0, 0, 0}));
  const at::Tensor values = project(found, at::ones({4, 5}));
  EXPECT_TRUE(at::equal(in_range(values, robust_range(values)), at::full({4, 3}, 0.5F)));
  EXPECT_THROW(principal_components(at::ones({4, 2}), 3), Error);
}

TEST(RobustRange, IsThePercentilesAndIgnoresStrayValues) {
  at::Tensor values = at::arange(101, at::kDouble).view({101, 1});
  const ValueRange range = robust_range(values, 2);
  EXPECT_DOUBLE_EQ(range.low.item<double>(), 2);
  EXPECT_DOUBLE_EQ(range.high.item<double>(), 98);
  values[100][0] = 1e9;
  EXPECT_DOUBLE_EQ(robust_range(values, 2).high.item<double>(), 98);
  const at::Tensor scaled = in_range(values, range);
  EXPECT_EQ(scaled[0].item<float>(), 0);
  EXPECT_EQ(scaled[50].item<float>(), 0.5F);
  EXPECT_EQ(scaled[100].item<float>(), 1);
  EXPECT_DOUBLE_EQ(robust_range(at::tensor({1.0, 2.0}, at::kDouble).view({2, 1}), 25).low.item<double>(), 1.25);
}

TEST(Viridis, GrowsLighterAllTheWay) {
  double last = -1;
  for (int i = 0; i <= 64; ++i) {
    const double light = lightness(viridis(i / 64.0));
    EXPECT_GT(light, last) << i;
    last = light;
  }
}

TEST(Viridis, IsMatplotlibs) {
  // Entries 0, 64, 128, 192 and 255 of its table of 256.
  const std::vector<std::pair<double, Colour>> table{{0, {68, 1, 84}},
                                                     {64.0 / 255, {59, 82, 139}},
                                                     {128.0 / 255, {33, 145, 140}},
                                                     {192.0 / 255, {94, 201, 98}},
                                                     {1, {253, 231, 37}}};
  for (const auto& [value, expected] : table)
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(viridis(value)[c], expected[c], 5) << value;
  EXPECT_EQ(viridis(-3), viridis(0));
  EXPECT_EQ(viridis(7), viridis(1));
  EXPECT_EQ(viridis(NAN), viridis(0));
}

TEST(Colours, LightnessIsCies) {
  EXPECT_NEAR(lightness({0, 0, 0}), 0, 1e-9);
  EXPECT_NEAR(lightness({255, 255, 255}), 100, 1e-3);
  EXPECT_NEAR(lightness({119, 119, 119}), 50.03, 0.01);  // the usual middle grey
  EXPECT_NEAR(lightness({255, 0, 0}), 53.24, 0.01);
}

TEST(Colours, OfClassesDiffer) {
  const auto colours = distinct_colours(60);
  for (std::size_t i = 0; i < colours.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      int distance = 0;
      for (std::size_t c = 0; c < 3; ++c) distance += std::abs(int{colours[i][c]} - int{colours[j][c]});
      EXPECT_GT(distance, i < 20 ? 60 : 30) << i << " and " << j;
    }
}

}  // namespace
}  // namespace clipself::visualization
