// The text transformer of CLIP and of SigLIP.
#pragma once

#include <memory>

#include "clipself/base/torch.h"
#include "clipself/models/config.h"
#include "clipself/models/transformer.h"

namespace clipself::models {

/// Transformer over token ids. CLIP's is causal and read at the end token (the highest id of the row); SigLIP's sees
/// the whole row and is read at its last position. Parameter names are the official ones below "text.".
class TextTower : public torch::nn::Module {
 public:
  TextTower(const TextConfig& config, int embed_dim);

  /// (B, L) int64, L <= context_length -> (B, embed_dim), not of unit length. Throws Error for another shape and for
  /// ids outside the vocabulary.
  at::Tensor encode(const at::Tensor& tokens);
  void set_compute_type(at::ScalarType type) { compute_type_ = type; }
  const TextConfig& config() const { return config_; }

 private:
  TextConfig config_;
  at::ScalarType compute_type_ = at::kFloat;
  at::Tensor positional_embedding_, text_projection_, token_embedding_;
  std::shared_ptr<Linear> projection_;  ///< in place of text_projection_ when it has a bias
  std::shared_ptr<Transformer> transformer_;
  std::shared_ptr<LayerNorm> ln_final_;
};

}  // namespace clipself::models
