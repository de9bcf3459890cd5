#include "clipself/ops/linear.h"

#include <gtest/gtest.h>

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
  const auto found = matrix_product(a, b);
  EXPECT_EQ(found.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(found.to(at::kDouble), at::mm(a.to(at::kDouble), b.to(at::kDouble)), 1.0 / 256, 1e-4));
}

TEST(Linear, ProductsOfOtherTypesStayAsTheyAre) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    EXPECT_EQ(product_type(at::kCPU, type), type);
    const auto x = at::randn({5, 6}, type), weight = at::randn({7, 6}, type), bias = at::randn({7}, type);
    EXPECT_TRUE(at::equal(ops::linear(x, weight, bias), at::linear(x, weight, bias)));
  }
  EXPECT_EQ(product_type(at::kCUDA, at::kBFloat16), at::kBFloat16);
  EXPECT_EQ(product_type(at::kCPU, at::kBFloat16), cpu::widens_bfloat16() ? at::kFloat : at::kBFloat16);
}

}  // namespace
}  // namespace clipself::ops
