// Kinds eva_b_like, eva_l_like, clip_vit_like, clip_vit_quickgelu (forward passes) and load_resize (checkpoints in
// models of another image or patch size).
#include "cli/verify_models.h"

#include <fmt/format.h>

#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/models/eva_vision_tower.h"
#include "clipself/models/vit_vision_tower.h"
#include "clipself/models/weights.h"

namespace clipself::cli::verify {

std::shared_ptr<models::ClipModel> build_model(const Case& c, const std::string& config) {
  return std::make_shared<models::ClipModel>(models::model_config(c.file(config).string()));
}

std::shared_ptr<models::ClipModel> load_model(const Case& c, const std::string& folder) {
  auto model = build_model(c, folder + "/config.json");
  models::load_checkpoint(*model, c.file(folder + "/model.pt"));
  model->eval();
  model->visual().set_compute_type(c.precision);
  return model;
}

at::Tensor float_images(const at::Tensor& stored) {
  return stored.to(at::kFloat);
}

namespace {

constexpr auto kInner = Tolerance::abs(2e-4);
constexpr auto kTable = Tolerance::abs(1e-5);

/// "<name>.boxes.0", "<name>.boxes.1", ... for each of n images.
std::vector<at::Tensor> per_image(const formats::TensorDict& inputs, const std::string& name, std::int64_t n,
                                  const std::string& where, const std::vector<std::int64_t>& shape) {
  std::vector<at::Tensor> list;
  for (std::int64_t i = 0; i < n; ++i)
    list.push_back(tensor(inputs, fmt::format("{}.{}", name, i), where, shape).to(at::kFloat));
  return list;
}

/// What an EVA tower computes on its way: tokens (B, 1 + h*w, width) from block to block.
void check_inside(Case& c, models::EvaVisionTower& tower, const std::string& size, const at::Tensor& images,
                  std::int64_t h, std::int64_t w) {
  const auto& tables = tower.rotary(h, w);
  c.check(size + ".pos_embed", tower.position_embedding(h, w), kTable);
  c.check(size + ".rope_cos", tables.cos, kTable);
  c.check(size + ".rope_sin", tables.sin, kTable);
  const auto inner = size + ".inner.";
  c.check(inner + "patch_embed", tower.patches(images), in_precision(c, kInner));
  auto x = tower.input_tokens(images);
  for (int i = 0; i < tower.depth(); ++i) {
    auto& block = tower.block(i);
    const auto prefix = fmt::format("{}block.{}", inner, i);
    // The two branches as the block's own forward adds them up.
    const auto attention = block.attention_branch(x, tables);
    c.check(prefix + ".attn", attention, in_precision(c, kInner));
    c.check(prefix + ".mlp", block.mlp_branch(x + attention), in_precision(c, kInner));
    if (i + 1 == tower.depth())
      c.check(inner + "last_block_without_attn", block.forward_without_attention(x), in_precision(c, kInner));
    x = block.forward(x, tables);
    c.check(prefix, x, in_precision(c, kInner));
  }
}

void check_inside(Case& c, models::VitVisionTower& tower, const std::string& size, const at::Tensor& images,
                  std::int64_t h, std::int64_t w) {
  c.check(size + ".pos_embed", tower.position_embedding(h, w), kTable);
  auto x = tower.input_tokens(images);
  c.check(size + ".inner.ln_pre", x, in_precision(c, kInner));
  for (int i = 0; i < tower.depth(); ++i) {
    x = tower.block(i).forward(x, /*causal=*/false);
    c.check(fmt::format("{}.inner.block.{}", size, i), x, in_precision(c, kInner));
  }
}

void check_size(Case& c, models::ClipModel& model, const formats::TensorDict& inputs, const std::string& where,
                const std::string& size) {
  auto& tower = model.visual();
  const auto images = float_images(tensor(inputs, size + ".images", where, {-1, 3, -1, -1}));
  const auto count = images.size(0), patch = static_cast<std::int64_t>(tower.patch_size());
  const auto h = images.size(2) / patch, w = images.size(3) / patch;
  if (h == 0 || w == 0 || images.size(2) % patch != 0 || images.size(3) % patch != 0)
    throw Error({.doing = "reading tensor '" + size + ".images' of",
                 .where = where,
                 .found = fmt::format("images of {} x {} pixels", images.size(2), images.size(3)),
                 .expected = fmt::format("multiples of the patch size {}", patch)});
  const auto name = [&](const char* what) { return size + "." + what; };

  if (auto* eva = dynamic_cast<models::EvaVisionTower*>(&tower)) check_inside(c, *eva, size, images, h, w);
  auto* vit = dynamic_cast<models::VitVisionTower*>(&tower);
  if (vit != nullptr) check_inside(c, *vit, size, images, h, w);

  const auto feature = in_precision(c, kFeature);
  const auto image = model.encode_image(images), image_norm = model.encode_image(images, true);
  c.check(name("encode_image"), image, feature);
  c.check(name("encode_image_norm"), image_norm, feature);
  const auto dense = model.encode_dense(images);
  c.check(name("encode_dense_chw"), dense, feature);
  c.check(name("encode_dense"), dense.flatten(2).transpose(1, 2), feature);

  if (inputs.contains(size + ".boxes.0")) {
    const auto boxes = per_image(inputs, size + ".boxes", count, where, {-1, 4});
    const auto features = model.encode_boxes(images, boxes), unit = model.encode_boxes(images, boxes, true);
    c.check(name("extract_roi_features"), features, feature);
    c.check(name("encode_pseudo_boxes"), features, feature);
    c.check(name("encode_pseudo_boxes_norm"), unit, feature);
    const auto [rois, whole] = model.encode_boxes_and_image(images, boxes);
    c.check(name("rois_and_image.rois"), rois, feature);
    c.check(name("rois_and_image.image"), whole, feature);
    if (vit != nullptr) {
      c.check(name("roi_v2"), features, feature);
      c.check(name("roi_v2_norm"), unit, feature);
      constexpr auto kV1 = models::BoxFeature::kMaskAttention;
      c.check(name("roi_v1"), model.encode_boxes(images, boxes, false, kV1), feature);
      c.check(name("roi_v1_norm"), model.encode_boxes(images, boxes, true, kV1), feature);
    }
  }
  if (inputs.contains(size + ".masks.0")) {
    const auto masks = per_image(inputs, size + ".masks", count, where, {-1, h, w});
    c.check(name("mask_pool"), model.encode_masks(images, masks, false), feature);
    c.check(name("encode_masks"), model.encode_masks(images, masks), feature);
    if (vit != nullptr)
      c.check(name("encode_masks_attn"), model.encode_masks(images, masks, true, /*by_attention=*/true), feature);
  }
}

}  // namespace

void verify_forward(Case& c) {
  const torch::NoGradGuard no_grad;
  const auto model = load_model(c, ".");
  const auto inputs = c.tensors("inputs.safetensors");
  const auto where = c.file("inputs.safetensors").string();
  c.load_expected("expected.safetensors");

  c.check("logit_scale", model->logit_scale(), Tolerance::exact());
  c.check("logit_scale_exp", model->logit_scale().exp(), Tolerance::abs(1e-3));
  if (inputs.contains("text")) {
    const auto tokens = tensor(inputs, "text", where, {-1, -1}).to(at::kLong);
    c.check("text.encode_text", model->encode_text(tokens), kFeature);
    c.check("text.encode_text_norm", model->encode_text(tokens, true), kFeature);
  }
  constexpr std::string_view kImages = ".images";
  for (const auto& item : inputs)
    if (item.key().ends_with(kImages))
      check_size(c, *model, inputs, where, item.key().substr(0, item.key().size() - kImages.size()));
}

void verify_load_resize(Case& c) {
  const torch::NoGradGuard no_grad;
  const auto info = c.json("info.json");
  const auto where = c.file("info.json").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  for (const auto& [entry, settings] : info.items()) {
    const auto config = value<std::string>(settings, "config", where);
    const auto checkpoint = value<std::string>(settings, "checkpoint", where);
    const auto model = build_model(c, config);
    // "eva_b_like/model.pt": named from the folder that holds all cases.
    models::load_checkpoint(*model, c.file("../" + checkpoint));
    model->eval();
    const auto state = model->state();
    const auto prefix = entry + ".";
    for (const auto& expected : c.expected_names()) {
      if (!expected.starts_with(prefix)) continue;
      if (const auto* found = state.find(expected.substr(prefix.size()))) c.check(expected, *found, kTable);
    }
    const auto image =
        float_images(tensor(inputs, prefix + "image", c.file("inputs.safetensors").string(), {-1, 3, -1, -1}));
    c.check(prefix + "encode_image", model->encode_image(image), kFeature);
  }
}

}  // namespace clipself::cli::verify
