#include "clipself/training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "clipself/base/error.h"

namespace clipself::training {
namespace {

at::Tensor parameter(at::IntArrayRef shape, std::int64_t seed) {
  torch::manual_seed(static_cast<std::uint64_t>(seed));
  return at::randn(shape).requires_grad_();
}

TEST(AdamW, FollowsItsFormula) {
  auto matrix = parameter({3, 4}, 1);
  const AdamWOptions options{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-5, .weight_decay = 0.3};
  AdamW optimizer({{"w", matrix}}, options);
  auto expected = matrix.detach().to(at::kDouble).clone();
  auto m = at::zeros_like(expected), v = at::zeros_like(expected);
  for (int t = 1; t <= 5; ++t) {
    const auto gradient = at::randn({3, 4});
    matrix.mutable_grad() = gradient;
    const double lr = 0.01 * t;
    optimizer.step(lr);
    const auto g = gradient.to(at::kDouble);
    expected = expected * (1 - lr * options.weight_decay);
    m = options.beta1 * m + (1 - options.beta1) * g;
    v = options.beta2 * v + (1 - options.beta2) * g * g;
    expected = expected - lr * (m / (1 - std::pow(options.beta1, t))) /
                              ((v / (1 - std::pow(options.beta2, t))).sqrt() + options.eps);
  }
  EXPECT_TRUE(at::allclose(matrix.detach().to(at::kDouble), expected, 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(optimizer.moments("w").first.to(at::kDouble), m, 1e-5, 1e-7));
}

TEST(AdamW, DecaysMatricesOnly) {
  const auto matrix = at::zeros({2, 2}), vector = at::zeros({2});
  EXPECT_TRUE(is_decayed("visual.blocks.0.mlp.w1.weight", matrix));
  EXPECT_FALSE(is_decayed("visual.blocks.0.norm1.weight", vector));
  EXPECT_FALSE(is_decayed("logit_scale", at::zeros({})));
  EXPECT_FALSE(is_decayed("rpn_bn.weight", matrix));
  EXPECT_FALSE(is_decayed("some.bias_table", matrix));
}

TEST(AdamW, LeavesParametersWithoutAGradientAlone) {
  auto with = parameter({2, 2}, 1), without = parameter({2, 2}, 2);
  const auto before = without.detach().clone();
  AdamW optimizer({{"a", with}, {"b", without}}, {.weight_decay = 0.5});
  with.mutable_grad() = at::ones({2, 2});
  optimizer.step(0.1);
  EXPECT_TRUE(at::equal(without.detach(), before));
  EXPECT_FALSE(optimizer.moments("b").first.defined());
  EXPECT_THROW(optimizer.moments("c"), Error);
}

TEST(AdamW, ClipsTheJointNorm) {
  auto a = parameter({2}, 1), b = parameter({2}, 2);
  AdamW optimizer({{"a", a}, {"b", b}}, {});
  a.mutable_grad() = at::tensor({3.0, 0.0}, at::kFloat);
  b.mutable_grad() = at::tensor({0.0, 4.0}, at::kFloat);
  EXPECT_NEAR(optimizer.clip_grad_norm(std::numeric_limits<double>::infinity()), 5.0, 1e-6);
  EXPECT_NEAR(a.grad()[0].item<double>(), 3.0, 1e-6);
  EXPECT_NEAR(optimizer.clip_grad_norm(1.0), 5.0, 1e-6);
  EXPECT_NEAR(a.grad()[0].item<double>(), 0.6, 1e-5);
  EXPECT_NEAR(b.grad()[1].item<double>(), 0.8, 1e-5);
}

TEST(AdamW, GoesOnFromASavedStateAsIfNeverStopped) {
  const auto run = [](bool interrupted) {
    auto w = parameter({4, 4}, 3), bias = parameter({4}, 4);
    auto optimizer = std::make_unique<AdamW>(NamedParameters{{"w", w}, {"bias", bias}}, AdamWOptions{});
    torch::manual_seed(9);
    for (int i = 0; i < 6; ++i) {
      if (interrupted && i == 3) {
        const auto state = optimizer->state_dict(0.1);
        optimizer = std::make_unique<AdamW>(NamedParameters{{"w", w}, {"bias", bias}}, AdamWOptions{});
        optimizer->load_state_dict(state);
      }
      w.mutable_grad() = at::randn({4, 4});
      bias.mutable_grad() = at::randn({4});
      optimizer->step(0.01);
    }
    return w.detach().clone();
  };
  EXPECT_TRUE(at::equal(run(false), run(true)));
}

TEST(AdamW, RefusesAStateOfOtherParameters) {
  auto w = parameter({4, 4}, 3);
  AdamW optimizer({{"w", w}}, {});
  w.mutable_grad() = at::ones({4, 4});
  optimizer.step(0.1);
  const auto state = optimizer.state_dict(0.1);
  AdamW other({{"w", parameter({4, 5}, 1)}}, {});
  EXPECT_THROW(other.load_state_dict(state), Error);
  AdamW more({{"w", w}, {"v", parameter({2, 2}, 1)}}, {});
  EXPECT_THROW(more.load_state_dict(state), Error);
  EXPECT_THROW(optimizer.load_state_dict(formats::Value(1)), Error);
}

}  // namespace
}  // namespace clipself::training
