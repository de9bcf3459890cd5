#include "clipself/models/config_beside.h"

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/json.h"

namespace clipself::models {
namespace {

namespace fs = std::filesystem;

/// The same but for image size, activations and preprocessing, which weights do not show.
bool same_shape(const ClipConfig& a, const ClipConfig& b) {
  const auto shape = [](const ClipConfig& c) {
    const auto& v = c.vision;
    return std::tuple(c.embed_dim, v.backbone, v.width, v.layers, v.patch_size, v.head_width);
  };
  return shape(a) == shape(b);
}

/// `read` without its complaints: what this program cannot build, or is no model at all, says nothing of `config`.
template <typename Read>
std::optional<ClipConfig> of_the_same_shape(const ClipConfig& config, const Read& read) {
  try {
    auto found = read();
    if (same_shape(config, found)) return found;
  } catch (const Error&) {
  }
  return std::nullopt;
}

bool is_quick(const ClipConfig& config) {
  return config.vision.activation == Activation::kQuickGelu;
}

}  // namespace

std::optional<fs::path> take_preprocessing(ClipConfig& config, const fs::path& weights) {
  const auto file = weights.parent_path() / "open_clip_config.json";
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return std::nullopt;
  const auto text = read_text(file);
  const auto document = formats::parse_json(text);
  if (!document.is_object() || !document.contains("preprocess_cfg")) return std::nullopt;
  const auto found = of_the_same_shape(config, [&] { return parse_config(text, file.string()); });
  if (!found) return std::nullopt;
  const bool same = found->pixels.mean == config.pixels.mean && found->pixels.std == config.pixels.std &&
                    found->squash == config.squash;
  config.pixels = found->pixels;
  config.squash = found->squash;
  return same ? std::nullopt : std::optional(file);
}

std::string disagrees_on_quick_gelu(const ClipConfig& config, const fs::path& weights,
                                    const formats::StateDict& state) {
  for (const char* name : {"open_clip_config.json", "config.json"}) {
    const auto file = weights.parent_path() / name;
    std::error_code ignored;
    if (!fs::is_regular_file(file, ignored)) continue;
    const auto found = of_the_same_shape(config, [&] { return parse_config(read_text(file), file.string()); });
    if (found && is_quick(*found) != is_quick(config)) return file.string();
  }
  const auto trained = state.metadata.find("clipself_model");
  if (trained == state.metadata.end()) return {};
  const auto& model = trained->second;
  const auto found = of_the_same_shape(config, [&] { return model_config(model); });
  return found && is_quick(*found) != is_quick(config) ? "the run that wrote them, --model " + model : "";
}

}  // namespace clipself::models
