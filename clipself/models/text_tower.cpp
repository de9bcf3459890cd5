#include "clipself/models/text_tower.h"

#include <cmath>

#include "clipself/base/error.h"
#include "clipself/ops/linear.h"

namespace clipself::models {

TextTower::TextTower(const TextConfig& config, int embed_dim) : config_(config) {
  const std::int64_t width = config.width;
  positional_embedding_ = register_parameter("positional_embedding", at::empty({config.context_length, width}));
  if (config.projection_bias) {
    projection_ = register_module("text_projection", std::make_shared<Linear>(width, embed_dim, true));
  } else {
    text_projection_ = register_parameter("text_projection", at::empty({width, embed_dim}));
  }
  auto embedding = std::make_shared<torch::nn::Module>();
  token_embedding_ = embedding->register_parameter("weight", at::empty({config.vocab_size, width}));
  register_module("token_embedding", embedding);
  transformer_ =
      register_module("transformer", std::make_shared<Transformer>(TransformerShape{.width = width,
                                                                                    .heads = config.heads,
                                                                                    .layers = config.layers,
                                                                                    .mlp_width = config.mlp_width(),
                                                                                    .activation = config.activation,
                                                                                    .norm_eps = config.norm_eps}));
  ln_final_ = register_module("ln_final", std::make_shared<LayerNorm>(width, config.norm_eps));
  init_normal(token_embedding_, 0.02);
  init_normal(positional_embedding_, 0.01);
  init_normal(projection_ ? projection_->weight : text_projection_, std::pow(width, -0.5));
}

at::Tensor TextTower::encode(const at::Tensor& tokens) {
  if (tokens.dim() != 2 || tokens.size(1) > config_.context_length || tokens.size(1) == 0 ||
      at::isFloatingType(tokens.scalar_type())) {
    throw Error({.doing = "encoding text",
                 .found = "tokens of shape " + c10::str(tokens.sizes()),
                 .expected = c10::str("integers (B, L) with L at most ", config_.context_length)});
  }
  if (tokens.numel() > 0 &&
      (tokens.min().item<std::int64_t>() < 0 || tokens.max().item<std::int64_t>() >= config_.vocab_size)) {
    throw Error({.doing = "encoding text",
                 .found = c10::str("token ", tokens.max().item<std::int64_t>()),
                 .expected = c10::str("ids below ", config_.vocab_size),
                 .hint = "the tokenizer belongs to another model"});
  }
  // The first of the highest ids, as argmax in the original: the end token.
  const auto ends = tokens.argmax(-1);
  // What stands behind the last end token reaches no feature when attention is causal.
  const bool shorten = config_.causal && !config_.pool_last && !at::GradMode::is_enabled() && tokens.size(0) > 0;
  const auto length = shorten ? ends.max().item<std::int64_t>() + 1 : tokens.size(1);
  auto x = cast(at::embedding(token_embedding_, tokens.slice(1, 0, length)), compute_type_);
  x = x + cast(positional_embedding_.slice(0, 0, length), compute_type_);
  for (const auto& block : transformer_->blocks()) x = block->forward(x, config_.causal);
  x = ln_final_->forward(x);
  const auto read = config_.pool_last ? x.select(1, -1) : x.index({at::arange(tokens.size(0), tokens.options()), ends});
  return projection_ ? projection_->forward(read) : ops::linear(read, text_projection_.t());
}

}  // namespace clipself::models
