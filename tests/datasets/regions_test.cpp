#include "clipself/datasets/regions.h"

#include <numeric>

#include "clipself/ops/image_resize.h"
#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

std::vector<int> in_order(int n) {
  std::vector<int> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

at::Tensor corners(const std::vector<Region>& regions, ops::Box Region::*box) {
  at::Tensor out = at::empty({static_cast<std::int64_t>(regions.size()), 4}, at::kDouble);
  auto* to = out.mutable_data_ptr<double>();
  for (const Region& region : regions) {
    const ops::Box& b = region.*box;
    for (const double corner : {b.x0, b.y0, b.x1, b.y1}) *to++ = corner;
  }
  return out;
}

TEST(Grid, HasTheOriginalsChoicesAndBoxes) {
  const auto choices = grid_choices(6);
  const auto expected = tensor(cases(), "grid.split6.choices");
  ASSERT_EQ(static_cast<std::int64_t>(choices.size()), expected.size(0));
  std::vector<at::Tensor> boxes;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    EXPECT_EQ(choices[i].rows, expected[static_cast<std::int64_t>(i)][0].item<int>());
    EXPECT_EQ(choices[i].columns, expected[static_cast<std::int64_t>(i)][1].item<int>());
    boxes.push_back(grid_boxes(choices[i]));
  }
  EXPECT_LE(largest_difference(at::cat(boxes), tensor(cases(), "grid.split6.boxes")), 1e-7);
  EXPECT_EQ(grid_choices(16).size(), 144U);
}

TEST(Grid, CropsAndBoxesInPixelsAreTheOriginals) {
  constexpr int kWidth = 213;
  constexpr int kHeight = 160;
  for (const auto& [scale, name] : {std::pair{1.0, "scale1.0"}, {1.5, "scale1.5"}}) {
    std::vector<Region> all;
    for (const GridChoice& choice : grid_choices(6)) {
      const int cells = choice.rows * choice.columns;
      const auto regions = grid_regions(kWidth, kHeight, choice, scale, cells, in_order(cells));
      all.insert(all.end(), regions.begin(), regions.end());
    }
    const auto crops = corners(all, &Region::crop);
    const auto expected = tensor(cases(), std::string("grid.crop_boxes.") + name);
    ASSERT_EQ(crops.sizes(), expected.sizes());
    EXPECT_LE(largest_difference(crops, expected), 1e-4);
    EXPECT_TRUE(at::equal(crops.round(), expected.round()));  // at::round, too, takes halves to the even number
    EXPECT_LE(largest_difference(corners(all, &Region::box), tensor(cases(), std::string("grid.pixel_boxes.") + name)),
              1e-4);
  }
}

TEST(Grid, TakesTheFirstCellsOfTheOrder) {
  const std::vector<int> order{5, 0, 3, 1, 2, 4};
  const auto regions = grid_regions(300, 200, {2, 3}, 1.0, 2, order);
  ASSERT_EQ(regions.size(), 2U);
  EXPECT_EQ(regions[0].row, 0);
  EXPECT_NEAR(regions[0].box.x0, 200, 1e-4);
  EXPECT_NEAR(regions[0].box.y1, 200, 1e-4);
  EXPECT_EQ(regions[1].row, 1);
  EXPECT_EQ(regions[1].box.x0, 0);
}

Annotation boxed(double x, double y, double w, double h) {
  Annotation annotation;
  annotation.bbox = {x, y, w, h};
  return annotation;
}

TEST(Proposals, LeaveOutWrongSizesButKeepTheirRows) {
  const std::vector<Annotation> annotations{boxed(10, 10, 7, 9), boxed(20, 30, 8, 8), boxed(0, 0, 100, 100),
                                            boxed(5, 5, 50, 20)};
  const auto regions =
      proposal_regions(200, 200, annotations, {.max_boxes = 3, .min_size = 8, .max_size = 90}, in_order(4));
  ASSERT_EQ(regions.size(), 1U);
  EXPECT_EQ(regions[0].row, 1);
  EXPECT_EQ(regions[0].crop.x0, 18);
  EXPECT_EQ(regions[0].crop.y1, 40);
  EXPECT_EQ(regions[0].box.x1, 28);
}

TEST(Proposals, FallBackToTheTopLeftQuarter) {
  const auto regions = proposal_regions(101, 43, {}, {}, {});
  ASSERT_EQ(regions.size(), 1U);
  EXPECT_EQ(regions[0].box.x1, 25.25);
  EXPECT_EQ(regions[0].box.y1, 10.75);
  EXPECT_EQ(regions[0].crop.x1, 25);
  EXPECT_EQ(regions[0].crop.y1, 10);
}

TEST(Proposals, LeaveOutBoxesOutsideTheImage) {
  const std::vector<Annotation> annotations{boxed(300, 10, 20, 20), boxed(-10, -10, -20, -20), boxed(10, 10, 20, 20)};
  const auto regions = proposal_regions(200, 200, annotations, {}, in_order(3));
  ASSERT_EQ(regions.size(), 1U);
  EXPECT_EQ(regions[0].row, 2);
}

TEST(RandomOrder, IsAPermutationThatDependsOnTheGeneratorAlone) {
  Rng first(1, 2, 3);
  Rng second(1, 2, 3);
  auto order = random_order(50, first);
  EXPECT_EQ(order, random_order(50, second));
  EXPECT_NE(order, in_order(50));
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, in_order(50));
  EXPECT_TRUE(random_order(0, first).empty());
}

}  // namespace
}  // namespace clipself::datasets
