#include "clipself/models/eva_vision_tower.h"

#include <fmt/format.h>

#include <cmath>

#include "clipself/models/backbone.h"
#include "clipself/models/config_section.h"
#include "clipself/ops/attention.h"
#include "clipself/ops/swiglu.h"

namespace clipself::models {
namespace {

constexpr double kEvaNormEps = 1e-6;
constexpr double kInitStd = 0.02;
constexpr double kHeadInitScale = 0.001;

// Deep residual branches start smaller: 1 / sqrt(2 * layer number).
void init_scaled(at::Tensor& weight, int layer) {
  init_normal(weight, kInitStd / std::sqrt(2.0 * (layer + 1)));
}

// What the published EVA-02-CLIP models are made of, from the publishers' configuration files.
BuiltinModel eva_model(const char* name, int embed_dim, int image_size, int patch_size, int width, int layers,
                       const char* eva_name, int text_width, int text_heads) {
  return {name, fmt::format(R"({{"embed_dim": {}, "vision_cfg": {{"image_size": {}, "patch_size": {}, "width": {},
      "layers": {}, "head_width": 64, "mlp_ratio": 2.6667, "eva_model_name": "{}", "rope": true, "pt_hw_seq_len": 16,
      "intp_freq": true, "naiveswiglu": true, "subln": true}},
      "text_cfg": {{"context_length": 77, "vocab_size": 49408, "width": {}, "heads": {}, "layers": 12}}}})",
                            embed_dim, image_size, patch_size, width, layers, eva_name, text_width, text_heads)};
}

void parse_eva(const ConfigSection& in, ClipConfig& config) {
  auto& vision = config.vision;
  parse_shape(in, vision);
  in.require<int>("width");
  in.require<int>("layers");
  vision.eva_model_name = in.get<std::string>("eva_model_name", "");
  vision.pt_hw_seq_len = in.positive("pt_hw_seq_len", 16, 1 << 10);
  in.demand(in.get<bool>("rope", false) && in.get<bool>("intp_freq", false), "rope",
            "an EVA tower without interpolated rotary embedding", "EVA-02: rope and intp_freq true");
  in.demand(in.get<bool>("naiveswiglu", false) && in.get<bool>("subln", false), "subln", "an EVA-01 block",
            "EVA-02: naiveswiglu and subln true");
  in.demand(in.get<bool>("qkv_bias", true), "qkv_bias", "false", "true");
  in.demand(!in.get<bool>("postnorm", false), "postnorm", "true", "false");
  in.demand(!in.get<bool>("global_average_pool", false), "global_average_pool", "true", "false");
  in.demand(in.get<double>("ls_init_value", 0.0) == 0.0, "ls_init_value", "layer scale", "none");
  in.demand(vision.head_width % 4 == 0, "head_width", "not a multiple of 4", "a multiple of 4");
}

}  // namespace

EvaRotary::EvaRotary(const VisionConfig& config) : head_width_(config.head_width), pt_seq_len_(config.pt_hw_seq_len) {
  const auto native = ops::rotary_tables(config.grid(), config.grid(), head_width_, pt_seq_len_, at::kCPU);
  register_buffer("freqs_cos", native.cos);
  register_buffer("freqs_sin", native.sin);
}

const ops::RotaryTables& EvaRotary::tables(std::int64_t h, std::int64_t w, const at::Device& device) {
  const auto key = std::make_tuple(h, w, device.str());
  auto found = cache_.find(key);
  if (found == cache_.end())
    found = cache_.emplace(key, ops::rotary_tables(h, w, head_width_, pt_seq_len_, device)).first;
  return found->second;
}

EvaAttention::EvaAttention(const VisionConfig& config, std::shared_ptr<EvaRotary> rope) : heads_(config.heads()) {
  const std::int64_t width = config.width;
  q_bias_ = register_parameter("q_bias", at::zeros({width}));
  v_bias_ = register_parameter("v_bias", at::zeros({width}));
  q_proj_ = register_module("q_proj", std::make_shared<Linear>(width, width, false));
  k_proj_ = register_module("k_proj", std::make_shared<Linear>(width, width, false));
  v_proj_ = register_module("v_proj", std::make_shared<Linear>(width, width, false));
  inner_attn_ln_ = register_module("inner_attn_ln", std::make_shared<LayerNorm>(width, kEvaNormEps));
  proj_ = register_module("proj", std::make_shared<Linear>(width, width, true));
  register_module("rope", std::move(rope));
}

void EvaAttention::init_weights(int layer) {
  for (auto* linear : {q_proj_.get(), k_proj_.get(), v_proj_.get()}) init_normal(linear->weight, kInitStd);
  init_scaled(proj_->weight, layer);
}

at::Tensor EvaAttention::attend(const at::Tensor& queries, const at::Tensor& x, const ops::RotaryTables& tables) {
  const auto k = ops::apply_rotary(split(k_proj_->forward(x)), tables);
  const auto v = split(v_proj_->forward(x, v_bias_));
  return proj_->forward(inner_attn_ln_->forward(ops::attention(queries, k, v, /*causal=*/false)));
}

at::Tensor EvaAttention::forward(const at::Tensor& x, const ops::RotaryTables& tables) {
  return attend(ops::apply_rotary(split(q_proj_->forward(x, q_bias_)), tables), x, tables);
}

at::Tensor EvaAttention::forward_class(const at::Tensor& x, const ops::RotaryTables& tables) {
  return attend(split(q_proj_->forward(x.slice(1, 0, 1), q_bias_)), x, tables);  // which the rotation leaves as it is
}

at::Tensor EvaAttention::forward_values(const at::Tensor& x) {
  return proj_->forward(inner_attn_ln_->forward(v_proj_->forward(x, v_bias_)));
}

EvaSwiGlu::EvaSwiGlu(const VisionConfig& config) {
  const std::int64_t width = config.width;
  const std::int64_t hidden = config.mlp_width();
  w1_ = register_module("w1", std::make_shared<Linear>(width, hidden, true));
  w2_ = register_module("w2", std::make_shared<Linear>(width, hidden, true));
  ffn_ln_ = register_module("ffn_ln", std::make_shared<LayerNorm>(hidden, kEvaNormEps));
  w3_ = register_module("w3", std::make_shared<Linear>(hidden, width, true));
}

void EvaSwiGlu::init_weights(int layer) {
  init_normal(w1_->weight, kInitStd);
  init_normal(w2_->weight, kInitStd);
  init_scaled(w3_->weight, layer);
}

at::Tensor EvaSwiGlu::forward(const at::Tensor& x) {
  return ops::swiglu_norm_linear(w1_->forward(x), w2_->forward(x), ffn_ln_->weight, ffn_ln_->bias, kEvaNormEps,
                                 w3_->weight, w3_->bias);
}

EvaBlock::EvaBlock(const VisionConfig& config, int layer, std::shared_ptr<EvaRotary> rope) {
  norm1_ = register_module("norm1", std::make_shared<LayerNorm>(config.width, kEvaNormEps));
  attn_ = register_module("attn", std::make_shared<EvaAttention>(config, std::move(rope)));
  norm2_ = register_module("norm2", std::make_shared<LayerNorm>(config.width, kEvaNormEps));
  mlp_ = register_module("mlp", std::make_shared<EvaSwiGlu>(config));
  attn_->init_weights(layer);
  mlp_->init_weights(layer);
}

at::Tensor EvaBlock::attention_branch(const at::Tensor& x, const ops::RotaryTables& tables) {
  return attn_->forward(norm1_->forward(x), tables);
}

at::Tensor EvaBlock::mlp_branch(const at::Tensor& x) {
  return mlp_->forward(norm2_->forward(x));
}

at::Tensor EvaBlock::forward(const at::Tensor& x, const ops::RotaryTables& tables) {
  const auto y = x + attention_branch(x, tables);
  return y + mlp_branch(y);
}

at::Tensor EvaBlock::forward_class(const at::Tensor& x, const ops::RotaryTables& tables) {
  const auto y = x.slice(1, 0, 1) + attn_->forward_class(norm1_->forward(x), tables);
  return y + mlp_branch(y);
}

at::Tensor EvaBlock::forward_without_attention(const at::Tensor& x) {
  const auto y = x + attn_->forward_values(norm1_->forward(x));
  return y + mlp_branch(y);
}

EvaVisionTower::EvaVisionTower(const VisionConfig& config, int embed_dim) : VisionTower(config, embed_dim) {
  const std::int64_t width = config.width;
  const std::int64_t patch = config.patch_size;
  cls_token_ = register_parameter("cls_token", at::zeros({1, 1, width}));
  pos_embed_ = register_parameter("pos_embed", at::zeros({1, 1 + config.grid() * config.grid(), width}));
  auto patch_embed = std::make_shared<torch::nn::Module>();
  auto proj = std::make_shared<torch::nn::Module>();
  patch_weight_ = proj->register_parameter("weight", at::empty({width, 3, patch, patch}));
  patch_bias_ = proj->register_parameter("bias", at::empty({width}));
  patch_embed->register_module("proj", proj);
  register_module("patch_embed", patch_embed);
  rope_ = register_module("rope", std::make_shared<EvaRotary>(config));
  auto blocks = std::make_shared<torch::nn::Module>();
  for (int i = 0; i < config.layers; ++i) {
    blocks_.push_back(blocks->register_module(std::to_string(i), std::make_shared<EvaBlock>(config, i, rope_)));
  }
  register_module("blocks", blocks);
  norm_ = register_module("norm", std::make_shared<LayerNorm>(width, kEvaNormEps));
  head_ = register_module("head", std::make_shared<Linear>(width, embed_dim, true));

  const at::NoGradGuard no_grad;
  init_normal(cls_token_, kInitStd);
  init_normal(pos_embed_, kInitStd);
  const double bound = 1.0 / std::sqrt(static_cast<double>(3 * patch * patch));  // torch's default for a convolution
  patch_weight_.uniform_(-bound, bound);
  patch_bias_.uniform_(-bound, bound);
  init_normal(head_->weight, kInitStd * kHeadInitScale);
}

at::Tensor EvaVisionTower::position_embedding(std::int64_t h, std::int64_t w) {
  const std::int64_t side = config().grid();
  if (h == side && w == side) return pos_embed_;
  return resize_positions(pos_embed_[0], 1, h, w, /*antialias=*/false).unsqueeze(0);
}

at::Tensor EvaVisionTower::input_tokens(const at::Tensor& images) {
  const auto [h, w] = grid_of(images);
  const auto type = compute_type();
  const auto tokens = at::cat({cast(cls_token_, type).expand({images.size(0), -1, -1}), patches(images)}, 1);
  return tokens + cast(position_embedding(h, w), type);
}

std::vector<std::vector<at::Tensor>> EvaVisionTower::lock_groups() {
  std::vector<std::vector<at::Tensor>> groups;
  for (const auto& block : blocks_) groups.push_back(block->parameters());
  return groups;
}

const Backbone& eva_backbone() {
  static const Backbone backbone{
      .name = "eva",
      .describes = [](const ConfigSection& vision) { return vision.has("eva_model_name"); },
      .parse = parse_eva,
      .make = [](const ClipConfig& config) -> std::shared_ptr<VisionTower> {
        return std::make_shared<EvaVisionTower>(config.vision, config.embed_dim);
      },
      .signature = [](const ClipConfig& config) -> WeightSignature {
        const auto& v = config.vision;
        return {{{"pos_embed", {1, 1 + v.grid() * v.grid(), v.width}},
                 {"patch_embed.proj.weight", {v.width, 3, v.patch_size, v.patch_size}},
                 {"head.weight", {config.embed_dim, v.width}},
                 {fmt::format("blocks.{}.norm1.weight", v.layers - 1), {v.width}}},
                fmt::format("blocks.{}.norm1.weight", v.layers)};
      },
      .models =
          {
              eva_model("EVA02-CLIP-B-16", 512, 224, 16, 768, 12, "eva-clip-b-16-X", 512, 8),
              eva_model("EVA02-CLIP-L-14", 768, 224, 14, 1024, 24, "eva-clip-l-14", 768, 12),
              eva_model("EVA02-CLIP-L-14-336", 768, 336, 14, 1024, 24, "eva-clip-l-14-336", 768, 12),
          }};
  return backbone;
}

}  // namespace clipself::models
