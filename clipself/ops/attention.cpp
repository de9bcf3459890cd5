#include "clipself/ops/attention.h"

#include <cmath>
#include <optional>

#include "clipself/ops/cpu/attention.h"
#include "clipself/ops/linear.h"
#include "clipself/ops/once_differentiable.h"

namespace clipself::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

double head_scale(const at::Tensor& q) {
  return 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
}

struct CpuAttention : torch::autograd::Function<CpuAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    auto [out, lse] = cpu::attention_forward(q, k, v, head_scale(q));
    ctx->save_for_backward({q, k, v, out, lse});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    refuse_gradients_of_gradients("attention");
    const auto saved = ctx->get_saved_variables();
    const auto& q = saved[0];
    auto [dq, dk, dv] = cpu::attention_backward(gradients[0], q, saved[1], saved[2], saved[3], saved[4], head_scale(q));
    return {std::move(dq), std::move(dk), std::move(dv)};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                     const at::Tensor& mask) {
  if (causal || mask.defined() || !cpu::has_attention(q, k, v)) return plain_attention(q, k, v, causal, mask);
  const bool differentiated =
      at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  const auto out =
      differentiated ? CpuAttention::apply(q, k, v) : std::get<0>(cpu::attention_forward(q, k, v, head_scale(q)));
  return out.flatten(2);
}

at::Tensor plain_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                           const at::Tensor& mask) {
  const auto optional = mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt;
  const auto heads = [type = product_type(q.device(), q.scalar_type())](const at::Tensor& x) {
    return x.to(type).transpose(1, 2);
  };
  const auto out = at::scaled_dot_product_attention(heads(q), heads(k), heads(v), optional, 0.0, causal);
  return out.transpose(1, 2).flatten(2).to(q.scalar_type());
}

}  // namespace clipself::ops
