#include "clipself/ops/checkpointing.h"

#include <gtest/gtest.h>

namespace clipself::ops {
namespace {

struct Layer {
  at::Tensor weight = at::randn({4, 4}).requires_grad_();
  at::Tensor bias = at::randn({4}).requires_grad_();
  at::Tensor frozen = at::randn({4});
  int calls = 0;

  at::Tensor run(const at::Tensor& x) {
    ++calls;
    return (x.matmul(weight) + bias).tanh() * frozen;
  }
};

TEST(Checkpoint, GivesTheGradientsOfThePlainFunction) {
  torch::manual_seed(1);
  Layer layer;
  auto x = at::randn({3, 4}).requires_grad_();
  layer.run(x).pow(2).sum().backward();
  const auto expected = std::vector{x.grad().clone(), layer.weight.grad().clone(), layer.bias.grad().clone()};
  for (auto* tensor : {&x, &layer.weight, &layer.bias}) tensor->mutable_grad().reset();

  checkpoint([&](const at::Tensor& input) { return layer.run(input); }, x, {layer.weight, layer.bias, layer.frozen})
      .pow(2)
      .sum()
      .backward();
  EXPECT_TRUE(at::equal(x.grad(), expected[0]));
  EXPECT_TRUE(at::equal(layer.weight.grad(), expected[1]));
  EXPECT_TRUE(at::equal(layer.bias.grad(), expected[2]));
  EXPECT_EQ(layer.calls, 3);  // once plainly, once forward, once again in the backward pass
}

TEST(Checkpoint, WorksWhenOnlyParametersNeedGradients) {
  torch::manual_seed(2);
  Layer layer;
  const auto x = at::randn({3, 4});
  checkpoint([&](const at::Tensor& input) { return layer.run(input); }, x, {layer.weight, layer.bias}).sum().backward();
  const auto got = layer.weight.grad().clone();
  layer.weight.mutable_grad().reset();
  layer.run(x).sum().backward();
  EXPECT_TRUE(at::equal(got, layer.weight.grad()));
}

TEST(Checkpoint, RunsPlainlyWithoutGradients) {
  Layer layer;
  const at::NoGradGuard no_grad;
  const auto y =
      checkpoint([&](const at::Tensor& input) { return layer.run(input); }, at::ones({1, 4}), {layer.weight});
  EXPECT_FALSE(y.requires_grad());
  EXPECT_EQ(layer.calls, 1);
}

}  // namespace
}  // namespace clipself::ops
