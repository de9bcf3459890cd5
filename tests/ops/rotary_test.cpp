#include "clipself/ops/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

constexpr int kHeadWidth = 8;

TEST(RotaryTables, HoldTheAnglesOfTheFormula) {
  const int h = 3, w = 5, pretrained = 16;
  const auto tables = rotary_tables(h, w, kHeadWidth, pretrained, at::kCPU);
  ASSERT_EQ(tables.cos.sizes(), (at::IntArrayRef{h * w, kHeadWidth}));
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      for (int c = 0; c < kHeadWidth; ++c) {
        const bool row_half = c < kHeadWidth / 2;
        const double position =
            row_half ? static_cast<double>(y) / h * pretrained : static_cast<double>(x) / w * pretrained;
        const int pair = c % (kHeadWidth / 2) / 2;
        const double angle = position * std::pow(10000.0, -4.0 * pair / kHeadWidth);
        EXPECT_NEAR(tables.cos[y * w + x][c].item<double>(), std::cos(angle), 2e-6);
        EXPECT_NEAR(tables.sin[y * w + x][c].item<double>(), std::sin(angle), 2e-6);
      }
    }
  }
}

TEST(ApplyRotary, TurnsEachPairByItsAngleAndLeavesTheClassToken) {
  torch::manual_seed(1);
  const auto tables = rotary_tables(2, 3, kHeadWidth, 16, at::kCPU);
  const auto x = at::randn({2, 7, 3, kHeadWidth});
  const auto y = apply_rotary(x, tables);
  EXPECT_TRUE(at::equal(y.select(1, 0), x.select(1, 0)));
  for (int token = 1; token < 7; ++token) {
    for (int pair = 0; pair < kHeadWidth / 2; ++pair) {
      const double a = x[1][token][2][2 * pair].item<double>(), b = x[1][token][2][2 * pair + 1].item<double>();
      const double c = tables.cos[token - 1][2 * pair].item<double>(),
                   s = tables.sin[token - 1][2 * pair].item<double>();
      EXPECT_NEAR(y[1][token][2][2 * pair].item<double>(), a * c - b * s, 1e-5);
      EXPECT_NEAR(y[1][token][2][2 * pair + 1].item<double>(), a * s + b * c, 1e-5);
    }
  }
}

TEST(ApplyRotary, MakesProductsDependOnTheOffsetAlone) {
  // The defining property: with the same q and k everywhere, q_i . k_j is a function of the grid offset i - j.
  torch::manual_seed(2);
  const int side = 4;
  const auto tables = rotary_tables(side, side, kHeadWidth, 16, at::kCPU);
  const auto q = apply_rotary(at::randn({kHeadWidth}).expand({1, 1 + side * side, 1, kHeadWidth}), tables).squeeze();
  const auto k = apply_rotary(at::randn({kHeadWidth}).expand({1, 1 + side * side, 1, kHeadWidth}), tables).squeeze();
  const auto product = [&](int yi, int xi, int yj, int xj) {
    return q[1 + yi * side + xi].dot(k[1 + yj * side + xj]).item<double>();
  };
  EXPECT_NEAR(product(0, 1, 1, 3), product(2, 0, 3, 2), 1e-4);
  EXPECT_NEAR(product(3, 3, 1, 0), product(2, 3, 0, 0), 1e-4);
  EXPECT_GT(std::abs(product(0, 0, 1, 1) - product(0, 0, 0, 2)), 1e-3);
}

TEST(ApplyRotary, PassesGradientsBackByTheOppositeTurn) {
  torch::manual_seed(3);
  const auto tables = rotary_tables(2, 2, kHeadWidth, 16, at::kCPU);
  const auto x = at::randn({1, 5, 2, kHeadWidth}).requires_grad_();
  const auto direction = at::randn({1, 5, 2, kHeadWidth});
  (apply_rotary(x, tables) * direction).sum().backward();
  // A rotation keeps lengths, so its transpose undoes it: turning the gradient forward again gives the direction back.
  EXPECT_TRUE(at::allclose(apply_rotary(x.grad(), tables), direction, 1e-5, 1e-5));
}

TEST(ApplyRotary, EqualsThePlainOneForAnyWidthAndView) {
  torch::manual_seed(4);
  for (const int width : {4, 12, 32, 64, 80, 88}) {
    const auto tables = rotary_tables(3, 5, width, 16, at::kCPU);
    const auto fused = at::randn({2, 16, 3, 3, width});
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const auto x = fused.to(type).select(2, 1);  // as of a fused projection
      auto own = x.detach().clone().set_requires_grad(true), plain = x.detach().clone().set_requires_grad(true);
      const auto y = apply_rotary(own, tables), expected = plain_rotary(plain, tables);
      const double tolerance = type == at::kFloat ? 1e-6 : 1.0 / 64;  // half a unit of numbers up to 4
      EXPECT_TRUE(at::allclose(y, expected, 0, tolerance)) << width;
      EXPECT_TRUE(at::equal(apply_rotary(x, tables), y)) << width;
      (y * y).sum().backward();
      (expected * expected).sum().backward();
      EXPECT_TRUE(at::allclose(own.grad(), plain.grad(), 0, 8 * tolerance)) << width;
    }
  }
}

TEST(RotaryTables, RefuseAHeadWidthThatIsNoMultipleOfFour) {
  EXPECT_THROW(rotary_tables(2, 2, 6, 16, at::kCPU), Error);
}

}  // namespace
}  // namespace clipself::ops
