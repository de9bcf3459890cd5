#include "clipself/models/weights.h"

#include <cmath>

#include "clipself/base/error.h"
#include "clipself/formats/state_dict.h"

namespace clipself::models {
namespace {

using formats::TensorDict;

// Where publishers differ from the official names. A checkpoint of open_clip's first layout keeps the text tower at top
// level:
//
//   in the file                 here
//   positional_embedding        text.positional_embedding
//   text_projection             text.text_projection
//   token_embedding.weight      text.token_embedding.weight
//   transformer.resblocks.*     text.transformer.resblocks.*
//   ln_final.*                  text.ln_final.*
//   text.logit_scale            logit_scale
constexpr const char* kTopLevelText[] = {"positional_embedding", "text_projection", "token_embedding.", "transformer.",
                                         "ln_final."};

std::string official_name(const std::string& name) {
  if (name == "text.logit_scale") return "logit_scale";
  for (const char* prefix : kTopLevelText) {
    if (name.starts_with(prefix)) return "text." + name;
  }
  return name;
}

// Rotary tables follow from the configuration; the causal mask and the like from nothing but sizes.
bool recomputed(const std::string& name) {
  return name.find("freqs_cos") != std::string::npos || name.find("freqs_sin") != std::string::npos ||
         name.ends_with("attn_mask");
}

std::int64_t square_side(std::int64_t tokens) {
  return std::llround(std::sqrt(static_cast<double>(tokens)));
}

at::Tensor bicubic(const at::Tensor& maps, std::int64_t h, std::int64_t w) {
  return at::upsample_bicubic2d(maps.to(at::kFloat).contiguous(), at::IntArrayRef{h, w}, /*align_corners=*/false);
}

// (1, 1 + side^2, width) to another square grid; anything else is returned as it is and refused by its shape later.
at::Tensor resize_positions(const at::Tensor& positions, const at::Tensor& wanted, std::vector<std::string>& log) {
  if (positions.dim() != 3 || positions.sizes() == wanted.sizes() || positions.size(2) != wanted.size(2))
    return positions;
  const std::int64_t from = square_side(positions.size(1) - 1);
  const std::int64_t to = square_side(wanted.size(1) - 1);
  if (from * from != positions.size(1) - 1 || from < 1) return positions;
  const auto maps = positions.slice(1, 1).transpose(1, 2).unflatten(2, {from, from});
  log.push_back(c10::str("visual.pos_embed from ", from, "x", from, " to ", to, "x", to));
  return at::cat({positions.slice(1, 0, 1).to(at::kFloat), bicubic(maps, to, to).flatten(2).transpose(1, 2)}, 1);
}

at::Tensor resize_kernel(const at::Tensor& kernel, const at::Tensor& wanted, std::vector<std::string>& log) {
  if (kernel.dim() != 4 || kernel.sizes() == wanted.sizes() || kernel.size(0) != wanted.size(0) ||
      kernel.size(1) != wanted.size(1)) {
    return kernel;
  }
  log.push_back(c10::str("visual.patch_embed.proj.weight from ", kernel.size(2), "x", kernel.size(3), " to ",
                         wanted.size(2), "x", wanted.size(3)));
  return bicubic(kernel, wanted.size(2), wanted.size(3));
}

[[noreturn]] void refuse(const std::string& source, const ClipModel& model, const TensorDict& tensors,
                         const std::string& found, const std::string& expected) {
  std::string fits;
  for (const auto& name : fitting_models(tensors)) fits += (fits.empty() ? "" : ", ") + name;
  throw Error({.doing = "loading weights",
               .where = source,
               .found = found,
               .expected = expected + " for " + model.config().name,
               .hint = fits.empty() ? "" : "the file fits --model " + fits});
}

}  // namespace

std::vector<std::string> fitting_models(const TensorDict& tensors) {
  const auto* positions = tensors.find("visual.pos_embed");
  const auto* kernel = tensors.find("visual.patch_embed.proj.weight");
  const auto* head = tensors.find("visual.head.weight");
  if (positions == nullptr || kernel == nullptr || head == nullptr) return {};
  if (positions->dim() != 3 || kernel->dim() != 4 || head->dim() != 2) return {};
  std::vector<std::string> names;
  for (const auto& name : known_models()) {
    const auto config = model_config(name);
    const auto& vision = config.vision;
    const std::string last = "visual.blocks." + std::to_string(vision.layers - 1) + ".norm1.weight";
    const std::string beyond = "visual.blocks." + std::to_string(vision.layers) + ".norm1.weight";
    if (positions->size(1) == 1 + vision.grid() * vision.grid() && positions->size(2) == vision.width &&
        kernel->size(2) == vision.patch_size && head->size(0) == config.embed_dim && tensors.contains(last) &&
        !tensors.contains(beyond)) {
      names.push_back(name);
    }
  }
  return names;
}

LoadReport load_weights(ClipModel& model, const TensorDict& tensors, const std::string& source) {
  TensorDict given;
  for (const auto& item : tensors) {
    const auto name = official_name(item.key());
    if (!recomputed(name) && !given.contains(name)) given.insert(name, item.value());
  }
  const bool file_has_text = given.contains("text.positional_embedding");
  LoadReport report;
  report.text_missing = model.has_text() && !file_has_text;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  for (const auto& item : model.named_parameters()) {
    const auto& name = item.key();
    const auto& wanted = item.value();
    if (report.text_missing && name.starts_with("text.")) continue;
    const auto* found = given.find(name);
    if (found == nullptr) refuse(source, model, given, "no tensor '" + name + "'", "shape " + c10::str(wanted.sizes()));
    auto tensor = *found;
    if (name == "visual.pos_embed") tensor = resize_positions(tensor, wanted, report.resized);
    if (name == "visual.patch_embed.proj.weight") tensor = resize_kernel(tensor, wanted, report.resized);
    if (tensor.sizes() != wanted.sizes()) {
      refuse(source, model, given, "tensor '" + name + "' of shape " + c10::str(tensor.sizes()),
             "shape " + c10::str(wanted.sizes()));
    }
    if (!at::isFloatingType(tensor.scalar_type())) {
      refuse(source, model, given, "tensor '" + name + "' of type " + c10::toString(tensor.scalar_type()),
             "a floating type");
    }
    copies.emplace_back(wanted, tensor);
  }
  const auto parameters = model.named_parameters();
  for (const auto& item : given) {
    const bool known = parameters.contains(item.key()) || (!model.has_text() && item.key().starts_with("text."));
    if (!known) refuse(source, model, given, "a tensor '" + item.key() + "'", "no such tensor");
  }
  const at::NoGradGuard no_grad;
  for (auto& [to, from] : copies) to.copy_(from);
  return report;
}

LoadReport load_checkpoint(ClipModel& model, const std::filesystem::path& path) {
  return load_weights(model, formats::read_state_dict(path).tensors, path.string());
}

}  // namespace clipself::models
