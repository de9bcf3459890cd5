// open_clip's transformer, of which plain CLIP's two towers and SigLIP's text tower are made: pre-norm blocks with
// fused projections, under open_clip's parameter names.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "clipself/models/layers.h"

namespace clipself::models {

struct TransformerShape {
  std::int64_t width = 512, heads = 8, layers = 12, mlp_width = 2048;
  Activation activation = Activation::kGelu;
  double norm_eps = 1e-5;
};

/// The fused projections of torch's MultiheadAttention, under its parameter names.
class FusedAttention : public torch::nn::Module {
 public:
  FusedAttention(std::int64_t width, std::int64_t heads);
  /// (B, N, width), every token looking at every other, or, `causal`, at those before it.
  at::Tensor forward(const at::Tensor& x, bool causal);
  /// The same for `x`; `queries` (B, Q, width) look at x's tokens where `mask` (B, 1, Q, N) is true.
  std::pair<at::Tensor, at::Tensor> forward(const at::Tensor& x, const at::Tensor& queries, const at::Tensor& mask);
  /// The first token alone, which looks at all: (B, 1, width).
  at::Tensor forward_first(const at::Tensor& x);
  /// The value path alone: every token keeps its own value.
  at::Tensor forward_values(const at::Tensor& x);

  at::Tensor in_proj_weight, in_proj_bias;
  std::shared_ptr<Linear> out_proj;

 private:
  /// Rows first..last (in thirds) of the fused projection, split into heads: (B, N, last - first, heads, d).
  at::Tensor project(const at::Tensor& x, std::int64_t first, std::int64_t last) const;
  std::int64_t width_, heads_;
};

class ResidualBlock : public torch::nn::Module {
 public:
  explicit ResidualBlock(const TransformerShape& shape);
  at::Tensor forward(const at::Tensor& x, bool causal);
  /// The first token of forward(x, /*causal=*/false), (B, 1, width), without the work of the others.
  at::Tensor forward_first(const at::Tensor& x);
  at::Tensor forward_values(const at::Tensor& x);
  /// See FusedAttention.
  std::pair<at::Tensor, at::Tensor> forward(const at::Tensor& x, const at::Tensor& queries, const at::Tensor& mask);

 private:
  at::Tensor add_mlp(const at::Tensor& x) { return x + mlp_->forward(ln_2_->forward(x)); }
  std::shared_ptr<LayerNorm> ln_1_, ln_2_;
  std::shared_ptr<FusedAttention> attn_;
  std::shared_ptr<Mlp> mlp_;
};

/// Blocks as "resblocks.0", "resblocks.1", ...
class Transformer : public torch::nn::Module {
 public:
  explicit Transformer(const TransformerShape& shape);
  ResidualBlock& block(int i) { return *blocks_.at(static_cast<std::size_t>(i)); }
  const std::vector<std::shared_ptr<ResidualBlock>>& blocks() const { return blocks_; }

 private:
  std::vector<std::shared_ptr<ResidualBlock>> blocks_;
};

}  // namespace clipself::models
