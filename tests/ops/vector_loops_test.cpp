// The loops for registers of sixteen numbers on any processor: the compiler makes several narrower ones of each, so
// their logic is tried where there is no AVX-512. They must give what the loops of this processor give.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/ops/cpu/aligned.h"
#include "clipself/ops/cpu/vector_kernels.h"

namespace clipself::ops::cpu {
namespace {

#pragma GCC diagnostic ignored "-Wpsabi"  // of functions that are all inlined
namespace sixteen {
constexpr int kLanes = 16;
#include "clipself/ops/cpu/vector_loops.inc"
}  // namespace sixteen

template <typename T>
class SixteenLanes : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(11); }
  /// Random numbers as T.
  static std::vector<T> numbers(std::int64_t count) {
    const auto drawn = at::randn({count}).to(c10::CppTypeToScalarType<T>::value);
    return {drawn.template const_data_ptr<T>(), drawn.template const_data_ptr<T>() + count};
  }
  static std::vector<float> floats(std::int64_t count, double scale = 1.0) {
    const auto drawn = at::randn({count}) * scale;
    return {drawn.const_data_ptr<float>(), drawn.const_data_ptr<float>() + count};
  }
  /// Sums are in another order, and bfloat16 may round to the neighbour; what is rounded to it in the end, AVX-512
  /// takes powers of two to 8e-5 for.
  template <typename U>
  static void expect_close(const std::vector<U>& found, const std::vector<U>& expected, const char* what) {
    ASSERT_EQ(found.size(), expected.size());
    const double bound = sizeof(U) == 2 ? 1.0 / 128 : sizeof(T) == 2 ? 2e-4 : 2e-5;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double a = static_cast<float>(found[i]), b = static_cast<float>(expected[i]);
      ASSERT_LE(std::abs(a - b), bound * std::max(1.0, std::abs(b))) << what << " " << i;
    }
  }
};

using Types = ::testing::Types<float, at::BFloat16>;
TYPED_TEST_SUITE(SixteenLanes, Types);

TYPED_TEST(SixteenLanes, WeighAndFinish) {
  constexpr std::int64_t kRows = 5, kColumns = 48, kValid = 37, kWidth = 20;
  const auto scores = this->floats(kRows * kColumns, 3), sums = this->floats(kRows * kWidth);
  const auto run = [&](const AttentionLoops<TypeParam>& loops) {
    struct {
      std::vector<float> m, l, out, lse;
      std::vector<TypeParam> weights, finished;
    } r{std::vector<float>(kRows),
        std::vector<float>(kRows),
        sums,
        std::vector<float>(kRows),
        std::vector<TypeParam>(kRows * kColumns),
        std::vector<TypeParam>(kRows * kWidth)};
    for (const bool begun : {false, true}) {
      auto block = scores;
      if (begun)
        for (auto& score : block) score += 1;  // so that the maxima grow
      loops.weigh(block.data(), kRows, kColumns, kValid, 0.7F, begun, r.m.data(), r.l.data(), r.out.data(), kWidth,
                  r.weights.data());
    }
    loops.finish(r.out.data(), r.m.data(), r.l.data(), kRows, kWidth, r.finished.data(), kWidth, r.lse.data());
    return r;
  };
  const auto found = run(sixteen::attention_table<TypeParam>()), expected = run(attention_loops<TypeParam>());
  this->expect_close(found.m, expected.m, "maximum");
  this->expect_close(found.l, expected.l, "sum");
  this->expect_close(found.out, expected.out, "output");
  this->expect_close(found.weights, expected.weights, "weight");
  this->expect_close(found.finished, expected.finished, "result");
  this->expect_close(found.lse, expected.lse, "logarithm");
}

TYPED_TEST(SixteenLanes, DeriveInPlaceAndApart) {
  constexpr std::int64_t kRows = 5, kColumns = 48, kRow = 64;
  const auto scores = this->floats(kRows * kRow), d_weights = this->floats(kRows * kRow), lse = this->floats(kColumns),
             delta = this->floats(kColumns);
  const auto run = [&](const AttentionLoops<TypeParam>& loops) {
    std::vector<TypeParam> weights(kRows * kRow), d_scores(kRows * kRow), pairs((kRows + 1) * kRow);
    loops.derive(scores.data(), d_weights.data(), kRows, kColumns, kRow, 0.5F, lse.data(), delta.data(), weights.data(),
                 d_scores.data(), pairs.data());
    weights.insert(weights.end(), d_scores.begin(), d_scores.end());
    if constexpr (sizeof(TypeParam) == 2) {
      weights.insert(weights.end(), pairs.begin(), pairs.end());
    } else {
      auto first = scores, second = d_weights;
      loops.derive(first.data(), second.data(), kRows, kColumns, kRow, 0.5F, lse.data(), delta.data(), first.data(),
                   second.data(), pairs.data());
      for (std::int64_t r = 0; r < kRows; ++r) {
        for (std::int64_t c = r * kRow; c < r * kRow + kColumns; ++c) {
          EXPECT_EQ(first[c], weights[c]);
          EXPECT_EQ(second[c], d_scores[c]);
        }
      }
    }
    return weights;
  };
  this->expect_close(run(sixteen::attention_table<TypeParam>()), run(attention_loops<TypeParam>()), "derived");
}

TYPED_TEST(SixteenLanes, RowProducts) {
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t width : {2, 15, 16, 34, 80}) {
    const auto a = this->numbers(kRows * width), b = this->numbers(kRows * width);
    std::vector<float> found(kRows), expected(kRows);
    sixteen::attention_table<TypeParam>().row_products(a.data(), width, b.data(), width, kRows, width, found.data());
    attention_loops<TypeParam>().row_products(a.data(), width, b.data(), width, kRows, width, expected.data());
    this->expect_close(found, expected, "product");
  }
}

TYPED_TEST(SixteenLanes, AddRows) {
  for (const std::int64_t rows : {1, 4, 7})
    for (const std::int64_t width : {1, 16, 35}) {
      const auto x = this->numbers(rows * (width + 3));
      auto found = this->floats(width), expected = found;
      sixteen::token_table<TypeParam>().add_rows(x.data(), width + 3, rows, width, found.data());
      token_loops<TypeParam>().add_rows(x.data(), width + 3, rows, width, expected.data());
      this->expect_close(found, expected, "sum");
    }
}

TYPED_TEST(SixteenLanes, ScaledAndBiased) {
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t width : {1, 16, 64, 67, 96}) {
    const auto x = this->floats(kRows * width), bias = this->floats(width);
    AlignedVector<TypeParam> to(static_cast<std::size_t>(kRows * width));
    const auto expect = [&](const auto& number, const char* what) {
      for (std::int64_t r = 0; r < kRows; ++r)
        for (std::int64_t c = 0; c < width; ++c)
          ASSERT_EQ(to[static_cast<std::size_t>(r * width + c)], TypeParam(number(r, c))) << what << " " << width;
    };
    const auto at = [&](std::int64_t i) { return x[static_cast<std::size_t>(i)]; };
    for (const auto* loops : {&sixteen::attention_table<TypeParam>(), &attention_loops<TypeParam>()}) {
      loops->scaled(x.data(), width, 1, kRows, width, 0.3F, to.data(), width);
      expect([&](auto r, auto c) { return at(r * width + c) * 0.3F; }, "scaled");
      loops->scaled(x.data(), 1, kRows, kRows, width, 0.3F, to.data(), width);
      expect([&](auto r, auto c) { return at(c * kRows + r) * 0.3F; }, "turned and scaled");
    }
    for (const auto* loops : {&sixteen::panel_table<TypeParam>(), &panel_loops<TypeParam>()}) {
      loops->add_bias(x.data(), width, kRows, width, bias.data(), to.data(), width);
      expect([&](auto r, auto c) { return at(r * width + c) + bias[static_cast<std::size_t>(c)]; }, "biased");
    }
  }
}

TYPED_TEST(SixteenLanes, Turn) {
  constexpr std::int64_t kHeads = 3;
  for (const std::int64_t width : {4, 16, 20, 64, 88}) {
    const auto x = this->numbers(kHeads * width);
    auto cos = this->floats(width), sin = this->floats(width);
    for (std::int64_t i = 1; i < width; i += 2) {
      cos[i] = cos[i - 1];
      sin[i] = sin[i - 1];
    }
    std::vector<TypeParam> found(kHeads * width), expected(kHeads * width);
    for (const float direction : {1.0F, -1.0F}) {
      sixteen::token_table<TypeParam>().turn(x.data(), width, kHeads, width, cos.data(), sin.data(), direction,
                                             found.data());
      token_loops<TypeParam>().turn(x.data(), width, kHeads, width, cos.data(), sin.data(), direction, expected.data());
      this->expect_close(found, expected, "turned");
    }
  }
}

TYPED_TEST(SixteenLanes, SwiGluWithItsNormAndTheirGradients) {
  for (const std::int64_t width : {5, 16, 33, 100}) {
    const auto gate = this->numbers(width), value = this->numbers(width), dy = this->numbers(width);
    const auto weight = this->floats(width), bias = this->floats(width);
    const auto run = [&](const TokenLoops<TypeParam>& loops) {
      std::vector<float> h(width), s(width), d_weight(width), d_bias(width), moments(2);
      std::vector<TypeParam> y(width), d_gate(width), d_value(width);
      loops.swiglu_norm(gate.data(), value.data(), width, weight.data(), bias.data(), 1e-6F, h.data(), y.data(),
                        &moments[0], &moments[1]);
      loops.swiglu_norm_backward(dy.data(), gate.data(), value.data(), width, weight.data(), moments[0], moments[1],
                                 h.data(), s.data(), d_gate.data(), d_value.data(), d_weight.data(), d_bias.data());
      for (const auto* part : {&d_weight, &d_bias}) moments.insert(moments.end(), part->begin(), part->end());
      for (const auto* part : {&d_gate, &d_value}) y.insert(y.end(), part->begin(), part->end());
      return std::pair(moments, y);
    };
    const auto found = run(sixteen::token_table<TypeParam>()), expected = run(token_loops<TypeParam>());
    this->expect_close(found.first, expected.first, "moments, gradients of weight and bias");
    this->expect_close(found.second, expected.second, "result and gradients");
  }
}

}  // namespace
}  // namespace clipself::ops::cpu
