#include "clipself/models/huggingface_config.h"

namespace clipself::models {
namespace {

using nlohmann::json;

/// The two libraries' defaults of a tower.
struct Defaults {
  int hidden_size, intermediate_size, layers, heads;
  const char* activation;
};

ConfigSection section_or_empty(const ConfigSection& file, const char* key) {
  static const json empty = json::object();
  return file.has(key) ? file.section(key) : ConfigSection(empty, key, key);
}

struct Tower {
  int width, heads, layers;
  double mlp_ratio;
  std::string activation;
};

Tower parse_tower(const ConfigSection& in, const Defaults& defaults) {
  Tower tower{};
  tower.width = in.positive("hidden_size", defaults.hidden_size, 1 << 14);
  tower.heads = in.positive("num_attention_heads", defaults.heads, 1 << 10);
  tower.layers = in.positive("num_hidden_layers", defaults.layers, 1 << 10);
  const int hidden = in.positive("intermediate_size", defaults.intermediate_size, 1 << 18);
  // A hair more than the quotient: the product with the width is rounded down again later.
  tower.mlp_ratio = (hidden + 1e-6) / tower.width;
  tower.activation = in.get<std::string>("hidden_act", defaults.activation);
  if (tower.activation != "gelu" && tower.activation != "quick_gelu" && tower.activation != "gelu_pytorch_tanh")
    in.fail("hidden_act", tower.activation, "gelu, quick_gelu or gelu_pytorch_tanh");
  if (tower.width % tower.heads != 0) in.fail("num_attention_heads", std::to_string(tower.heads), "a divisor of width");
  return tower;
}

void add_activation(json& out, const Tower& tower) {
  if (tower.activation == "gelu_pytorch_tanh") out["act_kwargs"] = {{"approximate", "tanh"}};
}

}  // namespace

bool is_huggingface_config(const json& document) {
  return document.is_object() && document.contains("vision_config") && document.contains("model_type");
}

json from_huggingface(const ConfigSection& file) {
  const auto type = file.require<std::string>("model_type");
  const bool siglip = type == "siglip" || type == "siglip2";
  if (!siglip && type != "clip") file.fail("model_type", type, "clip or siglip");
  const auto vision = section_or_empty(file, "vision_config"), text = section_or_empty(file, "text_config");
  const Defaults vision_defaults =
      siglip ? Defaults{768, 3072, 12, 12, "gelu_pytorch_tanh"} : Defaults{768, 3072, 12, 12, "quick_gelu"};
  const Defaults text_defaults =
      siglip ? Defaults{768, 3072, 12, 12, "gelu_pytorch_tanh"} : Defaults{512, 2048, 12, 8, "quick_gelu"};
  const auto v = parse_tower(vision, vision_defaults), t = parse_tower(text, text_defaults);
  const bool quick = v.activation == "quick_gelu";
  if (quick != (t.activation == "quick_gelu")) text.fail("hidden_act", t.activation, "the vision tower's");

  json out;
  auto& vision_cfg = out["vision_cfg"];
  const int patch = vision.positive("patch_size", siglip ? 16 : 32, 1 << 10);
  const int image = vision.positive("image_size", 224, 1 << 14);
  // A rest of pixels that fills no patch is not looked at.
  vision_cfg = {
      {"image_size", image / patch * patch}, {"patch_size", patch},     {"width", v.width}, {"layers", v.layers},
      {"head_width", v.width / v.heads},     {"mlp_ratio", v.mlp_ratio}};
  add_activation(vision_cfg, v);
  auto& text_cfg = out["text_cfg"];
  text_cfg = {{"context_length", text.positive("max_position_embeddings", siglip ? 64 : 77, 1 << 16)},
              {"vocab_size", text.positive("vocab_size", siglip ? 32000 : 49408, 1 << 24)},
              {"width", t.width},
              {"heads", t.heads},
              {"layers", t.layers},
              {"mlp_ratio", t.mlp_ratio}};
  add_activation(text_cfg, t);
  if (quick) out["quick_gelu"] = true;
  if (siglip) {
    out["embed_dim"] = v.width;
    out["init_logit_bias"] = -10;
    vision_cfg["timm_model_name"] = "vit_custom_siglip";
    text_cfg["no_causal_mask"] = true;
    text_cfg["proj_bias"] = true;
    text_cfg["pool_type"] = "last";
    text_cfg["norm_kwargs"] = {{"eps", 1e-6}};
  } else {
    out["embed_dim"] = file.positive("projection_dim", 512, 1 << 14);
  }
  return out;
}

}  // namespace clipself::models
