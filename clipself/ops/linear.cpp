#include "clipself/ops/linear.h"

#include <optional>

#include "clipself/ops/cpu/level.h"
#include "clipself/ops/once_differentiable.h"

namespace clipself::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// x in bfloat16, and kept so for the backward, weight and bias in float.
struct WidenedLinear : torch::autograd::Function<WidenedLinear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    ctx->save_for_backward({x, weight});
    return at::linear(x.to(at::kFloat), weight, bias).to(x.scalar_type());
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    refuse_gradients_of_gradients("linear");
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const auto d_out = gradients[0].to(at::kFloat).flatten(0, -2);
    at::Tensor dx, d_weight, d_bias;
    if (ctx->needs_input_grad(0)) dx = at::mm(d_out, weight).to(x.scalar_type()).view(x.sizes());
    if (ctx->needs_input_grad(1)) d_weight = at::mm(d_out.t(), x.to(at::kFloat).flatten(0, -2));
    if (ctx->needs_input_grad(2)) d_bias = d_out.sum(0);
    return {dx, d_weight, d_bias};
  }
};

/// `convolve(x, weight, bias)` in the type of the product, rounded to x's.
template <typename F>
at::Tensor in_product_type(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const F& convolve) {
  const auto type = product_type(x.device(), x.scalar_type());
  const auto b = bias.defined() ? std::optional(bias.to(type)) : std::nullopt;
  return convolve(x.to(type), weight.to(type), b).to(x.scalar_type());
}

}  // namespace

at::ScalarType product_type(const at::Device& device, at::ScalarType type) {
  return device.is_cpu() && type == at::kBFloat16 && cpu::widens_bfloat16() ? at::kFloat : type;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const auto type = product_type(x.device(), x.scalar_type());
  const auto w = weight.to(type), b = bias.defined() ? bias.to(type) : bias;
  if (type == x.scalar_type()) return at::linear(x, w, b);
  return WidenedLinear::apply(x, w, b.defined() ? b : at::zeros({w.size(0)}, w.options()));
}

at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride,
                  std::int64_t padding) {
  return in_product_type(x, weight, bias, [&](const auto&... operands) {
    return at::conv2d(operands..., {stride, stride}, {padding, padding});
  });
}

at::Tensor conv_transpose2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            std::int64_t stride) {
  return in_product_type(x, weight, bias, [&](const auto&... operands) {
    return at::conv_transpose2d(operands..., {stride, stride});
  });
}

at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b) {
  const auto type = product_type(a.device(), a.scalar_type());
  return at::mm(a.to(type), b.to(type)).to(a.scalar_type());
}

}  // namespace clipself::ops
