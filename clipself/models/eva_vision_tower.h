// EVA-02 vision transformer (Fang et al. 2023; EVA-CLIP, Sun et al. 2023): pre-norm blocks with rotary embedding,
// SwiGLU and sub-LayerNorms, absolute position embedding, class token.
#pragma once

#include <map>
#include <memory>

#include "clipself/models/layers.h"
#include "clipself/models/vision_tower.h"
#include "clipself/ops/rotary.h"

namespace clipself::models {

/// The rotary tables: as buffers for the native grid (the official names), and cached for every other grid met.
class EvaRotary : public torch::nn::Module {
 public:
  EvaRotary(const VisionConfig& config);
  /// Tables of an h x w patch grid on `device`.
  const ops::RotaryTables& tables(std::int64_t h, std::int64_t w, const at::Device& device);

 private:
  int head_width_, pt_seq_len_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::string>, ops::RotaryTables> cache_;
};

class EvaAttention : public torch::nn::Module {
 public:
  EvaAttention(const VisionConfig& config, std::shared_ptr<EvaRotary> rope);
  /// x (B, 1 + h*w, width) -> the same shape.
  at::Tensor forward(const at::Tensor& x, const ops::RotaryTables& tables);
  /// The same for the class token alone, which looks at all: (B, 1, width).
  at::Tensor forward_class(const at::Tensor& x, const ops::RotaryTables& tables);
  /// The value path alone: every token keeps its own value.
  at::Tensor forward_values(const at::Tensor& x);
  void init_weights(int layer);

 private:
  /// `queries`, rotated, at x's tokens.
  at::Tensor attend(const at::Tensor& queries, const at::Tensor& x, const ops::RotaryTables& tables);
  at::Tensor split(const at::Tensor& t) const { return t.unflatten(-1, {heads_, -1}); }  // B, N, heads, d
  std::int64_t heads_;
  at::Tensor q_bias_, v_bias_;
  std::shared_ptr<Linear> q_proj_, k_proj_, v_proj_, proj_;
  std::shared_ptr<LayerNorm> inner_attn_ln_;
};

/// w3(LayerNorm(silu(w1 x) * w2 x)).
class EvaSwiGlu : public torch::nn::Module {
 public:
  explicit EvaSwiGlu(const VisionConfig& config);
  at::Tensor forward(const at::Tensor& x);
  void init_weights(int layer);

 private:
  std::shared_ptr<Linear> w1_, w2_, w3_;
  std::shared_ptr<LayerNorm> ffn_ln_;
};

class EvaBlock : public torch::nn::Module {
 public:
  EvaBlock(const VisionConfig& config, int layer, std::shared_ptr<EvaRotary> rope);
  at::Tensor forward(const at::Tensor& x, const ops::RotaryTables& tables);
  /// The class token of forward(), (B, 1, width), without the work of the others.
  at::Tensor forward_class(const at::Tensor& x, const ops::RotaryTables& tables);
  at::Tensor forward_without_attention(const at::Tensor& x);
  /// The two branches before their residual additions.
  at::Tensor attention_branch(const at::Tensor& x, const ops::RotaryTables& tables);
  at::Tensor mlp_branch(const at::Tensor& x);

 private:
  std::shared_ptr<LayerNorm> norm1_, norm2_;
  std::shared_ptr<EvaAttention> attn_;
  std::shared_ptr<EvaSwiGlu> mlp_;
};

class EvaVisionTower : public VisionTower {
 public:
  EvaVisionTower(const VisionConfig& config, int embed_dim);

  Resizable resizable() const override { return {"pos_embed", 1, "patch_embed.proj.weight", /*antialias=*/false}; }
  /// The blocks; a group a block.
  std::vector<std::vector<at::Tensor>> lock_groups() override;
  at::Tensor input_tokens(const at::Tensor& images) override;

  // The inside, for reference cases.

  /// (B, 3, H, W) -> (B, h*w, width), no class token.
  at::Tensor patches(const at::Tensor& images) { return patch_tokens(images, patch_weight_, patch_bias_); }
  /// (1, 1 + h*w, width): the absolute embedding, bicubically resized unless the grid is the native one.
  at::Tensor position_embedding(std::int64_t h, std::int64_t w);
  const ops::RotaryTables& rotary(std::int64_t h, std::int64_t w) { return rope_->tables(h, w, cls_token_.device()); }
  EvaBlock& block(int i) { return *blocks_.at(static_cast<std::size_t>(i)); }

 protected:
  at::Tensor run_block(int i, const at::Tensor& tokens, const Grid& grid) override {
    return block(i).forward(tokens, rotary(grid.h, grid.w));
  }
  at::Tensor run_last_for_image(const at::Tensor& tokens, const Grid& grid) override {
    return blocks_.back()->forward_class(tokens, rotary(grid.h, grid.w));
  }
  at::Tensor run_last_in_dense(const at::Tensor& patches) override {
    return blocks_.back()->forward_without_attention(patches);
  }
  at::Tensor pool(const at::Tensor& tokens) override { return project(tokens.select(1, 0)); }
  at::Tensor project(const at::Tensor& patches) override { return head_->forward(norm_->forward(patches)); }
  torch::nn::Module& block_module(int i) override { return block(i); }

 private:
  at::Tensor cls_token_, pos_embed_, patch_weight_, patch_bias_;
  std::shared_ptr<EvaRotary> rope_;
  std::vector<std::shared_ptr<EvaBlock>> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> head_;
};

}  // namespace clipself::models
