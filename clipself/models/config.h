// What a CLIP model is made of, in open_clip's JSON configuration format.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace clipself::models {

/// Of an MLP. kQuickGelu: x * sigmoid(1.702 x), which OpenAI trained with; kTanhGelu: the tanh approximation.
enum class Activation { kGelu, kQuickGelu, kTanhGelu };

/// `vision_cfg`. Names are open_clip's.
struct VisionConfig {
  std::string backbone = "eva";  ///< which tower (backbone.h)
  int image_size = 224;
  int patch_size = 16;
  int width = 768;
  int layers = 12;
  int head_width = 64;
  double mlp_ratio = 4.0;
  Activation activation = Activation::kGelu;  ///< of plain and SigLIP towers
  std::string eva_model_name;                 ///< EVA only
  int pt_hw_seq_len = 16;                     ///< EVA only: grid side that the rotary frequencies were trained for
  std::string timm_model_name;                ///< SigLIP only

  int heads() const { return width / head_width; }
  int grid() const { return image_size / patch_size; }
  int mlp_width() const { return static_cast<int>(width * mlp_ratio); }
};

/// `text_cfg`.
struct TextConfig {
  int context_length = 77;
  int vocab_size = 49408;
  int width = 512;
  int heads = 8;
  int layers = 12;
  double mlp_ratio = 4.0;
  double norm_eps = 1e-5;
  Activation activation = Activation::kGelu;
  bool causal = true;            ///< SigLIP's is not
  bool pool_last = false;        ///< read at the last position (SigLIP) instead of at the end token
  bool projection_bias = false;  ///< SigLIP's projection is a layer with a bias

  int mlp_width() const { return static_cast<int>(width * mlp_ratio); }
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
  bool squash = false;      ///< SigLIP: whole images are stretched to the square, not cropped to it
  bool flat_text = false;   ///< plain CLIP: the text tower's parameters stand at top level, not below "text."
  bool logit_bias = false;  ///< SigLIP: a bias beside the logit scale
};

/// Names of the built-in configurations, sorted.
std::vector<std::string> known_models();
/// A built-in configuration by name, or one read from a .json file when `name` is the path of one: open_clip's format,
/// its open_clip_config.json, or the config.json of a Hugging Face CLIP or SigLIP model. Throws Error naming the known
/// models when it is neither.
ClipConfig model_config(const std::string& name);
/// The text of such a file (unknown keys that change nothing are ignored). Throws Error naming the key when a value is
/// missing, of the wrong type, or asks for something not supported.
ClipConfig parse_config(const std::string& json, const std::string& name);
/// open_clip's format, for saving beside weights.
std::string config_json(const ClipConfig& config);

}  // namespace clipself::models
