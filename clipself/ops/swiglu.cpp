#include "clipself/ops/swiglu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "clipself/ops/cpu/vector_kernels.h"
#include "clipself/ops/linear.h"
#include "clipself/ops/once_differentiable.h"

namespace clipself::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kTokensAtOnce = 32;

struct Normed {
  at::Tensor y, mean, rstd;
};

template <typename T>
Normed swiglu_forward(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& weight, const at::Tensor& bias,
                      double eps) {
  const std::int64_t width = gate.size(-1), tokens = gate.numel() / width;
  const auto floats = gate.options().dtype(at::kFloat);
  Normed out{.y = at::empty(gate.sizes(), gate.options()),
             .mean = at::empty({tokens}, floats),
             .rstd = at::empty({tokens}, floats)};
  const auto* a = gate.const_data_ptr<T>();
  const auto* b = value.const_data_ptr<T>();
  const auto* w = weight.const_data_ptr<float>();
  const auto* shift = bias.const_data_ptr<float>();
  auto* y = out.y.mutable_data_ptr<T>();
  auto* mean = out.mean.mutable_data_ptr<float>();
  auto* rstd = out.rstd.mutable_data_ptr<float>();
  const auto& loops = cpu::token_loops<T>();
  at::parallel_for(0, tokens, kTokensAtOnce, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> h(static_cast<std::size_t>(width));
    for (std::int64_t i = begin; i < end; ++i)
      loops.swiglu_norm(a + i * width, b + i * width, width, w, shift, static_cast<float>(eps), h.data(), y + i * width,
                        mean + i, rstd + i);
  });
  return out;
}

struct SwiGluGradients {
  at::Tensor gate, value, weight, bias;
};

template <typename T>
SwiGluGradients swiglu_backward(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& value,
                                const at::Tensor& weight, const at::Tensor& mean, const at::Tensor& rstd) {
  const std::int64_t width = gate.size(-1), tokens = gate.numel() / width;
  auto d_gate = at::empty(gate.sizes(), gate.options()), d_value = at::empty(gate.sizes(), gate.options());
  // Each thread's tokens are summed up by themselves, and the sums in the order of the tokens: the result does not
  // depend on which thread comes first.
  const std::int64_t threads = std::max(1, at::get_num_threads());
  const std::int64_t share = std::max<std::int64_t>(kTokensAtOnce, (tokens + threads - 1) / threads);
  const std::int64_t shares = (tokens + share - 1) / share;
  auto sums = at::zeros({shares, 2, width}, weight.options());
  const auto* from = dy.const_data_ptr<T>();
  const auto* a = gate.const_data_ptr<T>();
  const auto* b = value.const_data_ptr<T>();
  const auto* w = weight.const_data_ptr<float>();
  const auto* means = mean.const_data_ptr<float>();
  const auto* rstds = rstd.const_data_ptr<float>();
  auto* da = d_gate.mutable_data_ptr<T>();
  auto* db = d_value.mutable_data_ptr<T>();
  auto* dw = sums.mutable_data_ptr<float>();
  const auto& loops = cpu::token_loops<T>();
  at::parallel_for(0, shares, 1, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> h(static_cast<std::size_t>(width)), s(static_cast<std::size_t>(width));
    for (std::int64_t k = first; k < last; ++k)
      for (std::int64_t i = k * share; i < std::min(tokens, (k + 1) * share); ++i)
        loops.swiglu_norm_backward(from + i * width, a + i * width, b + i * width, width, w, means[i], rstds[i],
                                   h.data(), s.data(), da + i * width, db + i * width, dw + 2 * k * width,
                                   dw + (2 * k + 1) * width);
  });
  const auto both = sums.sum(0);
  return {std::move(d_gate), std::move(d_value), both[0], both[1]};
}

Normed forward_of(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& weight, const at::Tensor& bias,
                  double eps) {
  RECORD_FUNCTION("clipself::swiglu_norm", std::vector<c10::IValue>());
  return gate.scalar_type() == at::kFloat ? swiglu_forward<float>(gate, value, weight, bias, eps)
                                          : swiglu_forward<at::BFloat16>(gate, value, weight, bias, eps);
}

struct CpuSwiGlu : torch::autograd::Function<CpuSwiGlu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& value,
                            const at::Tensor& norm_weight, const at::Tensor& norm_bias, double eps,
                            const at::Tensor& weight, const at::Tensor& bias) {
    const auto normed = forward_of(gate, value, norm_weight, norm_bias, eps);
    ctx->saved_data["eps"] = eps;
    ctx->save_for_backward({gate, value, norm_weight, norm_bias, normed.mean, normed.rstd, weight});
    return ops::linear(normed.y, weight, bias);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    refuse_gradients_of_gradients("swiglu_norm_linear");
    const auto saved = ctx->get_saved_variables();
    const auto &gate = saved[0], &value = saved[1], &norm_weight = saved[2], &weight = saved[6];
    const auto d_out = gradients[0].flatten(0, -2);
    at::Tensor d_weight, d_bias;
    if (ctx->needs_input_grad(4)) {
      const auto y = forward_of(gate, value, norm_weight, saved[3], ctx->saved_data["eps"].toDouble()).y;
      d_weight = matrix_product(d_out.t(), y.flatten(0, -2), weight.scalar_type());
    }
    if (ctx->needs_input_grad(5)) d_bias = d_out.sum(0, /*keepdim=*/false, weight.scalar_type());
    const auto dy = matrix_product(d_out, weight, gate.scalar_type()).view(gate.sizes());
    RECORD_FUNCTION("clipself::swiglu_norm_backward", std::vector<c10::IValue>());
    auto [d_gate, d_value, d_norm_weight, d_norm_bias] =
        gate.scalar_type() == at::kFloat
            ? swiglu_backward<float>(dy, gate, value, norm_weight, saved[4], saved[5])
            : swiglu_backward<at::BFloat16>(dy, gate, value, norm_weight, saved[4], saved[5]);
    return {d_gate, d_value, d_norm_weight, d_norm_bias, at::Tensor(), d_weight, d_bias};
  }
};

}  // namespace

at::Tensor swiglu_norm_linear(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& norm_weight,
                              const at::Tensor& norm_bias, double eps, const at::Tensor& weight,
                              const at::Tensor& bias) {
  const auto type = gate.scalar_type();
  const bool ours = gate.is_cpu() && value.scalar_type() == type && (type == at::kFloat || type == at::kBFloat16) &&
                    gate.numel() > 0 && gate.dim() > 1 && value.is_cpu() && value.sizes() == gate.sizes() &&
                    norm_weight.dim() == 1 && norm_weight.size(0) == gate.size(-1) &&
                    norm_bias.sizes() == norm_weight.sizes();
  if (!ours) return plain_swiglu_norm_linear(gate, value, norm_weight, norm_bias, eps, weight, bias);
  return CpuSwiGlu::apply(gate.contiguous(), value.contiguous(), norm_weight.to(at::kFloat).contiguous(),
                          norm_bias.to(at::kFloat).contiguous(), eps, weight, bias);
}

at::Tensor plain_swiglu_norm_linear(const at::Tensor& gate, const at::Tensor& value, const at::Tensor& norm_weight,
                                    const at::Tensor& norm_bias, double eps, const at::Tensor& weight,
                                    const at::Tensor& bias) {
  const auto type = gate.scalar_type();
  const auto product = (at::silu(gate) * value).to(norm_weight.scalar_type());
  const auto normed = at::layer_norm(product, norm_weight.sizes(), norm_weight, norm_bias, eps).to(type);
  return at::linear(normed, weight.to(type), bias.to(type));
}

}  // namespace clipself::ops
