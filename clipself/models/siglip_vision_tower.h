// The vision transformer of SigLIP and SigLIP 2 (Zhai et al. 2023, arXiv 2303.15343; Tschannen et al. 2025, arXiv
// 2502.14786), under timm's parameter names: no class token; a learned query looks at all patches and gives the image's
// embedding.
//
// Its dense map: the image's embedding is made by the attention of the pooling head, so that is where attention is
// bypassed. Every patch goes through all blocks as usual and then takes the head's value path alone: its own value, the
// head's output projection, the head's MLP. This is the rule that CLIP's towers follow in their last block.
#pragma once

#include <memory>
#include <vector>

#include "clipself/models/layers.h"
#include "clipself/models/vision_tower.h"

namespace clipself::models {

class SiglipBlock;
class SiglipHead;

class SiglipVisionTower : public VisionTower {
 public:
  SiglipVisionTower(const VisionConfig& config, int embed_dim);
  ~SiglipVisionTower() override;

  Resizable resizable() const override { return {"trunk.pos_embed", 0, "", /*antialias=*/true}; }
  /// The patch embedding, the positions, then a group a block; the last norm and the head are never trained.
  std::vector<std::vector<at::Tensor>> lock_groups() override;
  at::Tensor input_tokens(const at::Tensor& images) override;

 protected:
  at::Tensor run_block(int i, const at::Tensor& tokens, const Grid& grid) override;
  at::Tensor run_last_in_dense(const at::Tensor& patches) override;
  at::Tensor pool(const at::Tensor& tokens) override;
  at::Tensor project(const at::Tensor& patches) override;
  torch::nn::Module& block_module(int i) override;
  std::int64_t prefix_tokens() const override { return 0; }

 private:
  at::Tensor pos_embed_, kernel_, kernel_bias_;
  std::vector<std::shared_ptr<SiglipBlock>> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<SiglipHead> head_;
};

}  // namespace clipself::models
