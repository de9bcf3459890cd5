// A CLIP model: vision tower, text tower, logit scale.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/tensor_dict.h"
#include "clipself/models/config.h"
#include "clipself/models/text_tower.h"
#include "clipself/models/vision_tower.h"

namespace clipself::models {

/// How a box's feature is taken: the original's extract types v2 and v1.
enum class BoxFeature {
  kRoiAlign,       ///< v2: RoIAlign 1x1 on the dense map
  kMaskAttention,  ///< v1: VisionTower::encode_masks_attn over the box's patches, corners rounded down
};

/// Parameters, in the official order: logit_scale (and SigLIP's logit_bias), visual.*, text.*; of plain CLIP models the
/// text tower's stand at top level.
class ClipModel : public torch::nn::Module {
 public:
  /// Initialised as published, from torch's default generator (torch::manual_seed makes it repeatable). `with_text`
  /// false leaves the text tower out.
  explicit ClipModel(const ClipConfig& config, bool with_text = true);

  VisionTower& visual() { return *visual_; }
  TextTower& text();  ///< Throws Error when the model has none.
  bool has_text() const { return text_ != nullptr; }
  const ClipConfig& config() const { return config_; }
  at::Tensor& logit_scale() { return logit_scale_; }  ///< scalar, the logarithm of the scale
  /// SigLIP's scalar bias; undefined in other models.
  const at::Tensor& logit_bias() const { return logit_bias_; }

  /// (B, D); `normalized`: of unit length.
  at::Tensor encode_image(const at::Tensor& images, bool normalized = false);
  /// (B, context) int64 -> (B, D).
  at::Tensor encode_text(const at::Tensor& tokens, bool normalized = false);
  /// (B, D, h, w), unit length at each position.
  at::Tensor encode_dense(const at::Tensor& images) { return visual_->encode_dense(images); }
  /// One float (n_i, 4) tensor of x0 y0 x1 y1 in 0..1 an image -> (sum n_i, D).
  at::Tensor encode_boxes(const at::Tensor& images, const std::vector<at::Tensor>& boxes, bool normalized = false,
                          BoxFeature feature = BoxFeature::kRoiAlign);
  /// One (n_i, h, w) mask tensor an image (bool or 0/1) -> (sum n_i, D): mean of the dense map over each mask; an empty
  /// mask gives zeros. Or, `by_attention`, by VisionTower::encode_masks_attn.
  at::Tensor encode_masks(const at::Tensor& images, const std::vector<at::Tensor>& masks, bool normalized = true,
                          bool by_attention = false);
  /// Unit features of boxes (RoIAlign) and of the whole images, for one pass over all blocks but the last.
  std::pair<at::Tensor, at::Tensor> encode_boxes_and_image(const at::Tensor& images,
                                                           const std::vector<at::Tensor>& boxes);

  /// The vision tower's last `groups` blocks and the logit scale are trained; all else is frozen.
  void lock_image_tower(int groups);
  /// Evaluation form: no gradients anywhere, parameters of the towers converted to `type`.
  void freeze(at::ScalarType type);
  /// All parameters and buffers by official name (detached, sharing storage).
  formats::TensorDict state();
  /// Names of the parameters that are trained, in the official order.
  std::vector<std::pair<std::string, at::Tensor>> trainable();

 private:
  ClipConfig config_;
  at::Tensor logit_scale_, logit_bias_;
  std::shared_ptr<VisionTower> visual_;
  std::shared_ptr<TextTower> text_;
};

/// Region features of a dense map that is already there, in float32: see ClipModel::encode_boxes and encode_masks.
at::Tensor pool_boxes(const at::Tensor& dense, const std::vector<at::Tensor>& boxes);
at::Tensor pool_masks(const at::Tensor& dense, const std::vector<at::Tensor>& masks);

}  // namespace clipself::models
