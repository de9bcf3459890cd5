// What every vision transformer is to the rest of the program, and the part of it that all of them share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/models/config.h"

namespace clipself::models {

/// A vision transformer that gives one embedding an image or one a patch. H and W are any multiples of the patch size.
/// Parameter names are those of the official checkpoints (below "visual.").
///
/// A backbone implements the hooks below; the passes over the blocks, recomputation and locking stand here once.
class VisionTower : public torch::nn::Module {
 public:
  VisionTower(const VisionConfig& config, int embed_dim) : config_(config), embed_dim_(embed_dim) {}

  /// (B, 3, H, W) normalised pixels -> (B, D) embeddings, not of unit length.
  at::Tensor encode_image(const at::Tensor& images);
  /// (B, 3, H, W) -> (B, D, h, w): the dense map, each position of unit length.
  at::Tensor encode_dense(const at::Tensor& images);
  /// Both of the above for one pass over all blocks but the last.
  std::pair<at::Tensor, at::Tensor> encode_dense_and_image(const at::Tensor& images);
  /// Token maps (B, width, h, w) after each of the named blocks (counted from 0), the last block as in the dense map;
  /// for feature pyramids. Throws Error for a block the tower does not have.
  std::vector<at::Tensor> intermediate(const at::Tensor& images, const std::vector<int>& layers);
  /// The same and the dense map (undefined unless `with_dense`), in one pass.
  std::pair<std::vector<at::Tensor>, at::Tensor> intermediate_and_dense(const at::Tensor& images,
                                                                        const std::vector<int>& layers,
                                                                        bool with_dense = true);
  /// One (n_i, h, w) bool mask an image -> (sum n_i, D), not of unit length: for each mask a copy of the class token
  /// that looks only at the class token and the mask's patches, and at which nothing looks (MaskCLIP, Ding et al. 2022,
  /// arXiv 2208.08984). Throws Error for a tower that cannot.
  virtual at::Tensor encode_masks_attn(const at::Tensor& images, const std::vector<at::Tensor>& masks);

  /// Trains the last `groups` of lock_groups() (0: none) and freezes everything else of the tower.
  void lock(int groups);
  /// Recompute blocks in the backward pass instead of keeping their activations.
  void set_grad_checkpointing(bool enabled) { checkpointing_ = enabled; }
  /// The type of activations and matrix products (float32 or bfloat16); parameters keep theirs.
  void set_compute_type(at::ScalarType type) { compute_type_ = type; }

  int patch_size() const { return config_.patch_size; }
  int image_size() const { return config_.image_size; }  ///< the native one
  int embed_dim() const { return embed_dim_; }
  int depth() const { return config_.layers; }

  /// Where a checkpoint of another image size differs, for models/weights.
  struct Resizable {
    std::string positions;   ///< name of the position embedding below "visual.", its last two dimensions (N, width)
    std::int64_t prefix;     ///< rows of it before the grid's
    std::string kernel;      ///< name of the patch kernel that may be resized too, or ""
    bool antialias = false;  ///< how the publisher's loader resizes positions
  };
  virtual Resizable resizable() const = 0;
  /// What can be trained, from the first to the last to be unlocked by lock().
  virtual std::vector<std::vector<at::Tensor>> lock_groups() = 0;
  /// (B, 3, H, W) -> what the first block gets, (B, prefix + h*w, width).
  virtual at::Tensor input_tokens(const at::Tensor& images) = 0;

 protected:
  struct Grid {
    std::int64_t h = 0, w = 0;
  };
  // The hooks. Tokens are (B, prefix + h*w, width).
  virtual at::Tensor run_block(int i, const at::Tensor& tokens, const Grid& grid) = 0;
  /// The last block in the dense map: patches alone (no prefix), each keeping its own value.
  virtual at::Tensor run_last_in_dense(const at::Tensor& patches) = 0;
  /// The last block where the image's embedding alone is wanted: the tokens that pool() takes.
  virtual at::Tensor run_last_for_image(const at::Tensor& tokens, const Grid& grid) {
    return run_block(depth() - 1, tokens, grid);
  }
  /// Embedding of the image from what run_last_for_image() gives, (B, D).
  virtual at::Tensor pool(const at::Tensor& tokens) = 0;
  /// Embedding of each patch from the dense map's last block, (B, N, D).
  virtual at::Tensor project(const at::Tensor& patches) = 0;
  virtual torch::nn::Module& block_module(int i) = 0;
  virtual std::int64_t prefix_tokens() const { return 1; }

  /// Throws Error when the shape is not (B, 3, H, W) with multiples of the patch size.
  Grid grid_of(const at::Tensor& images) const;
  /// (B, 3, H, W) -> (B, h*w, width) by a convolution without overlap.
  at::Tensor patch_tokens(const at::Tensor& images, const at::Tensor& kernel, const at::Tensor& bias) const;
  /// body(x), a pure function of x and of block i's parameters; computed again in the backward pass when that is
  /// wanted.
  at::Tensor checkpointed(int i, const at::Tensor& x, const std::function<at::Tensor(const at::Tensor&)>& body);
  at::ScalarType compute_type() const { return compute_type_; }
  const VisionConfig& config() const { return config_; }

 private:
  at::Tensor block(int i, const at::Tensor& tokens, const Grid& grid);
  at::Tensor last_in_dense(const at::Tensor& tokens);
  /// The image's embedding from the last block's input.
  at::Tensor image_of(const at::Tensor& tokens, const Grid& grid);
  /// All blocks but the last; `after(i, tokens)` is called after each.
  at::Tensor before_last(const at::Tensor& images, const Grid& grid,
                         const std::function<void(int, const at::Tensor&)>& after = {});
  /// The dense map from the last block's patches.
  at::Tensor dense_of(const at::Tensor& last, const Grid& grid);

  VisionConfig config_;
  int embed_dim_;
  bool checkpointing_ = false;
  at::ScalarType compute_type_ = at::kFloat;
};

}  // namespace clipself::models
