#include "clipself/models/layers.h"

#include <array>
#include <cmath>

#include "clipself/ops/linear.h"

namespace clipself::models {

at::Tensor cast(const at::Tensor& tensor, at::ScalarType type) {
  return !tensor.defined() || tensor.scalar_type() == type ? tensor : tensor.to(type);
}

Linear::Linear(std::int64_t in, std::int64_t out, bool with_bias) {
  weight = register_parameter("weight", at::empty({out, in}));
  if (with_bias) bias = register_parameter("bias", at::zeros({out}));
}

at::Tensor Linear::forward(const at::Tensor& x, const at::Tensor& other_bias) {
  return ops::linear(x, weight, other_bias);
}

LayerNorm::LayerNorm(std::int64_t width, double eps) : eps_(eps) {
  weight = register_parameter("weight", at::ones({width}));
  bias = register_parameter("bias", at::zeros({width}));
}

at::Tensor LayerNorm::forward(const at::Tensor& x) {
  const auto type = x.scalar_type();
  // The CPU kernel takes a bfloat16 input with float32 weights; elsewhere both must have one type.
  if (x.is_cpu()) return at::layer_norm(x, weight.sizes(), weight, bias, eps_);
  return cast(at::layer_norm(cast(x, weight.scalar_type()), weight.sizes(), weight, bias, eps_), type);
}

at::Tensor unit_length(const at::Tensor& x) {
  const auto norm = at::norm(x, 2, {-1}, /*keepdim=*/true, at::kFloat).clamp_min(1e-12);
  return cast(x / norm, x.scalar_type());
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kQuickGelu:
      return x * at::sigmoid(1.702 * x);
    case Activation::kTanhGelu:
      return at::gelu(x, "tanh");
    case Activation::kGelu:
      break;
  }
  return at::gelu(x);
}

Mlp::Mlp(std::int64_t width, std::int64_t hidden, Activation activation, const char* first_name,
         const char* second_name)
    : activation_(activation) {
  first = register_module(first_name, std::make_shared<Linear>(width, hidden, true));
  second = register_module(second_name, std::make_shared<Linear>(hidden, width, true));
}

at::Tensor Mlp::forward(const at::Tensor& x) {
  return second->forward(activate(first->forward(x), activation_));
}

at::Tensor resize_positions(const at::Tensor& positions, std::int64_t prefix, std::int64_t h, std::int64_t w,
                            bool antialias) {
  const auto rows = cast(positions, at::kFloat);
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(rows.size(0) - prefix))));
  const auto grid = rows.slice(0, prefix).t().reshape({1, rows.size(1), side, side});
  const std::array<std::int64_t, 2> size{h, w};
  const auto resized = antialias ? at::_upsample_bicubic2d_aa(grid, size, /*align_corners=*/false)
                                 : at::upsample_bicubic2d(grid, size, /*align_corners=*/false);
  return at::cat({rows.slice(0, 0, prefix), resized.flatten(2)[0].t()});
}

void init_normal(at::Tensor& tensor, double std) {
  const at::NoGradGuard no_grad;
  tensor.normal_(0.0, std);
}

}  // namespace clipself::models
