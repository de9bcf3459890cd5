#include "clipself/models/text_tower.h"

#include <cmath>

#include "clipself/base/error.h"
#include "clipself/models/layers.h"

namespace clipself::models {
namespace {

constexpr double kTextNormEps = 1e-5;

/// The fused projections of torch's MultiheadAttention, under its parameter names.
class TextAttention : public torch::nn::Module {
 public:
  TextAttention(std::int64_t width, std::int64_t heads) : heads_(heads) {
    in_proj_weight = register_parameter("in_proj_weight", at::empty({3 * width, width}));
    in_proj_bias = register_parameter("in_proj_bias", at::zeros({3 * width}));
    out_proj = register_module("out_proj", std::make_shared<Linear>(width, width, true));
  }

  at::Tensor forward(const at::Tensor& x) {
    const auto type = x.scalar_type();
    const auto qkv = at::linear(x, cast(in_proj_weight, type), cast(in_proj_bias, type)).unflatten(-1, {3, heads_, -1});
    return out_proj->forward(attention(qkv.select(2, 0), qkv.select(2, 1), qkv.select(2, 2), /*causal=*/true));
  }

  at::Tensor in_proj_weight, in_proj_bias;
  std::shared_ptr<Linear> out_proj;

 private:
  std::int64_t heads_;
};

class TextMlp : public torch::nn::Module {
 public:
  explicit TextMlp(std::int64_t width) {
    c_fc = register_module("c_fc", std::make_shared<Linear>(width, 4 * width, true));
    c_proj = register_module("c_proj", std::make_shared<Linear>(4 * width, width, true));
  }
  at::Tensor forward(const at::Tensor& x) { return c_proj->forward(at::gelu(c_fc->forward(x))); }

  std::shared_ptr<Linear> c_fc, c_proj;
};

}  // namespace

class TextBlock : public torch::nn::Module {
 public:
  TextBlock(const TextConfig& config) {
    const std::int64_t width = config.width;
    ln_1_ = register_module("ln_1", std::make_shared<LayerNorm>(width, kTextNormEps));
    attn_ = register_module("attn", std::make_shared<TextAttention>(width, config.heads));
    ln_2_ = register_module("ln_2", std::make_shared<LayerNorm>(width, kTextNormEps));
    mlp_ = register_module("mlp", std::make_shared<TextMlp>(width));
    // open_clip's initialisation: residual projections shrink with depth.
    const double attention_std = std::pow(width, -0.5);
    const double projection_std = attention_std * std::pow(2.0 * config.layers, -0.5);
    init_normal(attn_->in_proj_weight, attention_std);
    init_normal(attn_->out_proj->weight, projection_std);
    init_normal(mlp_->c_fc->weight, std::pow(2.0 * static_cast<double>(width), -0.5));
    init_normal(mlp_->c_proj->weight, projection_std);
  }

  at::Tensor forward(const at::Tensor& x) {
    const auto y = x + attn_->forward(ln_1_->forward(x));
    return y + mlp_->forward(ln_2_->forward(y));
  }

 private:
  std::shared_ptr<LayerNorm> ln_1_, ln_2_;
  std::shared_ptr<TextAttention> attn_;
  std::shared_ptr<TextMlp> mlp_;
};

TextTower::TextTower(const TextConfig& config, int embed_dim) : config_(config) {
  const std::int64_t width = config.width;
  positional_embedding_ = register_parameter("positional_embedding", at::empty({config.context_length, width}));
  text_projection_ = register_parameter("text_projection", at::empty({width, embed_dim}));
  auto embedding = std::make_shared<torch::nn::Module>();
  token_embedding_ = embedding->register_parameter("weight", at::empty({config.vocab_size, width}));
  register_module("token_embedding", embedding);
  auto blocks = std::make_shared<torch::nn::Module>();
  for (int i = 0; i < config.layers; ++i) {
    blocks_.push_back(blocks->register_module(std::to_string(i), std::make_shared<TextBlock>(config)));
  }
  auto transformer = std::make_shared<torch::nn::Module>();
  transformer->register_module("resblocks", blocks);
  register_module("transformer", transformer);
  ln_final_ = register_module("ln_final", std::make_shared<LayerNorm>(width, kTextNormEps));
  init_normal(token_embedding_, 0.02);
  init_normal(positional_embedding_, 0.01);
  init_normal(text_projection_, std::pow(width, -0.5));
}

at::Tensor TextTower::encode(const at::Tensor& tokens) {
  if (tokens.dim() != 2 || tokens.size(1) > config_.context_length || at::isFloatingType(tokens.scalar_type())) {
    throw Error({.doing = "encoding text",
                 .found = "tokens of shape " + c10::str(tokens.sizes()),
                 .expected = c10::str("integers (B, L) with L at most ", config_.context_length)});
  }
  // The first of the highest ids, as argmax in the original: the end token.
  const auto ends = tokens.argmax(-1);
  // Attention is causal, so that what stands behind the last end token reaches no feature.
  const auto length =
      at::GradMode::is_enabled() || tokens.size(0) == 0 ? tokens.size(1) : ends.max().item<std::int64_t>() + 1;
  auto x = cast(at::embedding(token_embedding_, tokens.slice(1, 0, length)), compute_type_);
  x = x + cast(positional_embedding_.slice(0, 0, length), compute_type_);
  for (const auto& block : blocks_) x = block->forward(x);
  x = ln_final_->forward(x);
  const auto rows = at::arange(tokens.size(0), tokens.options());
  return x.index({rows, ends}).matmul(cast(text_projection_, compute_type_));
}

}  // namespace clipself::models
