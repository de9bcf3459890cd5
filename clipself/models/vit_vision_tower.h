// The vision transformer of OpenAI's CLIP (Radford et al. 2021, arXiv 2103.00020) and of OpenCLIP: class token,
// absolute positions, a LayerNorm before the blocks, a projection without bias.
#pragma once

#include <memory>

#include "clipself/models/transformer.h"
#include "clipself/models/vision_tower.h"

namespace clipself::models {

class VitVisionTower : public VisionTower {
 public:
  VitVisionTower(const VisionConfig& config, int embed_dim);

  Resizable resizable() const override { return {"positional_embedding", 1, "", /*antialias=*/true}; }
  /// The original's groups: the patch embedding with the class token and the first norm, the positions, then a group a
  /// block; the last norm and the projection are never trained.
  std::vector<std::vector<at::Tensor>> lock_groups() override;
  at::Tensor input_tokens(const at::Tensor& images) override;
  at::Tensor encode_masks_attn(const at::Tensor& images, const std::vector<at::Tensor>& masks) override;

  /// (1 + h*w, width): resized bicubically unless the grid is the native one.
  at::Tensor position_embedding(std::int64_t h, std::int64_t w);
  ResidualBlock& block(int i) { return transformer_->block(i); }

 protected:
  at::Tensor run_block(int i, const at::Tensor& tokens, const Grid& /*grid*/) override {
    return block(i).forward(tokens, /*causal=*/false);
  }
  at::Tensor run_last_for_image(const at::Tensor& tokens, const Grid& /*grid*/) override {
    return block(depth() - 1).forward_first(tokens);
  }
  at::Tensor run_last_in_dense(const at::Tensor& patches) override {
    return transformer_->block(depth() - 1).forward_values(patches);
  }
  at::Tensor pool(const at::Tensor& tokens) override { return project(tokens.select(1, 0)); }
  at::Tensor project(const at::Tensor& patches) override;
  torch::nn::Module& block_module(int i) override { return transformer_->block(i); }

 private:
  at::Tensor class_embedding_, positional_embedding_, proj_, kernel_;
  std::shared_ptr<LayerNorm> ln_pre_, ln_post_;
  std::shared_ptr<Transformer> transformer_;
};

}  // namespace clipself::models
