#include "clipself/models/vit_vision_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"
#include "clipself/models/backbone.h"
#include "clipself/ops/linear.h"

namespace clipself::models {
namespace {

constexpr double kVitNormEps = 1e-5;

// open_clip's configurations. OpenAI's own weights, and those that their publishers call "quickgelu", need QuickGELU.
struct VitShape {
  const char* name;
  int embed_dim, image_size, patch_size, width, layers, head_width;
  double mlp_ratio;
  int text_width, text_layers;  // text heads are 64 wide
  bool quick_twin;              // weights of both kinds are published
  bool squash;                  // the published ones look at stretched images
};
constexpr VitShape kVitShapes[] = {
    {"ViT-B-32", 512, 224, 32, 768, 12, 64, 4.0, 512, 12, true, false},
    {"ViT-B-16", 512, 224, 16, 768, 12, 64, 4.0, 512, 12, true, false},
    {"ViT-B-16-plus", 640, 224, 16, 896, 12, 64, 4.0, 640, 12, false, false},
    {"ViT-B-16-plus-240", 640, 240, 16, 896, 12, 64, 4.0, 640, 12, false, false},
    {"ViT-L-14", 768, 224, 14, 1024, 24, 64, 4.0, 768, 12, true, false},
    {"ViT-L-14-336", 768, 336, 14, 1024, 24, 64, 4.0, 768, 12, true, false},
    {"ViT-H-14", 1024, 224, 14, 1280, 32, 80, 4.0, 1024, 24, true, false},
    {"ViT-H-14-378", 1024, 378, 14, 1280, 32, 80, 4.0, 1024, 24, true, true},
    {"ViT-g-14", 1024, 224, 14, 1408, 40, 88, 4.3637, 1024, 24, false, false},
    {"ViT-bigG-14", 1280, 224, 14, 1664, 48, 104, 4.9231, 1280, 32, true, false},
};

std::vector<BuiltinModel> vit_models() {
  std::vector<BuiltinModel> models;
  for (const auto& shape : kVitShapes) {
    for (const bool quick : {false, true}) {
      if (quick && !shape.quick_twin) continue;
      models.push_back(
          {std::string(shape.name) + (quick ? "-quickgelu" : ""),
           fmt::format(
               R"({{"model_cfg": {{"embed_dim": {}, "quick_gelu": {}, "vision_cfg": {{"image_size": {}, "patch_size": {},
             "width": {}, "layers": {}, "head_width": {}, "mlp_ratio": {}}}, "text_cfg": {{"context_length": 77,
             "vocab_size": 49408, "width": {}, "heads": {}, "layers": {}}}}}, "preprocess_cfg": {{"resize_mode": "{}"}}}})",
               shape.embed_dim, quick, shape.image_size, shape.patch_size, shape.width, shape.layers, shape.head_width,
               shape.mlp_ratio, shape.text_width, shape.text_width / 64, shape.text_layers,
               shape.squash ? "squash" : "shortest")});
    }
  }
  return models;
}

void parse_vit(const ConfigSection& in, ClipConfig& config) {
  parse_shape(in, config.vision);
  in.require<int>("width");
  in.require<int>("layers");
  if (config.vision.activation != Activation::kQuickGelu) config.vision.activation = parse_activation(in);
  config.flat_text = true;
  in.demand(!in.has("timm_model_name"), "timm_model_name", "a tower of another library", "a plain ViT or a SigLIP ViT");
  for (const char* key : {"global_average_pool", "attentional_pool", "input_patchnorm", "no_ln_pre"})
    in.demand(!in.get<bool>(key, false), key, "true", "false");
  in.demand(!in.has("ls_init_value"), "ls_init_value", "layer scale", "none");
  if (const auto pool = in.get<std::string>("pool_type", "tok"); pool != "tok") in.fail("pool_type", pool, "tok");
}

TransformerShape shape_of(const VisionConfig& config) {
  return {.width = config.width,
          .heads = config.heads(),
          .layers = config.layers,
          .mlp_width = config.mlp_width(),
          .activation = config.activation,
          .norm_eps = kVitNormEps};
}

}  // namespace

VitVisionTower::VitVisionTower(const VisionConfig& config, int embed_dim) : VisionTower(config, embed_dim) {
  const std::int64_t width = config.width;
  const std::int64_t patch = config.patch_size;
  class_embedding_ = register_parameter("class_embedding", at::empty({width}));
  positional_embedding_ =
      register_parameter("positional_embedding", at::empty({1 + config.grid() * config.grid(), width}));
  proj_ = register_parameter("proj", at::empty({width, embed_dim}));
  auto conv1 = std::make_shared<torch::nn::Module>();
  kernel_ = conv1->register_parameter("weight", at::empty({width, 3, patch, patch}));
  register_module("conv1", conv1);
  ln_pre_ = register_module("ln_pre", std::make_shared<LayerNorm>(width, kVitNormEps));
  transformer_ = register_module("transformer", std::make_shared<Transformer>(shape_of(config)));
  ln_post_ = register_module("ln_post", std::make_shared<LayerNorm>(width, kVitNormEps));

  const double scale = std::pow(width, -0.5);
  for (auto* tensor : {&class_embedding_, &positional_embedding_, &proj_}) init_normal(*tensor, scale);
  const at::NoGradGuard no_grad;
  const double bound = 1.0 / std::sqrt(static_cast<double>(3 * patch * patch));  // torch's default for a convolution
  kernel_.uniform_(-bound, bound);
}

at::Tensor VitVisionTower::position_embedding(std::int64_t h, std::int64_t w) {
  const std::int64_t side = config().grid();
  if (h == side && w == side) return positional_embedding_;
  return resize_positions(positional_embedding_, 1, h, w, /*antialias=*/false);
}

at::Tensor VitVisionTower::input_tokens(const at::Tensor& images) {
  const auto [h, w] = grid_of(images);
  const auto type = compute_type();
  const auto first = cast(class_embedding_, type).expand({images.size(0), 1, -1});
  const auto tokens = at::cat({first, patch_tokens(images, kernel_, {})}, 1);
  return ln_pre_->forward(tokens + cast(position_embedding(h, w), type));
}

at::Tensor VitVisionTower::project(const at::Tensor& patches) {
  return ops::linear(ln_post_->forward(patches), proj_.t());
}

std::vector<std::vector<at::Tensor>> VitVisionTower::lock_groups() {
  std::vector<std::vector<at::Tensor>> groups{{kernel_, class_embedding_}, {positional_embedding_}};
  for (const auto& parameter : ln_pre_->parameters()) groups[0].push_back(parameter);
  for (const auto& block : transformer_->blocks()) groups.push_back(block->parameters());
  return groups;
}

at::Tensor VitVisionTower::encode_masks_attn(const at::Tensor& images, const std::vector<at::Tensor>& masks) {
  const auto [h, w] = grid_of(images);
  const auto count = images.size(0);
  std::int64_t most = 0;
  for (const auto& each : masks) {
    if (each.dim() != 3 || each.size(1) != h || each.size(2) != w) {
      throw Error({.doing = "pooling masks by attention",
                   .found = "masks of shape " + c10::str(each.sizes()),
                   .expected = c10::str("(n, ", h, ", ", w, "), the size of the patch grid")});
    }
    most = std::max(most, each.size(0));
  }
  if (static_cast<std::int64_t>(masks.size()) != count) {
    throw Error({.doing = "pooling masks by attention",
                 .found = c10::str(masks.size(), " lists of masks for ", count, " images")});
  }
  auto x = input_tokens(images);
  if (most == 0) return x.new_zeros({0, embed_dim()});
  // Images with fewer masks are filled up with whole ones, whose features nobody takes.
  auto looks = at::ones({count, 1, most, 1 + h * w}, x.options().dtype(at::kBool));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& mask = masks[static_cast<std::size_t>(i)];
    looks[i][0].slice(0, 0, mask.size(0)).slice(1, 1).copy_(mask.flatten(1) != 0);
  }
  // Tokens and queries in one tensor, which is what recomputation keeps.
  const std::int64_t tokens = x.size(1);
  x = at::cat({x, x.slice(1, 0, 1).expand({-1, most, -1})}, 1);
  for (int i = 0; i < depth(); ++i) {
    const auto& block = transformer_->blocks()[static_cast<std::size_t>(i)];
    x = checkpointed(i, x, [block, looks, tokens](const at::Tensor& both) {
      const auto [y, queries] = block->forward(both.slice(1, 0, tokens), both.slice(1, tokens), looks);
      return at::cat({y, queries}, 1);
    });
  }
  const auto features = project(x.slice(1, tokens));
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < count; ++i)
    rows.push_back(features[i].slice(0, 0, masks[static_cast<std::size_t>(i)].size(0)));
  return at::cat(rows);
}

const Backbone& vit_backbone() {
  static const Backbone backbone{.name = "vit",
                                 .describes = [](const ConfigSection&) { return true; },
                                 .parse = parse_vit,
                                 .make = [](const ClipConfig& config) -> std::shared_ptr<VisionTower> {
                                   return std::make_shared<VitVisionTower>(config.vision, config.embed_dim);
                                 },
                                 .signature = [](const ClipConfig& config) -> WeightSignature {
                                   const auto& v = config.vision;
                                   return {
                                       {{"positional_embedding", {1 + v.grid() * v.grid(), v.width}},
                                        {"conv1.weight", {v.width, 3, v.patch_size, v.patch_size}},
                                        {"proj", {v.width, config.embed_dim}},
                                        {fmt::format("transformer.resblocks.{}.ln_1.weight", v.layers - 1), {v.width}}},
                                       fmt::format("transformer.resblocks.{}.ln_1.weight", v.layers)};
                                 },
                                 .models = vit_models()};
  return backbone;
}

}  // namespace clipself::models
