#include "clipself/models/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/json.h"
#include "clipself/models/backbone.h"
#include "clipself/models/config_section.h"
#include "clipself/models/huggingface_config.h"

namespace clipself::models {
namespace {

using nlohmann::json;

void parse_vision(const ConfigSection& in, ClipConfig& config) {
  const auto all = backbones();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Backbone* each) { return each->describes(in); });
  if (found == all.end()) in.fail("", "no backbone that this program has", "a ViT");
  auto& vision = config.vision;
  vision.backbone = (*found)->name;
  (*found)->parse(in, config);
  in.demand(vision.width % vision.head_width == 0, "head_width", "a number that does not divide width",
            "a divisor of width");
  in.demand(vision.image_size % vision.patch_size == 0, "image_size", "not a multiple of patch_size",
            "a multiple of patch_size");
  in.demand(vision.mlp_ratio > 0 && vision.mlp_ratio <= 64, "mlp_ratio", "out of range", "above 0, at most 64");
  in.demand(vision.mlp_width() > 0, "mlp_ratio", "out of range", "at least one hidden channel");
}

TextConfig parse_text(const ConfigSection& in, bool quick_gelu) {
  TextConfig out;
  in.demand(!in.has("hf_model_name"), "hf_model_name", "a text tower of another library", "CLIP's or SigLIP's own");
  in.demand(!in.get<bool>("embed_cls", false), "embed_cls", "true", "false");
  out.context_length = in.positive("context_length", 77, 1 << 16);
  out.vocab_size = in.positive("vocab_size", 49408, 1 << 24);
  out.width = in.positive("width", 512, 1 << 14);
  out.heads = in.positive("heads", 8, 1 << 10);
  out.layers = in.positive("layers", 12, 1 << 10);
  out.mlp_ratio = in.get<double>("mlp_ratio", 4.0);
  out.activation = quick_gelu ? Activation::kQuickGelu : parse_activation(in);
  out.causal = !in.get<bool>("no_causal_mask", false);
  out.projection_bias = in.get<bool>("proj_bias", false);
  const auto pool = in.get<std::string>("pool_type", "argmax");
  if (pool != "argmax" && pool != "last") in.fail("pool_type", pool, "argmax or last");
  out.pool_last = pool == "last";
  if (in.has("norm_kwargs")) out.norm_eps = in.section("norm_kwargs").get<double>("eps", out.norm_eps);
  in.demand(out.norm_eps > 0 && out.norm_eps < 1, "norm_kwargs", "an eps out of range", "above 0, below 1");
  if (out.width % out.heads != 0) in.fail("heads", std::to_string(out.heads), "a divisor of width");
  in.demand(out.mlp_ratio > 0 && out.mlp_ratio <= 64 && out.mlp_width() > 0, "mlp_ratio", "out of range",
            "above 0, at most 64");
  return out;
}

void parse_pixels(const ConfigSection& in, PixelStatistics& pixels) {
  for (const auto& [key, to] : {std::pair{"mean", &pixels.mean}, std::pair{"std", &pixels.std}}) {
    if (!in.has(key)) continue;
    const auto& values = in.object()[key];
    if (!values.is_array() || values.size() != 3) in.fail(key, values.dump().substr(0, 40), "three numbers");
    for (std::size_t i = 0; i < 3; ++i) {
      if (!values[i].is_number()) in.fail(key, values[i].dump().substr(0, 40), "a number");
      (*to)[i] = values[i].get<float>();
    }
  }
  for (const float value : pixels.std) in.demand(value > 0, "std", "a number that is not positive", "positive numbers");
}

}  // namespace

void parse_shape(const ConfigSection& in, VisionConfig& vision) {
  vision.image_size = in.positive("image_size", vision.image_size, 1 << 14);
  vision.patch_size = in.positive("patch_size", vision.patch_size, 1 << 10);
  vision.width = in.positive("width", vision.width, 1 << 14);
  vision.layers = in.positive("layers", vision.layers, 1 << 10);
  vision.head_width = in.positive("head_width", vision.head_width, 1 << 12);
  vision.mlp_ratio = in.get<double>("mlp_ratio", vision.mlp_ratio);
}

Activation parse_activation(const ConfigSection& in) {
  if (!in.has("act_kwargs")) return Activation::kGelu;
  const auto approximate = in.section("act_kwargs").get<std::string>("approximate", "none");
  if (approximate != "none" && approximate != "tanh") in.fail("act_kwargs.approximate", approximate, "none or tanh");
  return approximate == "tanh" ? Activation::kTanhGelu : Activation::kGelu;
}

std::vector<std::string> known_models() {
  std::vector<std::string> names;
  for (const auto* each : backbones()) {
    for (const auto& model : each->models) names.emplace_back(model.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

ClipConfig model_config(const std::string& name) {
  for (const auto* each : backbones()) {
    for (const auto& model : each->models) {
      if (name == model.name) return parse_config(model.json, name);
    }
  }
  const std::filesystem::path path(name);
  if (path.extension() == ".json") return parse_config(read_text(path), path.string());
  std::string known;
  for (const auto& each : known_models()) known += (known.empty() ? "" : ", ") + each;
  throw Error({.doing = "choosing model",
               .where = name,
               .found = "no model of that name",
               .expected = "one of " + known + ", or the path of a .json configuration"});
}

ClipConfig parse_config(const std::string& text, const std::string& name) {
  auto document = formats::parse_json(text);
  if (document.is_discarded()) {
    throw Error({.doing = "reading model configuration",
                 .where = name,
                 .found = "text that is not JSON",
                 .expected = "open_clip's JSON format"});
  }
  if (is_huggingface_config(document)) document = from_huggingface(ConfigSection(document, name, ""));
  const ConfigSection file(document, name, "");
  // open_clip_config.json wraps the configuration and adds the pixel statistics.
  const bool wrapped = file.has("model_cfg");
  const ConfigSection root = wrapped ? file.section("model_cfg") : file;
  ClipConfig config;
  config.name = name;
  config.embed_dim = root.positive("embed_dim", 0, 1 << 14);
  const bool quick_gelu = root.get<bool>("quick_gelu", false);
  config.vision.activation = quick_gelu ? Activation::kQuickGelu : Activation::kGelu;
  config.logit_bias = root.has("init_logit_bias");
  parse_vision(root.section("vision_cfg"), config);
  if (root.has("text_cfg")) config.text = parse_text(root.section("text_cfg"), quick_gelu);
  if (config.text && config.flat_text)
    config.flat_text = !config.text->projection_bias && !root.get<bool>("custom_text", false);
  if (file.has("preprocess_cfg")) {
    const auto preprocess = file.section("preprocess_cfg");
    parse_pixels(preprocess, config.pixels);
    const auto mode = preprocess.get<std::string>("resize_mode", config.squash ? "squash" : "shortest");
    if (mode != "squash" && mode != "shortest") preprocess.fail("resize_mode", mode, "shortest or squash");
    config.squash = mode == "squash";
  }
  return config;
}

std::string config_json(const ClipConfig& config) {
  nlohmann::ordered_json model;
  const auto& vision = config.vision;
  model["embed_dim"] = config.embed_dim;
  const bool quick_gelu = vision.activation == Activation::kQuickGelu;
  if (quick_gelu) model["quick_gelu"] = true;
  if (config.logit_bias) model["init_logit_bias"] = -10;
  const nlohmann::ordered_json tanh = {{"approximate", "tanh"}};
  auto& out = model["vision_cfg"];
  out = {{"image_size", vision.image_size}, {"layers", vision.layers},         {"width", vision.width},
         {"head_width", vision.head_width}, {"patch_size", vision.patch_size}, {"mlp_ratio", vision.mlp_ratio}};
  if (vision.activation == Activation::kTanhGelu) out["act_kwargs"] = tanh;
  if (!vision.timm_model_name.empty()) out["timm_model_name"] = vision.timm_model_name;
  if (!vision.eva_model_name.empty()) {
    out["eva_model_name"] = vision.eva_model_name;
    out["pt_hw_seq_len"] = vision.pt_hw_seq_len;
    for (const char* key : {"rope", "intp_freq", "naiveswiglu", "subln"}) out[key] = true;
  }
  if (config.text) {
    const auto& text = *config.text;
    auto& cfg = model["text_cfg"];
    cfg = {{"context_length", text.context_length},
           {"vocab_size", text.vocab_size},
           {"width", text.width},
           {"heads", text.heads},
           {"layers", text.layers}};
    if (text.mlp_ratio != 4.0) cfg["mlp_ratio"] = text.mlp_ratio;
    if (text.activation == Activation::kTanhGelu) cfg["act_kwargs"] = tanh;
    if (text.norm_eps != 1e-5) cfg["norm_kwargs"] = {{"eps", text.norm_eps}};
    if (!text.causal) cfg["no_causal_mask"] = true;
    if (text.pool_last) cfg["pool_type"] = "last";
    if (text.projection_bias) cfg["proj_bias"] = true;
    if (vision.backbone == "vit" && !config.flat_text) model["custom_text"] = true;
  }
  nlohmann::ordered_json file;
  file["model_cfg"] = std::move(model);
  file["preprocess_cfg"] = {
      {"mean", config.pixels.mean}, {"std", config.pixels.std}, {"resize_mode", config.squash ? "squash" : "shortest"}};
  return file.dump(2) + "\n";
}

}  // namespace clipself::models
