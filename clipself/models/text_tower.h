// The CLIP text transformer.
#pragma once

#include <memory>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/models/config.h"

namespace clipself::models {

class LayerNorm;
class TextBlock;

/// Causal transformer over token ids; the feature is read at the end token (the highest id of the row). Parameter names
/// are the official ones below "text.".
class TextTower : public torch::nn::Module {
 public:
  TextTower(const TextConfig& config, int embed_dim);

  /// (B, L) int64, L <= context_length -> (B, embed_dim), not of unit length.
  at::Tensor encode(const at::Tensor& tokens);
  void set_compute_type(at::ScalarType type) { compute_type_ = type; }
  const TextConfig& config() const { return config_; }

 private:
  TextConfig config_;
  at::ScalarType compute_type_ = at::kFloat;
  at::Tensor positional_embedding_, text_projection_, token_embedding_;
  std::vector<std::shared_ptr<TextBlock>> blocks_;
  std::shared_ptr<LayerNorm> ln_final_;
};

}  // namespace clipself::models
