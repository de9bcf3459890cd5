#include "clipself/ops/linear.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "clipself/ops/cpu/column_sums.h"
#include "clipself/ops/cpu/level.h"

namespace clipself::ops {
namespace {

/// y, and the gradients of x, weight and bias.
template <typename F>
std::vector<at::Tensor> layer_results(const F& layer, std::vector<at::Tensor> inputs) {
  for (auto& input : inputs) input = input.detach().clone().set_requires_grad(true);
  const auto y = layer(inputs[0], inputs[1], inputs[2]);
  at::manual_seed(4);
  const auto weights = at::randn(y.sizes()).to(at::kBFloat16).to(y.scalar_type());
  auto results = torch::autograd::grad({(y * weights).sum()}, inputs);
  results.insert(results.begin(), y.detach());
  return results;
}

/// That what `layer` makes of bfloat16, and its gradients, are those of `exact` in double. Sums are exact to float's
/// precision, so what is left is the rounding of each result to bfloat16: 1 part in 256 of itself at most.
template <typename F, typename G>
void expect_rounded_once(const F& layer, const G& exact, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> halves, doubles;
  for (const auto& input : inputs) halves.push_back(input.to(at::kBFloat16));
  for (const auto& input : halves) doubles.push_back(input.to(at::kDouble));
  const std::vector<at::Tensor> found = layer_results(layer, halves), expected = layer_results(exact, doubles);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].scalar_type(), at::kBFloat16);
    EXPECT_EQ(found[i].sizes(), expected[i].sizes());
    const at::Tensor wrong = (found[i].to(at::kDouble) - expected[i]).abs() - expected[i].abs() / 256;
    EXPECT_LT(wrong.max().item<double>(), 1e-4) << i;
  }
}

// With all of the processor, and with less of it (on_avx2/ops and the like), where operands are widened.
TEST(Linear, Bfloat16IsRoundedOnce) {
  at::manual_seed(3);
  expect_rounded_once([](auto&... a) { return ops::linear(a...); }, [](auto&... a) { return at::linear(a...); },
                      {at::randn({2, 65, 96}), at::randn({40, 96}), at::randn({40})});
}

// A float32 weight is rounded as it is multiplied, and its gradient is float32.
TEST(Linear, Bfloat16MeetsAFloatWeight) {
  at::manual_seed(3);
  const auto x = at::randn({2, 65, 96}).to(at::kBFloat16);
  const auto weight = at::randn({40, 96}).to(at::kBFloat16), bias = at::randn({40}).to(at::kBFloat16);
  const auto found =
      layer_results([](auto&... a) { return ops::linear(a...); }, {x, weight.to(at::kFloat), bias.to(at::kFloat)});
  const auto expected = layer_results([](auto&... a) { return at::linear(a...); },
                                      {x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble)});
  const std::array types{at::kBFloat16, at::kBFloat16, at::kFloat, at::kFloat};
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].scalar_type(), types.at(i));
    EXPECT_LT(((found[i].to(at::kDouble) - expected[i]).abs() - expected[i].abs() / 256).max().item<double>(), 1e-4)
        << i;
  }
}

// Large enough for blocks of our own (cpu/blocked_product.h): whole and partial ones in each direction, several chunks
// of rows, the columns of few rows divided among threads; and sums in float.
class LargeLinear : public ::testing::TestWithParam<std::array<std::int64_t, 3>> {};

TEST_P(LargeLinear, FloatIsExactToItsPrecision) {
  at::manual_seed(8);
  const auto [tokens, in, out] = GetParam();
  const std::vector<at::Tensor> inputs{at::randn({1, tokens, in}), at::randn({out, in}), at::randn({out})};
  std::vector<at::Tensor> doubles;
  for (const auto& input : inputs) doubles.push_back(input.to(at::kDouble));
  const auto found = layer_results([](auto&... a) { return ops::linear(a...); }, inputs);
  const auto expected = layer_results([](auto&... a) { return at::linear(a...); }, doubles);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].scalar_type(), at::kFloat);
    EXPECT_EQ(found[i].sizes(), expected[i].sizes());
    EXPECT_TRUE(at::allclose(found[i].to(at::kDouble), expected[i], 1e-5, 1e-3)) << i;
  }
}

TEST_P(LargeLinear, Bfloat16IsRoundedOnce) {
  at::manual_seed(9);
  const auto [tokens, in, out] = GetParam();
  expect_rounded_once([](auto&... a) { return ops::linear(a...); }, [](auto&... a) { return at::linear(a...); },
                      {at::randn({1, tokens, in}), at::randn({out, in}), at::randn({out})});
}

INSTANTIATE_TEST_SUITE_P(Shapes, LargeLinear,
                         ::testing::Values(std::array<std::int64_t, 3>{32, 256, 32},
                                           std::array<std::int64_t, 3>{33, 257, 65},
                                           std::array<std::int64_t, 3>{1100, 70, 129},
                                           std::array<std::int64_t, 3>{97, 1030, 500},
                                           std::array<std::int64_t, 3>{4097, 63, 33}));

TEST(Linear, LargeProductsTakeAnyStrides) {
  at::manual_seed(10);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto a = at::randn({150, 90}).to(type), b = at::randn({70, 90}).to(type);
    const auto expected = at::mm(a.to(at::kDouble), b.to(at::kDouble).t());
    const auto close = [&](const at::Tensor& found) {
      return at::allclose(found.to(at::kDouble), expected, type == at::kFloat ? 1e-5 : 1.0 / 256, 1e-4);
    };
    const auto across = a.t().contiguous().t(), wide = b.t().contiguous();
    const auto apart = at::stack({a, a}, /*dim=*/2).select(2, 1);
    EXPECT_TRUE(close(matrix_product(a, b.t(), type)));
    EXPECT_TRUE(close(matrix_product(across, wide, type)));
    EXPECT_TRUE(close(matrix_product(apart, b.t(), type)));
    const auto seen_often = at::randn({1, 90}).to(type).expand({150, 90});
    EXPECT_TRUE(at::equal(matrix_product(seen_often, wide, type), matrix_product(seen_often.contiguous(), wide, type)));
  }
}

TEST(Linear, TakesASingleTokenAndOneBiasForAllAndMayBeChangedInPlace) {
  at::manual_seed(12);
  const auto weight = at::randn({256, 128}).to(at::kBFloat16), bias = at::randn({1}).to(at::kBFloat16);
  const auto exact = [&](const at::Tensor& x) {
    return at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.expand({256}).to(at::kDouble));
  };
  for (const auto& x : {at::randn({128}).to(at::kBFloat16), at::randn({64, 128}).to(at::kBFloat16)}) {
    auto own = x.clone().set_requires_grad(true);
    const auto y = ops::linear(own, weight, bias.expand({256}));
    EXPECT_TRUE(at::allclose(y.to(at::kDouble), exact(x), 1.0 / 128, 1e-2));
    y.mul_(2).sum().backward();
    const auto slope = weight.to(at::kFloat).sum(0) * 2;
    EXPECT_TRUE(at::allclose(own.grad().to(at::kFloat), slope.expand_as(x), 1.0 / 128, 1e-2));
  }
}

TEST(Linear, SumsOfColumnsAreOfAnyStridesAndThreads) {
  at::manual_seed(13);
  const auto x = at::randn({700, 75});
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto own = x.to(type);
    for (const auto& view : {own, own.t(), own.narrow(1, 3, 33), own.narrow(0, 5, 2), own.narrow(0, 0, 0)}) {
      const auto found = cpu::column_sums(view);
      EXPECT_EQ(found.scalar_type(), at::kFloat);
      EXPECT_TRUE(at::allclose(found.to(at::kDouble), view.to(at::kDouble).sum(0), 1e-5, 1e-4)) << view.sizes();
    }
    const auto many = at::randn({4000, 2001}).to(type);
    const int threads = at::get_num_threads();
    at::set_num_threads(3);
    const auto together = cpu::column_sums(many);
    at::set_num_threads(1);
    EXPECT_TRUE(at::equal(cpu::column_sums(many), together));
    at::set_num_threads(threads);
  }
}

TEST(Linear, WhatIsNoNumberStaysInItsRow) {
  auto x = at::randn({200, 64});
  x[130][7] = std::numeric_limits<float>::quiet_NaN();
  const auto rows = ops::linear(x, at::randn({96, 64})).isnan();
  EXPECT_TRUE(rows[130].all().item<bool>());
  EXPECT_EQ(rows.sum().item<int>(), 96);
}

TEST(Linear, ConvolutionsOfBfloat16AreRoundedOnce) {
  at::manual_seed(6);
  const auto x = at::randn({2, 12, 9, 7});
  expect_rounded_once([](auto&... a) { return ops::conv2d(a..., /*stride=*/1, /*padding=*/1); },
                      [](auto&... a) { return at::conv2d(a..., 1, 1); },
                      {x, at::randn({10, 12, 3, 3}), at::randn({10})});
  expect_rounded_once([](auto&... a) { return ops::conv_transpose2d(a..., /*stride=*/2); },
                      [](auto&... a) { return at::conv_transpose2d(a..., 2); },
                      {x, at::randn({12, 10, 2, 2}), at::randn({10})});
}

// As layers are: weights are float, and their gradients too.
TEST(Linear, ConvolutionsOfBfloat16WithFloatWeights) {
  at::manual_seed(7);
  const auto x = at::randn({2, 6, 8, 8}).to(at::kBFloat16);
  const auto rounded = at::randn({4, 6, 3, 3}).to(at::kBFloat16);
  auto weight = rounded.to(at::kFloat).set_requires_grad(true);
  auto exact = rounded.to(at::kDouble).set_requires_grad(true);
  const auto y = ops::conv2d(x, weight, {}, /*stride=*/1, /*padding=*/1);
  const auto expected = at::conv2d(x.to(at::kDouble), exact, {}, 1, 1);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(y.to(at::kDouble), expected, 1.0 / 256, 1e-4));
  y.sum().backward();
  expected.sum().backward();
  EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(weight.grad().to(at::kDouble), exact.grad(), 1.0 / 256, 1e-4));
}

TEST(Linear, ConvolutionsOfOtherTypesStayAsTheyAre) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const auto x = at::randn({1, 3, 8, 8}, type), weight = at::randn({5, 3, 4, 4}, type), back = weight.transpose(0, 1);
    EXPECT_TRUE(at::equal(ops::conv2d(x, weight, {}, 4, 0), at::conv2d(x, weight, {}, 4)));
    EXPECT_TRUE(at::equal(ops::conv_transpose2d(x, back, {}, 2), at::conv_transpose2d(x, back, {}, 2)));
  }
}

TEST(Linear, LeavesOutWhatNeedsNoGradient) {
  const auto x = at::randn({3, 8}).to(at::kBFloat16);
  auto weight = at::randn({4, 8}).to(at::kBFloat16).set_requires_grad(true);
  ops::linear(x, weight).sum().backward();
  EXPECT_TRUE(at::allclose(weight.grad().to(at::kFloat), x.to(at::kFloat).sum(0).expand({4, 8}), 1.0 / 256, 1e-4));
}

TEST(Linear, MatrixProductOfBfloat16) {
  at::manual_seed(5);
  const auto a = at::randn({33, 70}).to(at::kBFloat16), b = at::randn({70, 20}).to(at::kBFloat16);
  const auto found = matrix_product(a, b, at::kBFloat16);
  EXPECT_EQ(found.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(found.to(at::kDouble), at::mm(a.to(at::kDouble), b.to(at::kDouble)), 1.0 / 256, 1e-4));
}

TEST(Linear, ProductsOfOtherTypesStayAsTheyAre) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    EXPECT_EQ(product_type(at::kCPU, type), type);
    const auto x = at::randn({5, 6}, type), weight = at::randn({7, 6}, type), bias = at::randn({7}, type);
    EXPECT_TRUE(at::equal(ops::linear(x, weight, bias), at::linear(x, weight, bias)));
  }
  const auto x = at::randn({96, 64}, at::kDouble), weight = at::randn({128, 64}, at::kDouble);
  EXPECT_TRUE(at::equal(ops::linear(x, weight), at::linear(x, weight)));
  EXPECT_EQ(product_type(at::kCUDA, at::kBFloat16), at::kBFloat16);
  EXPECT_EQ(product_type(at::kCPU, at::kBFloat16), cpu::widens_bfloat16() ? at::kFloat : at::kBFloat16);
}

}  // namespace
}  // namespace clipself::ops
