#include "clipself/ops/swiglu.h"

#include <gtest/gtest.h>

namespace clipself::ops {
namespace {

constexpr double kEps = 1e-6;
constexpr std::int64_t kOut = 24;

std::vector<at::Tensor> random_inputs(std::int64_t tokens, std::int64_t width, at::ScalarType type) {
  at::manual_seed(11);
  return {(at::randn({2, tokens, width}) * 3).to(type),
          at::randn({2, tokens, width}).to(type),
          at::randn({width}) + 1.0,
          at::randn({width}),
          (at::randn({kOut, width}) / 8).to(at::kBFloat16).to(at::kFloat),
          at::randn({kOut})};
}

/// The output and the gradients of all inputs.
template <typename F>
std::vector<at::Tensor> results_of(const F& function, std::vector<at::Tensor> inputs) {
  for (auto& input : inputs) input = input.detach().clone().set_requires_grad(true);
  const auto y = function(inputs[0], inputs[1], inputs[2], inputs[3], kEps, inputs[4], inputs[5]);
  at::manual_seed(12);
  auto results =
      torch::autograd::grad({(y * at::randn(y.sizes()).to(at::kBFloat16).to(y.scalar_type())).sum()}, inputs);
  results.insert(results.begin(), y.detach());
  return results;
}

std::vector<at::Tensor> in_double(std::vector<at::Tensor> inputs) {
  for (auto& input : inputs) input = input.to(at::kDouble);
  return inputs;
}

double error(const at::Tensor& found, const at::Tensor& expected) {
  const auto reference = expected.to(at::kDouble);
  return (found.to(at::kDouble) - reference).abs().max().item<double>() / reference.abs().max().item<double>();
}

/// Widths that are multiples of a register's, and such as ViT-L's 2730.
class SwiGluOf : public ::testing::TestWithParam<std::pair<std::int64_t, std::int64_t>> {};

TEST_P(SwiGluOf, FloatEqualsFloat64) {
  const auto inputs = random_inputs(GetParam().first, GetParam().second, at::kFloat);
  const auto found = results_of(swiglu_norm_linear, inputs),
             expected = results_of(plain_swiglu_norm_linear, in_double(inputs));
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_LT(error(found[i], expected[i]), 5e-6) << i;
}

// The linear layer's input, output and input's gradient are rounded to bfloat16 (1 part in 512), then each result.
TEST_P(SwiGluOf, Bfloat16IsWithinItsRounding) {
  const auto inputs = random_inputs(GetParam().first, GetParam().second, at::kBFloat16);
  const auto found = results_of(swiglu_norm_linear, inputs),
             expected = results_of(plain_swiglu_norm_linear, in_double(inputs));
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_LT(error(found[i], expected[i]), 1.0 / 100) << i;
}

INSTANTIATE_TEST_SUITE_P(Shapes, SwiGluOf,
                         ::testing::Values(std::pair{1, 16}, std::pair{63, 64}, std::pair{65, 30}, std::pair{130, 2730},
                                           std::pair{3, 5}));

TEST(SwiGlu, AnyOneInputMayBeTrainedAlone) {
  const auto inputs = random_inputs(3, 16, at::kFloat);
  const auto all = results_of(swiglu_norm_linear, inputs);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    auto own = inputs;
    own[i] = own[i].detach().clone().set_requires_grad(true);
    const auto y = swiglu_norm_linear(own[0], own[1], own[2], own[3], kEps, own[4], own[5]);
    at::manual_seed(12);
    const auto gradient =
        torch::autograd::grad({(y * at::randn(y.sizes()).to(at::kBFloat16).to(at::kFloat)).sum()}, {own[i]});
    EXPECT_TRUE(at::allclose(gradient[0], all[i + 1], 1e-5, 1e-6)) << i;
  }
}

TEST(SwiGlu, TakesViewsAndWhatBroadcasts) {
  auto inputs = random_inputs(3, 16, at::kFloat);
  const auto plain = [&] {
    return plain_swiglu_norm_linear(inputs[0], inputs[1], inputs[2], inputs[3], kEps, inputs[4], inputs[5]);
  };
  const auto ours = [&] {
    return swiglu_norm_linear(inputs[0], inputs[1], inputs[2], inputs[3], kEps, inputs[4], inputs[5]);
  };
  inputs[2] = at::full({1}, 1.5).expand({16});
  EXPECT_TRUE(at::allclose(ours(), plain(), 1e-5, 1e-5));
  inputs[1] = inputs[1].narrow(0, 0, 1);
  EXPECT_TRUE(at::allclose(ours(), plain(), 1e-5, 1e-5));
}

TEST(SwiGlu, LargeGatesOpenOrCloseWithoutOverflow) {
  const auto gate = at::tensor({-1e4F, -90.0F, 90.0F, 1e4F}).view({1, 1, 4}), value = at::ones({1, 1, 4});
  const auto y = swiglu_norm_linear(gate, value, at::ones(4), at::zeros(4), kEps, at::eye(4), at::zeros(4));
  EXPECT_TRUE(at::allclose(y, at::layer_norm(at::tensor({0.0F, 0.0F, 90.0F, 1e4F}).view({1, 1, 4}), {4})));
}

TEST(SwiGlu, GradientsOfThePlainOneAreFiniteDifferences) {
  auto inputs = in_double(random_inputs(2, 5, at::kFloat));
  at::manual_seed(12);
  const auto weight = at::randn({2, 2, kOut}).to(at::kBFloat16).to(at::kDouble);
  const auto gradients = results_of(plain_swiglu_norm_linear, inputs);
  constexpr double kStep = 1e-6;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    auto flat = inputs[i].view(-1);
    for (std::int64_t j = 0; j < flat.numel(); ++j) {
      const double own = flat[j].item<double>();
      const auto value = [&](double x) {
        flat[j] = x;
        return (plain_swiglu_norm_linear(inputs[0], inputs[1], inputs[2], inputs[3], kEps, inputs[4], inputs[5]) *
                weight)
            .sum()
            .item<double>();
      };
      const double slope = (value(own + kStep) - value(own - kStep)) / (2 * kStep);
      flat[j] = own;
      EXPECT_NEAR(gradients[i + 1].view(-1)[j].item<double>(), slope, 1e-5 * std::max(1.0, std::abs(slope)));
    }
  }
}

}  // namespace
}  // namespace clipself::ops
