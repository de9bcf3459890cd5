// The few layers the towers share. Parameters are float32 (or bfloat16 once frozen); activations have the type of the
// input, and weights are cast to it where they are used, so that gradients arrive at the float32 masters.
#pragma once

#include <memory>

#include "clipself/base/torch.h"
#include "clipself/models/config.h"

namespace clipself::models {

/// `tensor` in `type`; no copy when it has it already. Undefined stays undefined.
at::Tensor cast(const at::Tensor& tensor, at::ScalarType type);

/// y = x W^T + b with W (out, in).
class Linear : public torch::nn::Module {
 public:
  Linear(std::int64_t in, std::int64_t out, bool bias);
  at::Tensor forward(const at::Tensor& x) { return forward(x, bias); }
  /// The same with a bias that lives elsewhere (EVA keeps q_bias and v_bias beside the projections).
  at::Tensor forward(const at::Tensor& x, const at::Tensor& other_bias);

  at::Tensor weight, bias;
};

/// Over the last dimension, in float32 inside.
class LayerNorm : public torch::nn::Module {
 public:
  LayerNorm(std::int64_t width, double eps);
  at::Tensor forward(const at::Tensor& x);

  at::Tensor weight, bias;

 private:
  double eps_;
};

/// x / max(|x|, 1e-12) along the last dimension, the norm taken in float32.
at::Tensor unit_length(const at::Tensor& x);

at::Tensor activate(const at::Tensor& x, Activation activation);

/// act(x W1^T + b1) W2^T + b2 under any two names ("c_fc", "c_proj" of open_clip; "fc1", "fc2" of timm).
class Mlp : public torch::nn::Module {
 public:
  Mlp(std::int64_t width, std::int64_t hidden, Activation activation, const char* first, const char* second);
  at::Tensor forward(const at::Tensor& x);

  std::shared_ptr<Linear> first, second;

 private:
  Activation activation_;
};

/// A position embedding (prefix + side * side, width) for another grid: (prefix + h * w, width) in float32, the grid's
/// part resized bicubically, the prefix (a class token's) as it is.
at::Tensor resize_positions(const at::Tensor& positions, std::int64_t prefix, std::int64_t h, std::int64_t w,
                            bool antialias);

/// Normal with standard deviation `std`. (timm's trunc_normal_ cuts at +-2, which at 0.02 never happens.)
void init_normal(at::Tensor& tensor, double std);

}  // namespace clipself::models
