#include "clipself/models/config.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/base/file.h"

namespace clipself::models {
namespace {

using nlohmann::json;

// What the published EVA-02-CLIP models are made of (open_clip's format, from the publishers' configuration files).
struct Builtin {
  const char* name;
  const char* json;
};
constexpr Builtin kBuiltins[] = {
    {"EVA02-CLIP-B-16", R"({"embed_dim": 512,
      "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "head_width": 64, "patch_size": 16, "mlp_ratio": 2.6667,
        "eva_model_name": "eva-clip-b-16-X", "rope": true, "pt_hw_seq_len": 16, "intp_freq": true, "naiveswiglu": true,
        "subln": true},
      "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}})"},
    {"EVA02-CLIP-L-14", R"({"embed_dim": 768,
      "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "head_width": 64, "patch_size": 14, "mlp_ratio": 2.6667,
        "eva_model_name": "eva-clip-l-14", "rope": true, "pt_hw_seq_len": 16, "intp_freq": true, "naiveswiglu": true,
        "subln": true},
      "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12}})"},
    {"EVA02-CLIP-L-14-336", R"({"embed_dim": 768,
      "vision_cfg": {"image_size": 336, "layers": 24, "width": 1024, "head_width": 64, "patch_size": 14, "mlp_ratio": 2.6667,
        "eva_model_name": "eva-clip-l-14-336", "rope": true, "pt_hw_seq_len": 16, "intp_freq": true, "naiveswiglu": true,
        "subln": true},
      "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12}})"},
};

// Reads keys of one JSON object, so that an error can say which.
class Section {
 public:
  Section(const json& object, std::string model, std::string path)
      : object_(object), model_(std::move(model)), path_(std::move(path)) {
    if (!object.is_object()) fail(path_, object.type_name(), "an object");
  }

  template <typename T>
  T get(const char* key, T fallback) const {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return fallback;
    return convert<T>(*found, key);
  }
  template <typename T>
  T require(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(full(key), "no such key", "a value");
    return convert<T>(*found, key);
  }
  int positive(const char* key, int fallback, int limit) const {
    const int value = fallback > 0 ? get<int>(key, fallback) : require<int>(key);
    if (value < 1 || value > limit) fail(full(key), std::to_string(value), "1 to " + std::to_string(limit));
    return value;
  }
  [[noreturn]] void fail(const std::string& key, const std::string& found, const std::string& expected) const {
    throw Error(
        {.doing = "reading model configuration", .where = model_ + ": " + key, .found = found, .expected = expected});
  }
  std::string full(const char* key) const { return path_.empty() ? key : path_ + "." + key; }

 private:
  template <typename T>
  T convert(const json& value, const char* key) const {
    const bool fits = std::is_same_v<T, bool>          ? value.is_boolean()
                      : std::is_same_v<T, std::string> ? value.is_string()
                      : std::is_same_v<T, int>         ? value.is_number_integer()
                                                       : value.is_number();
    if (!fits)
      fail(full(key), value.dump().substr(0, 40),
           std::is_same_v<T, bool>          ? "true or false"
           : std::is_same_v<T, std::string> ? "a string"
                                            : "a number");
    return value.get<T>();
  }

  const json& object_;
  std::string model_, path_;
};

VisionConfig parse_vision(const Section& in) {
  VisionConfig out;
  out.image_size = in.positive("image_size", 224, 1 << 14);
  out.patch_size = in.positive("patch_size", 16, 1 << 10);
  out.width = in.positive("width", 0, 1 << 14);
  out.layers = in.positive("layers", 0, 1 << 10);
  out.head_width = in.positive("head_width", 64, 1 << 12);
  out.mlp_ratio = in.get<double>("mlp_ratio", 4.0);
  out.eva_model_name = in.get<std::string>("eva_model_name", "");
  out.rope = in.get<bool>("rope", false);
  out.pt_hw_seq_len = in.positive("pt_hw_seq_len", 16, 1 << 10);
  out.intp_freq = in.get<bool>("intp_freq", false);
  out.naiveswiglu = in.get<bool>("naiveswiglu", false);
  out.subln = in.get<bool>("subln", false);
  out.qkv_bias = in.get<bool>("qkv_bias", true);
  const auto demand = [&](bool fits, const char* key, const char* found, const char* expected) {
    if (!fits) in.fail(in.full(key), found, expected);
  };
  demand(!out.eva_model_name.empty(), "eva_model_name", "no such key", "the name of an EVA-02 vision tower");
  demand(out.rope && out.intp_freq, "rope", "an EVA tower without interpolated rotary embedding",
         "EVA-02: rope and intp_freq true");
  demand(out.naiveswiglu && out.subln, "subln", "an EVA-01 block", "EVA-02: naiveswiglu and subln true");
  demand(out.qkv_bias, "qkv_bias", "false", "true");
  demand(!in.get<bool>("postnorm", false), "postnorm", "true", "false");
  demand(!in.get<bool>("global_average_pool", false), "global_average_pool", "true", "false");
  demand(in.get<double>("ls_init_value", 0.0) == 0.0, "ls_init_value", "layer scale", "none");
  demand(out.width % out.head_width == 0, "head_width", "a number that does not divide width", "a divisor of width");
  demand(out.head_width % 4 == 0, "head_width", "not a multiple of 4", "a multiple of 4");
  demand(out.image_size % out.patch_size == 0, "image_size", "not a multiple of patch_size",
         "a multiple of patch_size");
  demand(out.mlp_ratio > 0 && out.mlp_ratio <= 64, "mlp_ratio", "out of range", "above 0, at most 64");
  return out;
}

TextConfig parse_text(const Section& in) {
  TextConfig out;
  out.context_length = in.positive("context_length", 77, 1 << 16);
  out.vocab_size = in.positive("vocab_size", 49408, 1 << 24);
  out.width = in.positive("width", 512, 1 << 14);
  out.heads = in.positive("heads", 8, 1 << 10);
  out.layers = in.positive("layers", 12, 1 << 10);
  if (out.width % out.heads != 0) in.fail(in.full("heads"), std::to_string(out.heads), "a divisor of width");
  return out;
}

}  // namespace

std::vector<std::string> known_models() {
  std::vector<std::string> names;
  for (const auto& builtin : kBuiltins) names.emplace_back(builtin.name);
  std::sort(names.begin(), names.end());
  return names;
}

ClipConfig model_config(const std::string& name) {
  for (const auto& builtin : kBuiltins) {
    if (name == builtin.name) return parse_config(builtin.json, name);
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
  const auto document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    throw Error({.doing = "reading model configuration",
                 .where = name,
                 .found = "text that is not JSON",
                 .expected = "open_clip's JSON format"});
  }
  const Section root(document, name, "");
  ClipConfig config;
  config.name = name;
  config.embed_dim = root.positive("embed_dim", 0, 1 << 14);
  if (!document.contains("vision_cfg")) root.fail("vision_cfg", "no such key", "an object");
  config.vision = parse_vision(Section(document["vision_cfg"], name, "vision_cfg"));
  if (document.contains("text_cfg")) config.text = parse_text(Section(document["text_cfg"], name, "text_cfg"));
  return config;
}

std::string config_json(const ClipConfig& config) {
  nlohmann::ordered_json out;
  const auto& vision = config.vision;
  out["embed_dim"] = config.embed_dim;
  out["vision_cfg"] = {{"image_size", vision.image_size},
                       {"layers", vision.layers},
                       {"width", vision.width},
                       {"head_width", vision.head_width},
                       {"patch_size", vision.patch_size},
                       {"mlp_ratio", vision.mlp_ratio},
                       {"eva_model_name", vision.eva_model_name},
                       {"rope", vision.rope},
                       {"pt_hw_seq_len", vision.pt_hw_seq_len},
                       {"intp_freq", vision.intp_freq},
                       {"naiveswiglu", vision.naiveswiglu},
                       {"subln", vision.subln}};
  if (config.text) {
    out["text_cfg"] = {{"context_length", config.text->context_length},
                       {"vocab_size", config.text->vocab_size},
                       {"width", config.text->width},
                       {"heads", config.text->heads},
                       {"layers", config.text->layers}};
  }
  return out.dump(2) + "\n";
}

}  // namespace clipself::models
