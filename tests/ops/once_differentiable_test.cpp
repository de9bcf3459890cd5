// Operators whose gradients are written by hand: asked for gradients of those, they say that they have none.
#include "clipself/ops/once_differentiable.h"

#include <gtest/gtest.h>

#include "clipself/ops/attention.h"
#include "clipself/ops/batch_norm.h"
#include "clipself/ops/cpu/attention.h"
#include "clipself/ops/cpu/vector_kernels.h"
#include "clipself/ops/roi_align.h"
#include "clipself/ops/rotary.h"
#include "clipself/ops/swiglu.h"

namespace clipself::ops {
namespace {

void expect_first_gradients_alone(const at::Tensor& output, const at::Tensor& input) {
  EXPECT_THROW(torch::autograd::grad({output.sum()}, {input}, {}, /*retain_graph=*/true, /*create_graph=*/true),
               c10::Error);
  EXPECT_EQ(torch::autograd::grad({output.sum()}, {input}).front().sizes(), input.sizes());
}

TEST(OnceDifferentiable, RefusesWhileGradientsAreRecordedAlone) {
  EXPECT_THROW(refuse_gradients_of_gradients("this"), c10::Error);
  const at::NoGradGuard no_grad;
  EXPECT_NO_THROW(refuse_gradients_of_gradients("this"));
}

TEST(OnceDifferentiable, AttentionUnlessItIsAtens) {
  const auto q = at::randn({1, 5, 2, 32}).requires_grad_();
  const auto output = attention(q, q.detach(), q.detach(), /*causal=*/false);
  if (cpu::has_attention(q, q, q))
    expect_first_gradients_alone(output, q);
  else  // what ATen's have is ATen's to say
    EXPECT_EQ(torch::autograd::grad({output.sum()}, {q}).front().sizes(), q.sizes());
}

TEST(OnceDifferentiable, RoiAlign) {
  const auto map = at::randn({1, 4, 8, 8}).requires_grad_();
  expect_first_gradients_alone(roi_align(map, {at::tensor({1.F, 1.F, 5.F, 6.F}).view({1, 4})}, /*size=*/2), map);
}

TEST(OnceDifferentiable, BatchNormOfAll) {
  const auto x = at::randn({2, 3, 4, 4}).requires_grad_();
  expect_first_gradients_alone(
      batch_norm_of_all(x, at::ones({3}), at::zeros({3}), 1e-5, distributed::Processes::alone()).first, x);
}

}  // namespace
}  // namespace clipself::ops
