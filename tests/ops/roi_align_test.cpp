#include "clipself/ops/roi_align.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

// The definition, sample by sample: Mask R-CNN's RoIAlign with aligned corners and an adaptive grid.
double bilinear(const at::Tensor& plane, double y, double x) {
  const double h = static_cast<double>(plane.size(0));
  const double w = static_cast<double>(plane.size(1));
  if (y < -1 || y > h || x < -1 || x > w) return 0;
  y = std::clamp(y, 0.0, h - 1);
  x = std::clamp(x, 0.0, w - 1);
  const auto y0 = static_cast<std::int64_t>(y);
  const auto x0 = static_cast<std::int64_t>(x);
  const auto y1 = std::min<std::int64_t>(y0 + 1, plane.size(0) - 1);
  const auto x1 = std::min<std::int64_t>(x0 + 1, plane.size(1) - 1);
  const double fy = y - static_cast<double>(y0);
  const double fx = x - static_cast<double>(x0);
  const auto at = [&](std::int64_t i, std::int64_t j) { return plane[i][j].item<double>(); };
  return (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x1)) + fy * ((1 - fx) * at(y1, x0) + fx * at(y1, x1));
}

double defined_bin(const at::Tensor& plane, const at::Tensor& box, int size, int py, int px) {
  const double x0 = box[0].item<double>() - 0.5, y0 = box[1].item<double>() - 0.5;
  const double bin_w = (box[2].item<double>() - 0.5 - x0) / size, bin_h = (box[3].item<double>() - 0.5 - y0) / size;
  const int nx = static_cast<int>(std::ceil(bin_w)), ny = static_cast<int>(std::ceil(bin_h));
  double sum = 0;
  for (int i = 0; i < ny; ++i) {
    for (int j = 0; j < nx; ++j) {
      sum += bilinear(plane, y0 + (py + (i + 0.5) / ny) * bin_h, x0 + (px + (j + 0.5) / nx) * bin_w);
    }
  }
  return sum / std::max(1, nx * ny);
}

void expect_matches_definition(const at::Tensor& map, const std::vector<at::Tensor>& boxes, int size) {
  const auto pooled = roi_align(map, boxes, size);
  std::int64_t row = 0;
  for (std::size_t image = 0; image < boxes.size(); ++image) {
    for (std::int64_t n = 0; n < boxes[image].size(0); ++n, ++row) {
      for (std::int64_t c = 0; c < map.size(1); ++c) {
        for (int py = 0; py < size; ++py) {
          for (int px = 0; px < size; ++px) {
            const auto plane = map[static_cast<std::int64_t>(image)][c];
            EXPECT_NEAR(pooled[row][c][py][px].item<double>(), defined_bin(plane, boxes[image][n], size, py, px), 2e-5)
                << "box " << boxes[image][n] << " bin " << py << "," << px;
          }
        }
      }
    }
  }
  EXPECT_EQ(pooled.size(0), row);
}

const std::vector<at::Tensor> kBoxes = {
    at::tensor({0.3, 0.4, 5.7, 3.2, 1.0, 1.0, 2.0, 2.0, -3.0, -2.0, 9.5, 8.5, 2.2, 2.2, 2.3, 2.9}, at::kFloat)
        .reshape({4, 4}),
    at::tensor({0.0, 0.0, 7.0, 5.0}, at::kFloat).reshape({1, 4})};

TEST(RoiAlign, EqualsItsDefinitionForOneBin) {
  torch::manual_seed(1);
  expect_matches_definition(at::randn({2, 3, 5, 7}), kBoxes, 1);
}

TEST(RoiAlign, EqualsItsDefinitionForManyBins) {
  torch::manual_seed(2);
  expect_matches_definition(at::randn({2, 2, 5, 7}), kBoxes, 3);
}

TEST(RoiAlign, OfAConstantMapInsideTheImageIsThatConstant) {
  const auto pooled =
      roi_align(at::full({1, 2, 9, 9}, 4.0), {at::tensor({1.2, 2.3, 6.1, 7.9}, at::kFloat).reshape({1, 4})}, 2);
  EXPECT_TRUE(at::allclose(pooled, at::full_like(pooled, 4.0), 1e-6, 1e-6));
}

TEST(RoiAlign, OfAnEmptyOrInvertedBoxIsZero) {
  const auto boxes = at::tensor({2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 1.0, 1.0}, at::kFloat).reshape({2, 4});
  EXPECT_EQ(roi_align(at::ones({1, 3, 6, 6}), {boxes}).abs().sum().item<float>(), 0.0F);
}

TEST(RoiAlign, OfABoxManyTimesTheMapIsCheapAndEqualsItsDefinition) {
  const auto boxes = at::tensor({-400.0, -300.0, 900.0, 700.0}, at::kFloat).reshape({1, 4});
  torch::manual_seed(3);
  expect_matches_definition(at::randn({1, 1, 4, 4}), {boxes}, 1);
}

TEST(RoiAlign, OfNoBoxesIsEmpty) {
  const auto pooled = roi_align(at::ones({1, 3, 4, 4}), {at::zeros({0, 4})});
  EXPECT_EQ(pooled.sizes(), (at::IntArrayRef{0, 3, 1, 1}));
}

TEST(RoiAlign, GradientEqualsFiniteDifferences) {
  torch::manual_seed(4);
  auto map = at::randn({1, 2, 4, 5}).requires_grad_();
  const std::vector<at::Tensor> boxes = {
      at::tensor({0.4, 0.7, 3.9, 3.1, 1.0, 0.2, 4.6, 2.0}, at::kFloat).reshape({2, 4})};
  const auto direction = at::randn({2, 2, 1, 1});
  (roi_align(map, boxes) * direction).sum().backward();
  // The operator is linear in the map: a difference of any size is exact.
  const auto step = at::randn_like(map);
  const at::NoGradGuard no_grad;
  const double change = ((roi_align(map + step, boxes) - roi_align(map, boxes)) * direction).sum().item<double>();
  EXPECT_NEAR((map.grad() * step).sum().item<double>(), change, 1e-4);
}

// The kernel of several bins and ATen's products share nothing but the weights of an axis' samples.
TEST(RoiAlign, KernelEqualsPlainProductsOfAwkwardSizes) {
  torch::manual_seed(5);
  // Inside, beyond every side, empty, inverted, a sliver, far larger than the map; and no boxes of the second image.
  const auto first =
      at::tensor({0.3, 0.4, 2.7, 3.2, -3.0,  -2.0,  9.5,  8.5,  2.0,  2.0,  2.0,  5.0, 4.0, 4.0, 1.0, 1.0,  //
                  0.0, 1.1, 7.0, 1.2, -90.0, -70.0, 80.0, 99.0, 50.0, 50.0, 60.0, 60.0},
                 at::kFloat)
          .reshape({7, 4});
  const std::vector<at::Tensor> boxes{first, at::zeros({0, 4}), first.slice(0, 1, 3) + 0.37};
  for (const std::int64_t channels : {1, 33, 70}) {
    for (const auto& [height, width] : {std::pair{1, 1}, {1, 9}, {7, 1}, {5, 3}, {8, 13}}) {
      for (const int size : {2, 7, 14}) {
        SCOPED_TRACE(c10::str(channels, " channels of ", height, " x ", width, ", ", size, " bins"));
        auto map = at::randn({3, channels, height, width}).requires_grad_(),
             same = map.detach().clone().requires_grad_();
        const auto pooled = roi_align(map, boxes, size), plain = roi_align_plain(same, boxes, size);
        ASSERT_EQ(pooled.sizes(), (at::IntArrayRef{9, channels, size, size}));
        EXPECT_TRUE(at::allclose(pooled, plain, 1e-5, 1e-5));
        const auto weights = at::randn_like(pooled);
        (pooled * weights).sum().backward();
        (plain * weights).sum().backward();
        EXPECT_TRUE(at::allclose(map.grad(), same.grad(), 1e-4, 1e-4));
      }
    }
  }
}

TEST(RoiAlign, KernelTakesMapsThatAreNotContiguousAndOfHalfPrecision) {
  torch::manual_seed(6);
  const auto map = at::randn({2, 5, 7, 3}).permute({0, 3, 2, 1});  // (2, 3, 7, 5)
  const auto pooled = roi_align(map, kBoxes, 3);
  EXPECT_TRUE(at::equal(pooled, roi_align(map.contiguous(), kBoxes, 3)));
  const auto half = roi_align(map.to(at::kBFloat16), kBoxes, 3);
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(half.to(at::kFloat), pooled, 2e-2, 2e-2));
}

TEST(RoiAlign, RefusesShapesThatDoNotFit) {
  EXPECT_THROW(roi_align(at::ones({3, 4, 4}), {at::zeros({1, 4})}), Error);
  EXPECT_THROW(roi_align(at::ones({2, 3, 4, 4}), {at::zeros({1, 4})}), Error);
  EXPECT_THROW(roi_align(at::ones({1, 3, 4, 4}), {at::zeros({1, 5})}), Error);
  EXPECT_THROW(roi_align(at::ones({1, 3, 4, 4}), {at::zeros({1, 4})}, 0), Error);
}

}  // namespace
}  // namespace clipself::ops
