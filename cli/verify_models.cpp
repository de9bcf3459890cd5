// Kinds eva_b_like, eva_l_like (forward passes) and load_resize (checkpoints in models of another image or patch size).
#include "cli/verify_models.h"

#include <fmt/format.h>

#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/models/weights.h"

namespace clipself::cli::verify {

std::shared_ptr<models::ClipModel> build_model(const Case& c, const std::string& config) {
  return std::make_shared<models::ClipModel>(models::model_config(c.file(config).string()));
}

std::shared_ptr<models::ClipModel> load_model(const Case& c, const std::string& folder) {
  auto model = build_model(c, folder + "/config.json");
  models::load_checkpoint(*model, c.file(folder + "/model.pt"));
  model->eval();
  return model;
}

std::string not_buildable(const Case& c, const std::string& config) {
  const auto document = c.json(config);
  const auto& vision = member(document, "vision_cfg", c.file(config).string());
  return vision.contains("eva_model_name") ? "" : "needs a plain CLIP ViT, which this program does not have";
}

models::EvaVisionTower& eva_tower(models::ClipModel& model) {
  auto* tower = dynamic_cast<models::EvaVisionTower*>(&model.visual());
  if (!tower) throw Error({.doing = "looking inside the vision tower", .found = "no EVA tower", .expected = "one"});
  return *tower;
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

/// Tokens (B, 1 + h*w, width) from block to block.
void check_inside(Case& c, models::EvaVisionTower& tower, const std::string& size, const at::Tensor& images) {
  const auto h = images.size(2) / tower.patch_size(), w = images.size(3) / tower.patch_size();
  const auto inner = size + ".inner.";
  c.check(inner + "patch_embed", tower.patch_tokens(images), kInner);
  const auto& tables = tower.rotary(h, w);
  auto x = tower.input_tokens(images);
  for (int i = 0; i < tower.depth(); ++i) {
    auto& block = tower.block(i);
    const auto prefix = fmt::format("{}block.{}", inner, i);
    // The two branches as the block's own forward adds them up.
    const auto attention = block.attention_branch(x, tables);
    c.check(prefix + ".attn", attention, kInner);
    c.check(prefix + ".mlp", block.mlp_branch(x + attention), kInner);
    if (i + 1 == tower.depth()) c.check(inner + "last_block_without_attn", block.forward_without_attention(x), kInner);
    x = block.forward(x, tables);
    c.check(prefix, x, kInner);
  }
}

void check_size(Case& c, models::ClipModel& model, const formats::TensorDict& inputs, const std::string& where,
                const std::string& size) {
  auto& tower = eva_tower(model);
  const auto images = float_images(tensor(inputs, size + ".images", where, {-1, 3, -1, -1}));
  const auto count = images.size(0), patch = static_cast<std::int64_t>(tower.patch_size());
  const auto h = images.size(2) / patch, w = images.size(3) / patch;
  if (h == 0 || w == 0 || images.size(2) % patch != 0 || images.size(3) % patch != 0)
    throw Error({.doing = "reading tensor '" + size + ".images' of",
                 .where = where,
                 .found = fmt::format("images of {} x {} pixels", images.size(2), images.size(3)),
                 .expected = fmt::format("multiples of the patch size {}", patch)});
  const auto name = [&](const char* what) { return size + "." + what; };

  c.check(name("pos_embed"), tower.position_embedding(h, w), kTable);
  const auto& tables = tower.rotary(h, w);
  c.check(name("rope_cos"), tables.cos, kTable);
  c.check(name("rope_sin"), tables.sin, kTable);
  check_inside(c, tower, size, images);

  const auto image = model.encode_image(images), image_norm = model.encode_image(images, true);
  c.check(name("encode_image"), image, kFeature);
  c.check(name("encode_image_norm"), image_norm, kFeature);
  c.check(name("rois_and_image.image"), image_norm, kFeature);
  const auto dense = model.encode_dense(images);
  c.check(name("encode_dense_chw"), dense, kFeature);
  c.check(name("encode_dense"), dense.flatten(2).transpose(1, 2), kFeature);

  if (inputs.contains(size + ".boxes.0")) {
    const auto boxes = per_image(inputs, size + ".boxes", count, where, {-1, 4});
    const auto features = model.encode_boxes(images, boxes), unit = model.encode_boxes(images, boxes, true);
    c.check(name("extract_roi_features"), features, kFeature);
    c.check(name("encode_pseudo_boxes"), features, kFeature);
    c.check(name("encode_pseudo_boxes_norm"), unit, kFeature);
    c.check(name("rois_and_image.rois"), unit, kFeature);
  }
  if (inputs.contains(size + ".masks.0")) {
    const auto masks = per_image(inputs, size + ".masks", count, where, {-1, h, w});
    c.check(name("mask_pool"), model.encode_masks(images, masks, false), kFeature);
    c.check(name("encode_masks"), model.encode_masks(images, masks), kFeature);
  }
}

}  // namespace

void verify_eva(Case& c) {
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
    if (const auto why = not_buildable(c, config); !why.empty()) {
      c.skip(entry, why, entry + ".");
      continue;
    }
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
