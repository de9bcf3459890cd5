#include "clipself/models/siglip_vision_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "clipself/models/backbone.h"
#include "clipself/ops/attention.h"
#include "clipself/ops/linear.h"

namespace clipself::models {
namespace {

constexpr double kSiglipNormEps = 1e-6;

struct SiglipSize {
  const char* timm;  // as in "vit_base_patch16_siglip_224"
  int width, layers, heads;
  double mlp_ratio;
};
constexpr SiglipSize kSiglipSizes[] = {
    {"base", 768, 12, 12, 4.0}, {"large", 1024, 24, 16, 4.0}, {"so400m", 1152, 27, 16, 3.7362}};

// Which of timm's models use the tanh approximation; the names do not tell. Of those that open_clip's configurations
// call by name, the others use the exact GELU.
constexpr const char* kTanhTimmModels[] = {"vit_base_patch32_siglip_256",    "vit_large_patch16_siglip_512",
                                           "vit_so400m_patch16_siglip_256",  "vit_so400m_patch16_siglip_384",
                                           "vit_so400m_patch16_siglip_512",  "vit_giantopt_patch16_siglip_256",
                                           "vit_giantopt_patch16_siglip_384"};

// open_clip's configurations: SigLIP 2 has Gemma's vocabulary and the tanh approximation in its text tower. The
// 384-pixel So400m with 14-pixel patches looks at 27 x 27 of them, which is 378 pixels.
struct SiglipShape {
  const char* name;
  const char* size;
  int patch_size, image_size, context_length;
  bool second;
};
constexpr SiglipShape kSiglipShapes[] = {
    {"ViT-B-16-SigLIP", "base", 16, 224, 64, false},
    {"ViT-B-16-SigLIP-256", "base", 16, 256, 64, false},
    {"ViT-B-16-SigLIP-384", "base", 16, 384, 64, false},
    {"ViT-B-16-SigLIP-512", "base", 16, 512, 64, false},
    {"ViT-L-16-SigLIP-256", "large", 16, 256, 64, false},
    {"ViT-L-16-SigLIP-384", "large", 16, 384, 64, false},
    {"ViT-SO400M-14-SigLIP", "so400m", 14, 224, 16, false},
    {"ViT-SO400M-14-SigLIP-384", "so400m", 14, 378, 64, false},
    {"ViT-B-16-SigLIP2", "base", 16, 224, 64, true},
    {"ViT-B-16-SigLIP2-256", "base", 16, 256, 64, true},
    {"ViT-B-16-SigLIP2-384", "base", 16, 384, 64, true},
    {"ViT-B-16-SigLIP2-512", "base", 16, 512, 64, true},
    {"ViT-L-16-SigLIP2-256", "large", 16, 256, 64, true},
    {"ViT-L-16-SigLIP2-384", "large", 16, 384, 64, true},
    {"ViT-L-16-SigLIP2-512", "large", 16, 512, 64, true},
    {"ViT-SO400M-14-SigLIP2", "so400m", 14, 224, 64, true},
    {"ViT-SO400M-14-SigLIP2-378", "so400m", 14, 378, 64, true},
    {"ViT-SO400M-16-SigLIP2-256", "so400m", 16, 256, 64, true},
    {"ViT-SO400M-16-SigLIP2-384", "so400m", 16, 384, 64, true},
    {"ViT-SO400M-16-SigLIP2-512", "so400m", 16, 512, 64, true},
};

const SiglipSize* find_size(const std::string& timm_name) {
  for (const auto& size : kSiglipSizes) {
    if (timm_name.find(fmt::format("vit_{}_", size.timm)) != std::string::npos) return &size;
  }
  return nullptr;
}

std::vector<BuiltinModel> siglip_models() {
  std::vector<BuiltinModel> models;
  for (const auto& shape : kSiglipShapes) {
    const auto timm = fmt::format("vit_{}_patch{}_siglip_{}", shape.size, shape.patch_size, shape.image_size);
    const auto& size = *find_size(timm);
    models.push_back(
        {shape.name, fmt::format(R"({{"embed_dim": {0}, "init_logit_bias": -10, "vision_cfg": {{"image_size": {1},
           "patch_size": {2}, "timm_model_name": "{3}"}}, "text_cfg": {{"context_length": {4}, "vocab_size": {5},
           "width": {0}, "heads": {6}, "layers": {7}, "mlp_ratio": {8}, "no_causal_mask": true, "proj_bias": true,
           "pool_type": "last", "norm_kwargs": {{"eps": 1e-6}}, "act_kwargs": {{"approximate": "{9}"}}}}}})",
                                 size.width, shape.image_size, shape.patch_size, timm, shape.context_length,
                                 shape.second ? 256000 : 32000, size.heads, size.layers, size.mlp_ratio,
                                 shape.second ? "tanh" : "none")});
  }
  return models;
}

void parse_siglip(const ConfigSection& in, ClipConfig& config) {
  auto& vision = config.vision;
  vision.timm_model_name = in.get<std::string>("timm_model_name", "");
  if (const auto* size = find_size(vision.timm_model_name)) {
    vision.width = size->width;
    vision.layers = size->layers;
    vision.head_width = size->width / size->heads;
    vision.mlp_ratio = size->mlp_ratio;
    if (vision.timm_model_name.find("patch14") != std::string::npos) vision.patch_size = 14;
  } else {
    in.require<int>("width");
    in.require<int>("layers");
  }
  parse_shape(in, vision);
  vision.image_size = vision.image_size / vision.patch_size * vision.patch_size;
  const auto timm = vision.timm_model_name.substr(0, vision.timm_model_name.find('.'));  // without ".webli" and so on
  const bool tanh =
      std::find(std::begin(kTanhTimmModels), std::end(kTanhTimmModels), timm) != std::end(kTanhTimmModels);
  vision.activation = tanh ? Activation::kTanhGelu : parse_activation(in);
  config.logit_bias = true;
  config.pixels = {.mean = {0.5F, 0.5F, 0.5F}, .std = {0.5F, 0.5F, 0.5F}};
  config.squash = true;
  const int embed_dim = config.embed_dim;
  in.demand(embed_dim == vision.width, "width", "another width than embed_dim",
            "embed_dim: the head has no projection");
}

}  // namespace

class SiglipBlock : public torch::nn::Module {
 public:
  explicit SiglipBlock(const VisionConfig& config) : heads_(config.heads()) {
    const std::int64_t width = config.width;
    norm1_ = register_module("norm1", std::make_shared<LayerNorm>(width, kSiglipNormEps));
    auto attn = std::make_shared<torch::nn::Module>();
    qkv_ = attn->register_module("qkv", std::make_shared<Linear>(width, 3 * width, true));
    proj_ = attn->register_module("proj", std::make_shared<Linear>(width, width, true));
    register_module("attn", attn);
    norm2_ = register_module("norm2", std::make_shared<LayerNorm>(width, kSiglipNormEps));
    mlp_ = register_module("mlp", std::make_shared<Mlp>(width, config.mlp_width(), config.activation, "fc1", "fc2"));
    for (auto* weight : {&qkv_->weight, &proj_->weight, &mlp_->first->weight, &mlp_->second->weight})
      init_normal(*weight, std::pow(width, -0.5));
  }

  at::Tensor forward(const at::Tensor& x) {
    const auto qkv = qkv_->forward(norm1_->forward(x)).unflatten(-1, {3, heads_, -1});
    const auto y =
        x + proj_->forward(ops::attention(qkv.select(2, 0), qkv.select(2, 1), qkv.select(2, 2), /*causal=*/false));
    return y + mlp_->forward(norm2_->forward(y));
  }

 private:
  std::int64_t heads_;
  std::shared_ptr<LayerNorm> norm1_, norm2_;
  std::shared_ptr<Linear> qkv_, proj_;
  std::shared_ptr<Mlp> mlp_;
};

/// Attention of one learned query over all patches, then an MLP.
class SiglipHead : public torch::nn::Module {
 public:
  explicit SiglipHead(const VisionConfig& config) : heads_(config.heads()) {
    const std::int64_t width = config.width;
    latent_ = register_parameter("latent", at::empty({1, 1, width}));
    q_ = register_module("q", std::make_shared<Linear>(width, width, true));
    kv_ = register_module("kv", std::make_shared<Linear>(width, 2 * width, true));
    proj_ = register_module("proj", std::make_shared<Linear>(width, width, true));
    norm_ = register_module("norm", std::make_shared<LayerNorm>(width, kSiglipNormEps));
    mlp_ = register_module("mlp", std::make_shared<Mlp>(width, config.mlp_width(), config.activation, "fc1", "fc2"));
    for (auto* weight :
         {&latent_, &q_->weight, &kv_->weight, &proj_->weight, &mlp_->first->weight, &mlp_->second->weight})
      init_normal(*weight, std::pow(width, -0.5));
  }

  /// (B, N, width) -> (B, width)
  at::Tensor forward(const at::Tensor& x) {
    const auto q = q_->forward(cast(latent_, x.scalar_type())).expand({x.size(0), -1, -1}).unflatten(-1, {heads_, -1});
    const auto kv = kv_->forward(x).unflatten(-1, {2, heads_, -1});
    return finish(ops::attention(q, kv.select(2, 0), kv.select(2, 1), /*causal=*/false)).select(1, 0);
  }
  /// (B, N, width), each patch by its own value.
  at::Tensor forward_values(const at::Tensor& x) {
    const auto width = x.size(-1);
    return finish(ops::linear(x, kv_->weight.slice(0, width), kv_->bias.slice(0, width)));
  }

 private:
  at::Tensor finish(const at::Tensor& attended) {
    const auto y = proj_->forward(attended);
    return y + mlp_->forward(norm_->forward(y));
  }
  std::int64_t heads_;
  at::Tensor latent_;
  std::shared_ptr<Linear> q_, kv_, proj_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Mlp> mlp_;
};

SiglipVisionTower::SiglipVisionTower(const VisionConfig& config, int embed_dim) : VisionTower(config, embed_dim) {
  const std::int64_t width = config.width;
  const std::int64_t patch = config.patch_size;
  auto trunk = std::make_shared<torch::nn::Module>();
  pos_embed_ = trunk->register_parameter("pos_embed", at::empty({1, config.grid() * config.grid(), width}));
  auto patch_embed = std::make_shared<torch::nn::Module>();
  auto proj = std::make_shared<torch::nn::Module>();
  kernel_ = proj->register_parameter("weight", at::empty({width, 3, patch, patch}));
  kernel_bias_ = proj->register_parameter("bias", at::zeros({width}));
  patch_embed->register_module("proj", proj);
  trunk->register_module("patch_embed", patch_embed);
  auto blocks = std::make_shared<torch::nn::Module>();
  for (int i = 0; i < config.layers; ++i)
    blocks_.push_back(blocks->register_module(std::to_string(i), std::make_shared<SiglipBlock>(config)));
  trunk->register_module("blocks", blocks);
  norm_ = trunk->register_module("norm", std::make_shared<LayerNorm>(width, kSiglipNormEps));
  head_ = trunk->register_module("attn_pool", std::make_shared<SiglipHead>(config));
  register_module("trunk", trunk);
  init_normal(pos_embed_, std::pow(width, -0.5));
  init_normal(kernel_, 1.0 / std::sqrt(static_cast<double>(3 * patch * patch)));
}

SiglipVisionTower::~SiglipVisionTower() = default;

at::Tensor SiglipVisionTower::input_tokens(const at::Tensor& images) {
  const auto [h, w] = grid_of(images);
  const std::int64_t side = config().grid();
  const auto positions =
      h == side && w == side ? pos_embed_[0] : resize_positions(pos_embed_[0], 0, h, w, /*antialias=*/false);
  return patch_tokens(images, kernel_, kernel_bias_) + cast(positions, compute_type());
}

at::Tensor SiglipVisionTower::run_block(int i, const at::Tensor& tokens, const Grid& /*grid*/) {
  return blocks_.at(static_cast<std::size_t>(i))->forward(tokens);
}

at::Tensor SiglipVisionTower::run_last_in_dense(const at::Tensor& patches) {
  return blocks_.back()->forward(patches);
}

at::Tensor SiglipVisionTower::pool(const at::Tensor& tokens) {
  return head_->forward(norm_->forward(tokens));
}

at::Tensor SiglipVisionTower::project(const at::Tensor& patches) {
  return head_->forward_values(norm_->forward(patches));
}

torch::nn::Module& SiglipVisionTower::block_module(int i) {
  return *blocks_.at(static_cast<std::size_t>(i));
}

std::vector<std::vector<at::Tensor>> SiglipVisionTower::lock_groups() {
  std::vector<std::vector<at::Tensor>> groups{{kernel_, kernel_bias_}, {pos_embed_}};
  for (const auto& block : blocks_) groups.push_back(block->parameters());
  return groups;
}

const Backbone& siglip_backbone() {
  static const Backbone backbone{.name = "siglip",
                                 .describes =
                                     [](const ConfigSection& vision) {
                                       return vision.get<std::string>("timm_model_name", "").find("_siglip") !=
                                              std::string::npos;
                                     },
                                 .parse = parse_siglip,
                                 .make = [](const ClipConfig& config) -> std::shared_ptr<VisionTower> {
                                   return std::make_shared<SiglipVisionTower>(config.vision, config.embed_dim);
                                 },
                                 .signature = [](const ClipConfig& config) -> WeightSignature {
                                   const auto& v = config.vision;
                                   return {{{"trunk.pos_embed", {1, v.grid() * v.grid(), v.width}},
                                            {"trunk.patch_embed.proj.weight", {v.width, 3, v.patch_size, v.patch_size}},
                                            {fmt::format("trunk.blocks.{}.norm1.weight", v.layers - 1), {v.width}}},
                                           fmt::format("trunk.blocks.{}.norm1.weight", v.layers)};
                                 },
                                 .models = siglip_models()};
  return backbone;
}

}  // namespace clipself::models
