// Convolutions of pyramid and heads, under MMDetection's parameter names. Weights are float32 and cast to the type of
// the input; batch norms compute in float32.
#pragma once

#include <memory>

#include "clipself/base/torch.h"
#include "clipself/distributed/processes.h"
#include "clipself/models/layers.h"

namespace clipself::detection {

using models::Linear;

/// "weight" (out, in, k, k) and "bias"; padding k / 2.
class Conv2d : public torch::nn::Module {
 public:
  Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, bool bias = true);
  at::Tensor forward(const at::Tensor& x);

  at::Tensor weight, bias;

 private:
  std::int64_t padding_;
};

/// 2x2, stride 2: twice the size. "weight" (in, out, 2, 2) and "bias".
class Upsample2x : public torch::nn::Module {
 public:
  Upsample2x(std::int64_t in, std::int64_t out);
  at::Tensor forward(const at::Tensor& x);

  at::Tensor weight, bias;
};

/// Statistics of the batch while training (and in running_mean, running_var by a tenth), the running ones otherwise;
/// eps 1e-5. "weight", "bias", "running_mean", "running_var", "num_batches_tracked".
class BatchNorm : public torch::nn::Module {
 public:
  explicit BatchNorm(std::int64_t channels);
  at::Tensor forward(const at::Tensor& x);
  /// The batch, while training, is that of all processes.
  void synchronize(const std::shared_ptr<distributed::Processes>& processes) { processes_ = processes; }

  at::Tensor weight, bias;

 private:
  std::shared_ptr<distributed::Processes> processes_;
  at::Tensor running_mean_, running_var_, batches_;
};

/// mmcv's ConvModule: "conv" (without bias before a norm), "bn" and ReLU.
class ConvModule : public torch::nn::Module {
 public:
  ConvModule(std::int64_t in, std::int64_t out, std::int64_t kernel, bool norm, bool relu);
  at::Tensor forward(const at::Tensor& x);
  Conv2d& conv() { return *conv_; }

 private:
  std::shared_ptr<Conv2d> conv_;
  std::shared_ptr<BatchNorm> bn_;
  bool relu_;
};

}  // namespace clipself::detection
