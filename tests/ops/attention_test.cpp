#include "clipself/ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clipself/ops/cpu/attention.h"
#include "clipself/ops/cpu/level.h"

namespace clipself::ops {
namespace {

struct Shape {
  std::int64_t batch, queries, keys, heads, width;
};

void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.batch << " x " << shape.queries << " on " << shape.keys << ", " << shape.heads << " heads of "
       << shape.width;
}

/// Softmax attention written out in float64.
at::Tensor written_out(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto heads_first = [](const at::Tensor& x) { return x.to(at::kDouble).transpose(1, 2); };
  const auto scores =
      at::matmul(heads_first(q), heads_first(k).transpose(-1, -2)) / std::sqrt(static_cast<double>(q.size(3)));
  return at::matmul(scores.softmax(-1), heads_first(v)).transpose(1, 2).flatten(2);
}

struct Result {
  at::Tensor out, dq, dk, dv;
};

template <typename F>
Result differentiated(const F& function, std::vector<at::Tensor> inputs, const at::Tensor& weight) {
  for (auto& input : inputs) input = input.detach().clone().set_requires_grad(true);
  const auto out = function(inputs[0], inputs[1], inputs[2]);
  const auto gradients = torch::autograd::grad({(out * weight.to(out.scalar_type())).sum()}, inputs);
  return {out.detach(), gradients[0], gradients[1], gradients[2]};
}

/// The largest difference, in parts of the largest number expected (of 1 where that is less).
double error(const at::Tensor& found, const at::Tensor& expected) {
  const auto reference = expected.to(at::kDouble);
  return (found.to(at::kDouble) - reference).abs().max().item<double>() /
         std::max(1.0, reference.abs().max().item<double>());
}

class AttentionOf : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    at::manual_seed(7);
    const auto& s = GetParam();
    inputs_ = {at::randn({s.batch, s.queries, s.heads, s.width}) * 2,
               at::randn({s.batch, s.keys, s.heads, s.width}) * 2, at::randn({s.batch, s.keys, s.heads, s.width})};
    weight_ = at::randn({s.batch, s.queries, s.heads * s.width});
  }
  Result ours(at::ScalarType type) const {
    std::vector<at::Tensor> inputs;
    for (const auto& input : inputs_) inputs.push_back(input.to(type));
    return differentiated([](auto& q, auto& k, auto& v) { return attention(q, k, v, /*causal=*/false); }, inputs,
                          weight_);
  }
  Result exact(at::ScalarType rounded) const {
    std::vector<at::Tensor> inputs;
    for (const auto& input : inputs_) inputs.push_back(input.to(rounded).to(at::kDouble));
    return differentiated(written_out, inputs, weight_.to(rounded).to(at::kDouble));
  }
  std::vector<at::Tensor> inputs_;
  at::Tensor weight_;
};

TEST_P(AttentionOf, FloatEqualsWhatIsWrittenOut) {
  const auto found = ours(at::kFloat), expected = exact(at::kFloat);
  EXPECT_LT(error(found.out, expected.out), 3e-6);
  EXPECT_LT(error(found.dq, expected.dq), 1e-5);
  EXPECT_LT(error(found.dk, expected.dk), 1e-5);
  EXPECT_LT(error(found.dv, expected.dv), 1e-5);
}

// Weights and gradients of scores are rounded to 8 bits, 1 part in 256 at most, before they are summed up in float32,
// and so are the results.
TEST_P(AttentionOf, Bfloat16IsWithinItsRounding) {
  const auto found = ours(at::kBFloat16), expected = exact(at::kBFloat16);
  EXPECT_LT(error(found.out, expected.out), 1.0 / 100);
  EXPECT_LT(error(found.dq, expected.dq), 1.0 / 50);
  EXPECT_LT(error(found.dk, expected.dk), 1.0 / 50);
  EXPECT_LT(error(found.dv, expected.dv), 1.0 / 50);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionOf,
                         ::testing::Values(Shape{1, 1, 1, 1, 64}, Shape{2, 63, 63, 3, 32}, Shape{5, 65, 65, 2, 80},
                                           Shape{1, 257, 257, 2, 64}, Shape{3, 1, 129, 2, 64}, Shape{1, 300, 17, 4, 48},
                                           Shape{2, 512, 256, 1, 88}, Shape{2, 33, 159, 3, 64},
                                           Shape{1, 128, 545, 2, 64}, Shape{1, 129, 300, 1, 2},
                                           Shape{1, 300, 47, 1, 34}, Shape{1, 1025, 1025, 2, 64},
                                           Shape{1, 4097, 4097, 1, 64}));

TEST(Attention, TakesViewsOfAFusedProjection) {
  at::manual_seed(1);
  const auto qkv = at::randn({2, 37, 3, 2, 32});
  const auto found = attention(qkv.select(2, 0), qkv.select(2, 1), qkv.select(2, 2), /*causal=*/false);
  EXPECT_LT(error(found, written_out(qkv.select(2, 0), qkv.select(2, 1), qkv.select(2, 2))), 3e-6);
  const auto swapped = at::randn({2, 37, 32, 2}).transpose(2, 3);  // a head's numbers apart
  EXPECT_LT(error(attention(swapped, swapped, swapped, /*causal=*/false), written_out(swapped, swapped, swapped)),
            3e-6);
}

TEST(Attention, TakesOneRowSeenManyTimes) {
  at::manual_seed(5);
  const auto k = at::randn({3, 20, 2, 32}), v = at::randn({3, 20, 2, 32});
  for (const auto& q : {at::randn({1, 1, 2, 32}).expand({3, 1, 2, 32}), at::randn({1, 1, 2, 32}).expand({3, 7, 2, 32})})
    EXPECT_LT(error(attention(q, k, v, /*causal=*/false), written_out(q, k, v)), 3e-6);
  const auto one = at::randn({3, 1, 2, 32}).expand({3, 20, 2, 32});
  EXPECT_LT(error(attention(k, one, one, /*causal=*/false), written_out(k, one, one)), 3e-6);
  // The gradient of a sum is one number seen everywhere.
  auto own = k.detach().clone().set_requires_grad(true);
  attention(own, own, own, /*causal=*/false).sum().backward();
  auto exact = k.to(at::kDouble).set_requires_grad(true);
  written_out(exact, exact, exact).sum().backward();
  EXPECT_LT(error(own.grad(), exact.grad()), 1e-5);
}

TEST(Attention, LargeScoresNeitherOverflowNorVanish) {
  at::manual_seed(2);
  for (const std::int64_t width : {32, 64}) {
    const auto q = at::randn({1, 300, 1, width}) * 40, k = at::randn({1, 700, 1, width}) * 40,
               v = at::randn({1, 700, 1, width});
    EXPECT_LT(error(attention(q, k, v, /*causal=*/false), written_out(q, k, v)), 1e-4);
    const auto same = at::full({1, 5, 1, width}, 1e4);
    for (const auto type : {at::kFloat, at::kBFloat16})
      EXPECT_TRUE(at::allclose(attention(same.to(type), same.to(type), v.narrow(1, 0, 5).to(type), /*causal=*/false)
                                   .select(1, 0)
                                   .to(at::kFloat),
                               v.narrow(1, 0, 5).to(type).to(at::kFloat).mean(1).flatten(1), 1e-2, 1e-2));
  }
}

// What is relative to the first block's maximum must be found out of reach, and be relative to the later ones'.
TEST(Attention, LaterScoresAreFarAboveTheFirst) {
  at::manual_seed(9);
  constexpr std::int64_t kKeys = 700, kWidth = 64;
  const auto rising = at::linspace(-8, 8, kKeys, at::kFloat).view({1, kKeys, 1, 1});
  const std::vector<at::Tensor> inputs{at::randn({1, 70, 1, kWidth}) * 0.1 + 4,
                                       at::randn({1, kKeys, 1, kWidth}) * 0.1 + rising,
                                       at::randn({1, kKeys, 1, kWidth})};
  const auto weight = at::randn({1, 70, kWidth}).to(at::kBFloat16);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    std::vector<at::Tensor> own, exact;
    for (const auto& input : inputs) {
      own.push_back(input.to(type));
      exact.push_back(own.back().to(at::kDouble));
    }
    const auto found =
        differentiated([](auto& q, auto& k, auto& v) { return attention(q, k, v, /*causal=*/false); }, own, weight);
    const auto expected = differentiated(written_out, exact, weight.to(at::kDouble));
    const double bound = type == at::kFloat ? 1e-4 : 1.0 / 50;
    EXPECT_LT(error(found.out, expected.out), bound);
    EXPECT_LT(error(found.dq, expected.dq), 4 * bound);  // sums of keys as large as 8 that all but cancel out
    EXPECT_LT(error(found.dk, expected.dk), bound);
    EXPECT_LT(error(found.dv, expected.dv), bound);
  }
}

TEST(Attention, ScoresMayBeTimesAnything) {
  if (cpu::level() < cpu::Level::kAvx2) GTEST_SKIP() << "no kernels of our own";
  at::manual_seed(14);
  const auto x = at::randn({1, 80, 1, 64}).to(at::kBFloat16), exact = x.to(at::kDouble).transpose(1, 2);
  for (const double scale : {-0.125, 0.0, 1e-46, 1e-30, 0.02}) {
    const auto found = std::get<0>(cpu::attention_forward(x, x, x, scale));
    const auto weights = (at::matmul(exact, exact.transpose(2, 3)) * scale).softmax(-1);
    EXPECT_LT(error(found.transpose(1, 2), at::matmul(weights, exact)), 1.0 / 100) << scale;
  }
}

class AttentionOfWidth : public ::testing::TestWithParam<std::int64_t> {};
INSTANTIATE_TEST_SUITE_P(Widths, AttentionOfWidth, ::testing::Values(32, 64));

TEST_P(AttentionOfWidth, WhatIsNoNumberShows) {
  const auto x = at::randn({1, 40, 1, GetParam()});
  auto broken = x.clone();
  broken[0][3][0][5] = std::numeric_limits<float>::quiet_NaN();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    EXPECT_TRUE(attention(x.to(type), broken.to(type), x.to(type), /*causal=*/false).isnan().all().item<bool>());
    const auto one = attention(broken.to(type), x.to(type), x.to(type), /*causal=*/false).isnan().any(-1)[0];
    EXPECT_TRUE(one[3].item<bool>());
    EXPECT_EQ(one.sum().item<int>(), 1);
    const auto result = differentiated([](auto& q, auto& k, auto& v) { return attention(q, k, v, /*causal=*/false); },
                                       {x.to(type), broken.to(type), x.to(type)}, at::ones({1, 40, GetParam()}));
    for (const auto& gradient : {result.dq, result.dk, result.dv}) EXPECT_TRUE(gradient.isnan().any().item<bool>());
  }
}

TEST(Attention, GradientsOfThePlainOneAreFiniteDifferences) {
  at::manual_seed(3);
  const auto options = at::TensorOptions(at::kDouble);
  std::vector<at::Tensor> inputs{at::randn({1, 3, 2, 4}, options), at::randn({1, 5, 2, 4}, options),
                                 at::randn({1, 5, 2, 4}, options)};
  const auto weight = at::randn({1, 3, 8}, options);
  const auto plain = [](auto& q, auto& k, auto& v) { return plain_attention(q, k, v, /*causal=*/false); };
  const auto found = differentiated(plain, inputs, weight);
  const at::Tensor* gradients[] = {&found.dq, &found.dk, &found.dv};
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < 3; ++i) {
    auto flat = inputs[i].view(-1);
    for (std::int64_t j = 0; j < flat.numel(); ++j) {
      const double own = flat[j].item<double>();
      const auto value = [&](double x) {
        flat[j] = x;
        return (plain(inputs[0], inputs[1], inputs[2]) * weight).sum().template item<double>();
      };
      const double slope = (value(own + kStep) - value(own - kStep)) / (2 * kStep);
      flat[j] = own;
      EXPECT_NEAR(gradients[i]->view(-1)[j].item<double>(), slope, 1e-7);
    }
  }
}

TEST(Attention, CausalAndMaskedAreAtens) {
  at::manual_seed(4);
  const auto x = at::randn({1, 9, 2, 16});
  const auto causal = attention(x, x, x, /*causal=*/true);
  EXPECT_LT(error(causal[0][0], x.flatten(2)[0][0]), 1e-6) << "the first sees itself alone";
  const auto mask = at::eye(9, at::kBool).view({1, 1, 9, 9});
  EXPECT_LT(error(attention(x, x, x, /*causal=*/false, mask), x.flatten(2)), 1e-6);
}

TEST(CpuLevel, IsWithinWhatTheProcessorHas) {
  EXPECT_LE(cpu::level(), cpu::detected_level());
  if (cpu::level() == cpu::Level::kGeneric) {
    EXPECT_FALSE(cpu::has_matrix_products(at::kFloat));
  }
  EXPECT_EQ(cpu::has_matrix_products(at::kFloat), cpu::level() >= cpu::Level::kAvx2);
  EXPECT_EQ(cpu::has_matrix_products(at::kBFloat16), cpu::multiplies_bfloat16());
  EXPECT_FALSE(cpu::has_matrix_products(at::kDouble));
  const auto x = at::ones({1, 3, 2, 8});
  EXPECT_EQ(cpu::has_attention(x, x, x), cpu::level() >= cpu::Level::kAvx2) << "the tests are of our own kernel";
}

}  // namespace
}  // namespace clipself::ops
