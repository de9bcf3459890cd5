#include "clipself/ops/linear.h"

#include <array>
#include <optional>

#include "clipself/ops/cpu/blocked_product.h"
#include "clipself/ops/cpu/column_sums.h"
#include "clipself/ops/cpu/level.h"
#include "clipself/ops/once_differentiable.h"

namespace clipself::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// a b + bias of `type`, multiplied in the product_type() of a's: where that is wider, the result is rounded once.
at::Tensor product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias, at::ScalarType type) {
  const bool fits = type == at::kFloat || type == at::kBFloat16;
  if (fits && cpu::has_blocked_product(a, b)) return cpu::blocked_product(a, b, bias, type);
  const auto wide = product_type(a.device(), a.scalar_type());
  const auto x = a.to(wide), y = b.to(wide);
  return (bias.defined() ? at::addmm(bias.to(wide), x, y) : at::mm(x, y)).to(type);
}

/// (..., n) as (rows, n).
at::Tensor rows_of(const at::Tensor& x) {
  return x.dim() > 1 ? x.flatten(0, -2) : x.unsqueeze(0);
}

/// x of one type, kept so for the backward, weight and bias of product_type() or x's.
struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    ctx->save_for_backward({x, weight});
    auto sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    return at::_unsafe_view(product(rows_of(x), weight.t(), bias, x.scalar_type()), sizes);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    refuse_gradients_of_gradients("linear");
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const auto d_out = rows_of(gradients[0]);
    at::Tensor dx, d_weight, d_bias;
    if (ctx->needs_input_grad(0)) dx = product(d_out, weight, {}, x.scalar_type()).view(x.sizes());
    if (ctx->needs_input_grad(1)) d_weight = product(d_out.t(), rows_of(x), {}, weight.scalar_type());
    if (ctx->needs_input_grad(2)) d_bias = cpu::column_sums(d_out).to(weight.scalar_type());
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
  if (type != x.scalar_type() || cpu::has_blocked_product(x, weight.t())) {
    const auto w = weight.scalar_type() == at::kFloat ? weight : weight.to(type);  // rounded as it is multiplied
    return Linear::apply(x, w, bias.defined() ? bias.to(at::kFloat) : at::zeros({w.size(0)}, at::kFloat));
  }
  const auto w = weight.to(type), b = bias.defined() ? bias.to(type) : bias;
  return at::linear(x, w, b);
}

at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride,
                  std::int64_t padding) {
  return convolution(x, weight, bias, stride, padding, /*transposed=*/false);
}

at::Tensor conv_transpose2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            std::int64_t stride) {
  return convolution(x, weight, bias, stride, /*padding=*/0, /*transposed=*/true);
}

at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  return product(a, b, {}, type);
}

}  // namespace clipself::ops
