#include "clipself/models/clip_model.h"

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"
#include "clipself/models/backbone.h"
#include "clipself/models/layers.h"
#include "clipself/ops/roi_align.h"

namespace clipself::models {
namespace {

// torch's state_dict order: a module's parameters, then its buffers, then its children.
void collect(const torch::nn::Module& module, const std::string& prefix, formats::TensorDict& out) {
  for (const auto& item : module.named_parameters(/*recurse=*/false))
    out.insert(prefix + item.key(), item.value().detach());
  for (const auto& item : module.named_buffers(/*recurse=*/false))
    out.insert(prefix + item.key(), item.value().detach());
  for (const auto& child : module.named_children()) collect(*child.value(), prefix + child.key() + ".", out);
}

// The patches whose corners lie in each box, the box's corners rounded towards zero.
std::vector<at::Tensor> box_masks(const std::vector<at::Tensor>& boxes, std::int64_t h, std::int64_t w) {
  std::vector<at::Tensor> masks;
  for (const auto& list : boxes) {
    const auto corners = (list.to(at::kCPU, at::kFloat) * at::tensor({w, h, w, h}, at::kFloat)).to(at::kLong);
    auto mask = at::zeros({list.size(0), h, w}, at::kBool);
    for (std::int64_t i = 0; i < list.size(0); ++i) {
      const auto at = [&](std::int64_t k, std::int64_t limit) {
        return std::clamp<std::int64_t>(corners[i][k].item<std::int64_t>(), 0, limit);
      };
      mask[i].slice(0, at(1, h), at(3, h)).slice(1, at(0, w), at(2, w)).fill_(true);
    }
    masks.push_back(mask.to(list.device()));
  }
  return masks;
}

}  // namespace

ClipModel::ClipModel(const ClipConfig& config, bool with_text) : config_(config) {
  visual_ = backbone(config.vision.backbone).make(config);
  if (with_text && config.text) text_ = std::make_shared<TextTower>(*config.text, config.embed_dim);
  logit_scale_ = at::scalar_tensor(std::log(1.0 / 0.07), at::kFloat);
  // Plain CLIP keeps the text tower's parts at top level, its parameters before the logit scale.
  const bool flat = text_ && config.flat_text;
  if (flat) {
    for (const auto& item : text_->named_parameters(/*recurse=*/false)) register_parameter(item.key(), item.value());
  }
  register_parameter("logit_scale", logit_scale_);
  if (config.logit_bias) logit_bias_ = register_parameter("logit_bias", at::scalar_tensor(-10.0, at::kFloat));
  register_module("visual", visual_);
  if (flat) {
    const auto parts = text_->named_children();
    for (const char* name : {"transformer", "token_embedding", "ln_final"}) register_module(name, parts[name]);
  } else if (text_) {
    register_module("text", text_);
  }
}

TextTower& ClipModel::text() {
  if (!text_) throw Error({.doing = "encoding text", .where = config_.name, .found = "a model without a text tower"});
  return *text_;
}

at::Tensor ClipModel::encode_image(const at::Tensor& images, bool normalized) {
  const auto features = visual_->encode_image(images);
  return normalized ? unit_length(features) : features;
}

at::Tensor ClipModel::encode_text(const at::Tensor& tokens, bool normalized) {
  const auto features = text().encode(tokens);
  return normalized ? unit_length(features) : features;
}

at::Tensor ClipModel::encode_boxes(const at::Tensor& images, const std::vector<at::Tensor>& boxes, bool normalized,
                                   BoxFeature feature) {
  const std::int64_t patch = visual_->patch_size();
  const auto features =
      feature == BoxFeature::kRoiAlign
          ? pool_boxes(encode_dense(images), boxes)
          : visual_->encode_masks_attn(images, box_masks(boxes, images.size(2) / patch, images.size(3) / patch));
  return normalized ? unit_length(features) : features;
}

at::Tensor ClipModel::encode_masks(const at::Tensor& images, const std::vector<at::Tensor>& masks, bool normalized,
                                   bool by_attention) {
  const auto features =
      by_attention ? visual_->encode_masks_attn(images, masks) : pool_masks(encode_dense(images), masks);
  return normalized ? unit_length(features) : features;
}

std::pair<at::Tensor, at::Tensor> ClipModel::encode_boxes_and_image(const at::Tensor& images,
                                                                    const std::vector<at::Tensor>& boxes) {
  const auto [dense, image] = visual_->encode_dense_and_image(images);
  return {unit_length(pool_boxes(dense, boxes)), unit_length(image)};
}

void ClipModel::lock_image_tower(int groups) {
  for (auto& parameter : parameters()) parameter.set_requires_grad(false);
  visual_->lock(groups);
  logit_scale_.set_requires_grad(true);
}

void ClipModel::freeze(at::ScalarType type) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : parameters()) {
    parameter.set_requires_grad(false);
    // Matrices only: norms and biases stay float32, they cost nothing and are cast where they must be.
    if (parameter.dim() >= 2) parameter.set_data(parameter.to(type));
  }
  visual_->set_compute_type(type);
  if (text_) text_->set_compute_type(type);
  eval();
}

formats::TensorDict ClipModel::state() {
  formats::TensorDict out;
  collect(*this, "", out);
  return out;
}

std::vector<std::pair<std::string, at::Tensor>> ClipModel::trainable() {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (const auto& item : named_parameters()) {
    if (item.value().requires_grad()) result.emplace_back(item.key(), item.value());
  }
  return result;
}

at::Tensor pool_boxes(const at::Tensor& dense, const std::vector<at::Tensor>& boxes) {
  const auto scale = at::tensor({dense.size(3), dense.size(2), dense.size(3), dense.size(2)}, at::kFloat);
  std::vector<at::Tensor> scaled;
  scaled.reserve(boxes.size());
  for (const auto& list : boxes) scaled.push_back(list * scale.to(list.device()));
  return ops::roi_align(dense.to(at::kFloat), scaled).flatten(1);
}

at::Tensor pool_masks(const at::Tensor& dense, const std::vector<at::Tensor>& masks) {
  if (static_cast<std::int64_t>(masks.size()) != dense.size(0)) {
    throw Error(
        {.doing = "pooling masks", .found = c10::str(masks.size(), " lists of masks for ", dense.size(0), " maps")});
  }
  std::vector<at::Tensor> pooled;
  for (std::size_t i = 0; i < masks.size(); ++i) {
    if (masks[i].dim() != 3 || masks[i].size(1) != dense.size(2) || masks[i].size(2) != dense.size(3)) {
      throw Error({.doing = "pooling masks",
                   .found = "masks of shape " + c10::str(masks[i].sizes()),
                   .expected = c10::str("(n, ", dense.size(2), ", ", dense.size(3), "), the size of the dense map")});
    }
    const auto weights = masks[i].to(dense.device(), at::kFloat).flatten(1);
    const auto tokens = dense[static_cast<std::int64_t>(i)].to(at::kFloat).flatten(1).transpose(0, 1);
    pooled.push_back((weights.matmul(tokens) / (weights.sum(1, /*keepdim=*/true) + 1e-12)));
  }
  return at::cat(pooled);
}

}  // namespace clipself::models
