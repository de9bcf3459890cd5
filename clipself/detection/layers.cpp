#include "clipself/detection/layers.h"

#include <torch/nn/init.h>

#include <algorithm>
#include <cmath>

#include "clipself/ops/batch_norm.h"
#include "clipself/ops/linear.h"

namespace clipself::detection {

Conv2d::Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, bool with_bias) : padding_(kernel / 2) {
  weight = register_parameter("weight", at::empty({out, in, kernel, kernel}));
  torch::nn::init::kaiming_normal_(weight, 0, torch::kFanOut, torch::kReLU);
  if (with_bias) bias = register_parameter("bias", at::zeros({out}));
}

at::Tensor Conv2d::forward(const at::Tensor& x) {
  return ops::conv2d(x, weight, bias, /*stride=*/1, padding_);
}

Upsample2x::Upsample2x(std::int64_t in, std::int64_t out) {
  weight = register_parameter("weight", at::empty({in, out, 2, 2}));
  bias = register_parameter("bias", at::empty({out}));
  // torch's own initialisation of a transposed convolution.
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5.0));
  const double bound = 1.0 / std::sqrt(static_cast<double>(out) * 4.0);
  torch::nn::init::uniform_(bias, -bound, bound);
}

at::Tensor Upsample2x::forward(const at::Tensor& x) {
  return ops::conv_transpose2d(x, weight, bias, /*stride=*/2);
}

BatchNorm::BatchNorm(std::int64_t channels) {
  weight = register_parameter("weight", at::ones({channels}));
  bias = register_parameter("bias", at::zeros({channels}));
  running_mean_ = register_buffer("running_mean", at::zeros({channels}));
  running_var_ = register_buffer("running_var", at::ones({channels}));
  batches_ = register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
}

at::Tensor BatchNorm::forward(const at::Tensor& x) {
  constexpr double kMomentum = 0.1, kEps = 1e-5;
  if (is_training()) batches_.add_(1);
  if (!is_training() || !processes_ || processes_->size() == 1)
    return at::batch_norm(x, weight, bias, running_mean_, running_var_, is_training(), kMomentum, kEps,
                          /*cudnn_enabled=*/true);
  auto [y, statistics] = ops::batch_norm_of_all(x.to(at::kFloat), weight, bias, kEps, processes_);
  if (statistics.count > 0) {
    const at::NoGradGuard no_grad;
    running_mean_.lerp_(statistics.mean, kMomentum);
    running_var_.lerp_(statistics.variance * (statistics.count / std::max(1.0, statistics.count - 1)), kMomentum);
  }
  return y.to(x.scalar_type());
}

ConvModule::ConvModule(std::int64_t in, std::int64_t out, std::int64_t kernel, bool norm, bool relu) : relu_(relu) {
  conv_ = register_module("conv", std::make_shared<Conv2d>(in, out, kernel, /*with_bias=*/!norm));
  if (norm) bn_ = register_module("bn", std::make_shared<BatchNorm>(out));
}

at::Tensor ConvModule::forward(const at::Tensor& x) {
  auto y = conv_->forward(x);
  if (bn_) y = bn_->forward(y);
  return relu_ ? at::relu(y) : y;
}

}  // namespace clipself::detection
