#include "clipself/models/transformer.h"

#include <cmath>

#include "clipself/ops/attention.h"
#include "clipself/ops/linear.h"

namespace clipself::models {

FusedAttention::FusedAttention(std::int64_t width, std::int64_t heads) : width_(width), heads_(heads) {
  in_proj_weight = register_parameter("in_proj_weight", at::empty({3 * width, width}));
  in_proj_bias = register_parameter("in_proj_bias", at::zeros({3 * width}));
  out_proj = register_module("out_proj", std::make_shared<Linear>(width, width, true));
}

at::Tensor FusedAttention::project(const at::Tensor& x, std::int64_t first, std::int64_t last) const {
  return ops::linear(x, in_proj_weight.slice(0, first * width_, last * width_),
                     in_proj_bias.slice(0, first * width_, last * width_))
      .unflatten(-1, {last - first, heads_, -1});
}

at::Tensor FusedAttention::forward(const at::Tensor& x, bool causal) {
  const auto qkv = project(x, 0, 3);
  return out_proj->forward(ops::attention(qkv.select(2, 0), qkv.select(2, 1), qkv.select(2, 2), causal));
}

std::pair<at::Tensor, at::Tensor> FusedAttention::forward(const at::Tensor& x, const at::Tensor& queries,
                                                          const at::Tensor& mask) {
  const auto qkv = project(x, 0, 3);
  const auto k = qkv.select(2, 1), v = qkv.select(2, 2);
  const auto own = ops::attention(qkv.select(2, 0), k, v, /*causal=*/false);
  const auto asked = ops::attention(project(queries, 0, 1).select(2, 0), k, v, /*causal=*/false, mask);
  return {out_proj->forward(own), out_proj->forward(asked)};
}

at::Tensor FusedAttention::forward_first(const at::Tensor& x) {
  const auto q = project(x.slice(1, 0, 1), 0, 1), kv = project(x, 1, 3);
  return out_proj->forward(ops::attention(q.select(2, 0), kv.select(2, 0), kv.select(2, 1), /*causal=*/false));
}

at::Tensor FusedAttention::forward_values(const at::Tensor& x) {
  return out_proj->forward(project(x, 2, 3).flatten(2));
}

ResidualBlock::ResidualBlock(const TransformerShape& shape) {
  const auto width = shape.width;
  ln_1_ = register_module("ln_1", std::make_shared<LayerNorm>(width, shape.norm_eps));
  attn_ = register_module("attn", std::make_shared<FusedAttention>(width, shape.heads));
  ln_2_ = register_module("ln_2", std::make_shared<LayerNorm>(width, shape.norm_eps));
  mlp_ = register_module("mlp", std::make_shared<Mlp>(width, shape.mlp_width, shape.activation, "c_fc", "c_proj"));
  // open_clip's initialisation: residual projections shrink with depth.
  const double attention_std = std::pow(width, -0.5);
  const double projection_std = attention_std * std::pow(2.0 * static_cast<double>(shape.layers), -0.5);
  init_normal(attn_->in_proj_weight, attention_std);
  init_normal(attn_->out_proj->weight, projection_std);
  init_normal(mlp_->first->weight, std::pow(2.0 * static_cast<double>(width), -0.5));
  init_normal(mlp_->second->weight, projection_std);
}

at::Tensor ResidualBlock::forward(const at::Tensor& x, bool causal) {
  return add_mlp(x + attn_->forward(ln_1_->forward(x), causal));
}

at::Tensor ResidualBlock::forward_first(const at::Tensor& x) {
  return add_mlp(x.slice(1, 0, 1) + attn_->forward_first(ln_1_->forward(x)));
}

at::Tensor ResidualBlock::forward_values(const at::Tensor& x) {
  return add_mlp(x + attn_->forward_values(ln_1_->forward(x)));
}

std::pair<at::Tensor, at::Tensor> ResidualBlock::forward(const at::Tensor& x, const at::Tensor& queries,
                                                         const at::Tensor& mask) {
  const auto [own, asked] = attn_->forward(ln_1_->forward(x), ln_1_->forward(queries), mask);
  return {add_mlp(x + own), add_mlp(queries + asked)};
}

Transformer::Transformer(const TransformerShape& shape) {
  auto blocks = std::make_shared<torch::nn::Module>();
  for (int i = 0; i < shape.layers; ++i)
    blocks_.push_back(blocks->register_module(std::to_string(i), std::make_shared<ResidualBlock>(shape)));
  register_module("resblocks", blocks);
}

}  // namespace clipself::models
