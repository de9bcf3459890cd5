#include "clipself/models/eva_vision_tower.h"

#include <cmath>

#include "clipself/base/error.h"
#include "clipself/ops/checkpointing.h"

namespace clipself::models {
namespace {

constexpr double kEvaNormEps = 1e-6;
constexpr double kInitStd = 0.02;
constexpr double kHeadInitScale = 0.001;

// Deep residual branches start smaller: 1 / sqrt(2 * layer number).
void init_scaled(at::Tensor& weight, int layer) {
  init_normal(weight, kInitStd / std::sqrt(2.0 * (layer + 1)));
}

std::vector<at::Tensor> trained_parameters(torch::nn::Module& module) {
  std::vector<at::Tensor> result;
  for (const auto& parameter : module.parameters()) {
    if (parameter.requires_grad()) result.push_back(parameter);
  }
  return result;
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

at::Tensor EvaAttention::forward(const at::Tensor& x, const ops::RotaryTables& tables) {
  const auto split = [this](const at::Tensor& t) { return t.unflatten(-1, {heads_, -1}); };  // B, N, heads, d
  const auto q = ops::apply_rotary(split(q_proj_->forward(x, q_bias_)), tables);
  const auto k = ops::apply_rotary(split(k_proj_->forward(x)), tables);
  const auto v = split(v_proj_->forward(x, v_bias_));
  return proj_->forward(inner_attn_ln_->forward(attention(q, k, v, /*causal=*/false)));
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
  return w3_->forward(ffn_ln_->forward(at::silu(w1_->forward(x)) * w2_->forward(x)));
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

at::Tensor EvaBlock::forward_without_attention(const at::Tensor& x) {
  const auto y = x + attn_->forward_values(norm1_->forward(x));
  return y + mlp_branch(y);
}

EvaVisionTower::EvaVisionTower(const VisionConfig& config, int embed_dim) : config_(config), embed_dim_(embed_dim) {
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

std::pair<std::int64_t, std::int64_t> EvaVisionTower::grid_of(const at::Tensor& images) const {
  const std::int64_t patch = config_.patch_size;
  if (images.dim() != 4 || images.size(1) != 3 || images.size(2) % patch != 0 || images.size(3) % patch != 0) {
    throw Error({.doing = "encoding images",
                 .found = "a tensor of shape " + c10::str(images.sizes()),
                 .expected = c10::str("(B, 3, H, W) with H and W multiples of ", patch)});
  }
  return {images.size(2) / patch, images.size(3) / patch};
}

at::Tensor EvaVisionTower::patch_tokens(const at::Tensor& images) {
  grid_of(images);
  const auto x = cast(images, compute_type_);
  const std::int64_t patch = config_.patch_size;
  return at::conv2d(x, cast(patch_weight_, compute_type_), cast(patch_bias_, compute_type_), {patch, patch})
      .flatten(2)
      .transpose(1, 2);
}

at::Tensor EvaVisionTower::position_embedding(std::int64_t h, std::int64_t w) {
  const std::int64_t side = config_.grid();
  if (h == side && w == side) return pos_embed_;
  const auto grid = cast(pos_embed_, at::kFloat).slice(1, 1).transpose(1, 2).reshape({1, config_.width, side, side});
  const auto resized = at::upsample_bicubic2d(grid.contiguous(), at::IntArrayRef{h, w}, /*align_corners=*/false);
  return at::cat({cast(pos_embed_, at::kFloat).slice(1, 0, 1), resized.flatten(2).transpose(1, 2)}, 1);
}

at::Tensor EvaVisionTower::input_tokens(const at::Tensor& images) {
  const auto [h, w] = grid_of(images);
  const auto patches = patch_tokens(images);
  const auto tokens = at::cat({cast(cls_token_, compute_type_).expand({images.size(0), -1, -1}), patches}, 1);
  return tokens + cast(position_embedding(h, w), compute_type_);
}

at::Tensor EvaVisionTower::run_block(int i, const at::Tensor& x, const ops::RotaryTables& tables) {
  if (!checkpointing_) return block(i).forward(x, tables);
  return ops::checkpoint([&block = block(i), &tables](const at::Tensor& input) { return block.forward(input, tables); },
                         x, trained_parameters(block(i)));
}

at::Tensor EvaVisionTower::run_last_without_attention(const at::Tensor& x) {
  auto& last = *blocks_.back();
  if (!checkpointing_) return last.forward_without_attention(x);
  return ops::checkpoint([&last](const at::Tensor& input) { return last.forward_without_attention(input); }, x,
                         trained_parameters(last));
}

at::Tensor EvaVisionTower::project(const at::Tensor& tokens) {
  return head_->forward(norm_->forward(tokens));
}

at::Tensor EvaVisionTower::encode_image(const at::Tensor& images) {
  const auto [h, w] = grid_of(images);
  const auto& tables = rotary(h, w);
  auto x = input_tokens(images);
  for (int i = 0; i < depth(); ++i) x = run_block(i, x, tables);
  return project(x.select(1, 0));
}

at::Tensor EvaVisionTower::encode_dense(const at::Tensor& images) {
  const auto [h, w] = grid_of(images);
  const auto& tables = rotary(h, w);
  auto x = input_tokens(images);
  for (int i = 0; i + 1 < depth(); ++i) x = run_block(i, x, tables);
  // The class token has no part in the value path: it is dropped before rather than after the last block.
  x = run_last_without_attention(x.slice(1, 1));
  const auto features = unit_length(project(x));
  return features.unflatten(1, {h, w}).permute({0, 3, 1, 2});
}

std::vector<at::Tensor> EvaVisionTower::intermediate(const at::Tensor& images, const std::vector<int>& layers) {
  const auto [h, w] = grid_of(images);
  const auto& tables = rotary(h, w);
  std::vector<at::Tensor> maps(layers.size());
  const auto keep = [&, h = h, w = w](int layer, const at::Tensor& patches) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (layers[i] == layer) maps[i] = patches.transpose(1, 2).unflatten(2, {h, w});
    }
  };
  for (const int layer : layers) {
    if (layer < 0 || layer >= depth()) {
      throw Error({.doing = "taking intermediate features",
                   .found = c10::str("block ", layer),
                   .expected = c10::str("0 to ", depth() - 1)});
    }
  }
  auto x = input_tokens(images);
  for (int i = 0; i + 1 < depth(); ++i) {
    x = run_block(i, x, tables);
    keep(i, x.slice(1, 1));
  }
  keep(depth() - 1, run_last_without_attention(x.slice(1, 1)));
  return maps;
}

void EvaVisionTower::lock(int groups) {
  for (auto& parameter : parameters()) parameter.set_requires_grad(false);
  const int first = std::max(0, depth() - std::max(0, groups));
  for (int i = first; i < depth(); ++i) {
    for (auto& parameter : block(i).parameters()) parameter.set_requires_grad(true);
  }
}

}  // namespace clipself::models
