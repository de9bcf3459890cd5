#include "clipself/ops/linear.h"

#include <array>
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

at::Tensor convolved(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride,
                     std::int64_t padding, bool transposed) {
  const auto optional = bias.defined() ? std::optional(bias) : std::nullopt;
  return at::convolution(x, weight, optional, {stride, stride}, {padding, padding}, /*dilation=*/{1, 1}, transposed,
                         /*output_padding=*/{0, 0}, /*groups=*/1);
}

/// x in bfloat16, and kept so for the backward, weight and bias in float.
struct WidenedConvolution : torch::autograd::Function<WidenedConvolution> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            std::int64_t stride, std::int64_t padding, bool transposed) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    ctx->saved_data["transposed"] = transposed;
    return convolved(x.to(at::kFloat), weight, bias, stride, padding, transposed).to(x.scalar_type());
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    refuse_gradients_of_gradients("convolution");
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const std::int64_t stride = ctx->saved_data["stride"].toInt(), padding = ctx->saved_data["padding"].toInt();
    const bool transposed = ctx->saved_data["transposed"].toBool();
    const std::array<std::int64_t, 1> channels{weight.size(transposed ? 1 : 0)};
    auto [dx, d_weight, d_bias] = at::convolution_backward(
        gradients[0].to(at::kFloat), x.to(at::kFloat), weight, channels, {stride, stride}, {padding, padding},
        /*dilation=*/{1, 1}, transposed, /*output_padding=*/{0, 0}, /*groups=*/1,
        {ctx->needs_input_grad(0), ctx->needs_input_grad(1), ctx->needs_input_grad(2)});
    if (dx.defined()) dx = dx.to(x.scalar_type());
    return {dx, d_weight, d_bias, {}, {}, {}};
  }
};

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride,
                       std::int64_t padding, bool transposed) {
  const auto type = product_type(x.device(), x.scalar_type());
  const auto w = weight.to(type), b = bias.defined() ? bias.to(type) : bias;
  if (type == x.scalar_type()) return convolved(x, w, b, stride, padding, transposed);
  const auto none = at::zeros({w.size(transposed ? 1 : 0)}, w.options());
  return WidenedConvolution::apply(x, w, b.defined() ? b : none, stride, padding, transposed);
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
  return convolution(x, weight, bias, stride, padding, /*transposed=*/false);
}

at::Tensor conv_transpose2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            std::int64_t stride) {
  return convolution(x, weight, bias, stride, /*padding=*/0, /*transposed=*/true);
}

at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b) {
  const auto type = product_type(a.device(), a.scalar_type());
  return at::mm(a.to(type), b.to(type)).to(a.scalar_type());
}

}  // namespace clipself::ops
