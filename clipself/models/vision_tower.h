// The interface every vision transformer implements.
#pragma once

#include <vector>

#include "clipself/base/torch.h"
#include "clipself/models/config.h"

namespace clipself::models {

/// A vision transformer that gives one embedding an image or one a patch. H and W are any multiples of the patch size.
/// Parameter names are those of the official checkpoints (below "visual.").
class VisionTower : public torch::nn::Module {
 public:
  /// (B, 3, H, W) normalised pixels -> (B, D) embeddings, not of unit length.
  virtual at::Tensor encode_image(const at::Tensor& images) = 0;
  /// (B, 3, H, W) -> (B, D, h, w): the dense map, each position of unit length.
  virtual at::Tensor encode_dense(const at::Tensor& images) = 0;
  /// Token maps (B, width, h, w) after each of the named blocks (counted from 0), the last block without attention as
  /// in the dense map; for feature pyramids.
  virtual std::vector<at::Tensor> intermediate(const at::Tensor& images, const std::vector<int>& layers) = 0;

  /// Trains the last `groups` blocks (0: none; at least the depth: all) and freezes everything else of the tower.
  virtual void lock(int groups) = 0;
  /// Recompute blocks in the backward pass instead of keeping their activations.
  virtual void set_grad_checkpointing(bool enabled) = 0;
  /// The type of activations and matrix products (float32 or bfloat16); parameters keep theirs.
  virtual void set_compute_type(at::ScalarType type) = 0;

  virtual int patch_size() const = 0;
  virtual int image_size() const = 0;  ///< the native one
  virtual int embed_dim() const = 0;
  virtual int depth() const = 0;
};

}  // namespace clipself::models
