// What a CLIP model is made of, in open_clip's JSON configuration format.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace clipself::models {

/// `vision_cfg` of an EVA-02 tower. Names are open_clip's.
struct VisionConfig {
  int image_size = 224;
  int patch_size = 16;
  int width = 768;
  int layers = 12;
  int head_width = 64;
  double mlp_ratio = 4.0;
  std::string eva_model_name;
  bool rope = false;
  int pt_hw_seq_len = 16;  ///< grid side that the rotary frequencies were trained for
  bool intp_freq = false;
  bool naiveswiglu = false;
  bool subln = false;
  bool qkv_bias = true;

  int heads() const { return width / head_width; }
  int grid() const { return image_size / patch_size; }
  int mlp_width() const { return static_cast<int>(width * mlp_ratio); }
};

struct TextConfig {
  int context_length = 77;
  int vocab_size = 49408;
  int width = 512;
  int heads = 8;
  int layers = 12;
};

/// Pixel statistics a model was trained with; inputs are (x/255 - mean)/std.
struct PixelStatistics {
  std::array<float, 3> mean{0.48145466F, 0.4578275F, 0.40821073F};
  std::array<float, 3> std{0.26862954F, 0.26130258F, 0.27577711F};
};

struct ClipConfig {
  std::string name;
  int embed_dim = 512;
  VisionConfig vision;
  std::optional<TextConfig> text;
  PixelStatistics pixels;
};

/// Names of the built-in configurations, sorted.
std::vector<std::string> known_models();
/// A built-in configuration by name, or one read from a .json file when `name` is the path of one. Throws Error naming
/// the known models when it is neither.
ClipConfig model_config(const std::string& name);
/// open_clip's JSON (embed_dim, vision_cfg, text_cfg; unknown keys that change nothing are ignored). Throws Error
/// naming the key when a value is missing, of the wrong type, or asks for something not supported.
ClipConfig parse_config(const std::string& json, const std::string& name);
/// The same format, for saving beside weights.
std::string config_json(const ClipConfig& config);

}  // namespace clipself::models
