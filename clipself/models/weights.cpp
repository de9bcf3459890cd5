#include "clipself/models/weights.h"

#include <cmath>
#include <set>

#include "clipself/base/error.h"
#include "clipself/formats/state_dict.h"
#include "clipself/models/backbone.h"
#include "clipself/models/config_beside.h"
#include "clipself/models/key_tables.h"
#include "clipself/models/layers.h"

namespace clipself::models {
namespace {

using formats::TensorDict;

// Rotary tables follow from the configuration, the causal mask from sizes.
bool recomputed(const std::string& name) {
  return name.find("freqs_cos") != std::string::npos || name.find("freqs_sin") != std::string::npos ||
         name.ends_with("attn_mask");
}

// A position embedding of another square grid, brought to the wanted one; anything else is returned as it is and
// refused by its shape later.
at::Tensor fit_positions(const at::Tensor& found, const at::Tensor& wanted, const VisionTower::Resizable& layout,
                         std::vector<std::string>& log) {
  if (found.dim() != wanted.dim() || found.sizes() == wanted.sizes() || found.size(-1) != wanted.size(-1) ||
      !at::isFloatingType(found.scalar_type())) {
    return found;
  }
  const auto side = [&](const at::Tensor& positions) {
    return std::llround(std::sqrt(static_cast<double>(positions.size(-2) - layout.prefix)));
  };
  const std::int64_t from = side(found), to = side(wanted);
  if (from < 1 || from * from != found.size(-2) - layout.prefix || found.numel() != found.size(-2) * found.size(-1))
    return found;
  log.push_back(c10::str("visual.", layout.positions, " from ", from, "x", from, " to ", to, "x", to));
  return resize_positions(found.flatten(0, -2), layout.prefix, to, to, layout.antialias).view(wanted.sizes());
}

at::Tensor fit_kernel(const at::Tensor& found, const at::Tensor& wanted, const std::string& name,
                      std::vector<std::string>& log) {
  if (found.dim() != 4 || found.sizes() == wanted.sizes() || found.size(0) != wanted.size(0) ||
      found.size(1) != wanted.size(1) || !at::isFloatingType(found.scalar_type()) || found.numel() == 0) {
    return found;
  }
  log.push_back(
      c10::str(name, " from ", found.size(2), "x", found.size(3), " to ", wanted.size(2), "x", wanted.size(3)));
  return at::upsample_bicubic2d(found.to(at::kFloat).contiguous(), at::IntArrayRef{wanted.size(2), wanted.size(3)},
                                /*align_corners=*/false);
}

// `tensors` as the file has them.
[[noreturn]] void refuse(const std::string& source, const ClipModel& model, const TensorDict& tensors,
                         const std::string& found, const std::string& expected) {
  std::string fits;
  for (const auto& name : fitting_models(tensors)) fits += (fits.empty() ? "" : " or ") + name;
  throw Error({.doing = "loading weights",
               .where = source,
               .found = found,
               .expected = expected + " for " + model.config().name,
               .hint = fits.empty() ? "" : "the file fits --model " + fits});
}

}  // namespace

std::vector<std::string> fitting_models(const TensorDict& tensors) {
  const auto given = official_names(tensors, "the checkpoint");
  const auto has = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto* found = given.find(name);
    return found != nullptr && found->sizes() == at::IntArrayRef(shape);
  };
  std::vector<std::string> names;
  for (const auto& name : known_models()) {
    const auto config = model_config(name);
    const auto signature = backbone(config.vision.backbone).signature(config);
    bool fits = !given.contains("visual." + signature.absent);
    for (const auto& [tensor, shape] : signature.tensors) fits = fits && has("visual." + tensor, shape);
    if (fits && config.text && given.contains("text.token_embedding.weight"))
      fits = has("text.token_embedding.weight", {config.text->vocab_size, config.text->width});
    if (fits && is_openai(tensors)) fits = config.vision.activation == Activation::kQuickGelu;
    if (fits) names.push_back(name);
  }
  return names;
}

namespace {

// Shapes do not show it. `where` it is said that the weights were trained with QuickGELU, or were not.
[[noreturn]] void refuse_activation(const std::string& source, const ClipModel& model, const TensorDict& tensors,
                                    bool quick, const std::string& where) {
  std::string fits;
  for (const auto& name : fitting_models(tensors))
    if ((model_config(name).vision.activation == Activation::kQuickGelu) == quick)
      fits += (fits.empty() ? "" : " or ") + name;
  throw Error(
      {.doing = "loading weights",
       .where = source,
       .found = std::string("weights trained ") + (quick ? "with" : "without") + " QuickGELU (" + where + ")",
       .expected = std::string("some trained ") + (quick ? "without" : "with") + " it for " + model.config().name,
       .hint = fits.empty() ? "" : "the file fits --model " + fits});
}

}  // namespace

LoadReport load_weights(ClipModel& model, const TensorDict& tensors, const std::string& source) {
  const auto named = official_names(tensors, source);
  TensorDict given;
  for (const auto& item : named) {
    if (!recomputed(item.key())) given.insert(item.key(), item.value());
  }
  if (is_openai(tensors) && model.config().vision.activation != Activation::kQuickGelu)
    refuse_activation(source, model, tensors, /*quick=*/true, "OpenAI's archives all are");
  const bool file_has_text = given.contains("text.positional_embedding");
  const auto layout = model.visual().resizable();
  LoadReport report;
  report.text_missing = model.has_text() && !file_has_text;
  std::set<std::string> used;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  for (const auto& item : model.named_parameters()) {
    const auto name = below_text(item.key());
    const auto& wanted = item.value();
    used.insert(name);
    if (report.text_missing && name.starts_with("text.")) continue;
    const auto* found = given.find(name);
    if (found == nullptr)
      refuse(source, model, tensors, "no tensor '" + name + "'", "shape " + c10::str(wanted.sizes()));
    auto tensor = *found;
    if (name == "visual." + layout.positions) tensor = fit_positions(tensor, wanted, layout, report.resized);
    if (name == "visual." + layout.kernel) tensor = fit_kernel(tensor, wanted, name, report.resized);
    // Scalars are stored with a dimension of one by some.
    if (wanted.dim() == 0 && tensor.numel() == 1) tensor = tensor.reshape(at::IntArrayRef{});
    if (tensor.sizes() != wanted.sizes()) {
      refuse(source, model, tensors, "tensor '" + name + "' of shape " + c10::str(tensor.sizes()),
             "shape " + c10::str(wanted.sizes()));
    }
    if (!at::isFloatingType(tensor.scalar_type())) {
      refuse(source, model, tensors, "tensor '" + name + "' of type " + c10::toString(tensor.scalar_type()),
             "a floating type");
    }
    copies.emplace_back(wanted, tensor);
  }
  for (const auto& item : given) {
    const bool known = used.contains(item.key()) || (!model.has_text() && item.key().starts_with("text."));
    if (!known) refuse(source, model, tensors, "a tensor '" + item.key() + "'", "no such tensor");
  }
  const at::NoGradGuard no_grad;
  for (auto& [to, from] : copies) to.copy_(from);
  return report;
}

LoadReport load_checkpoint(ClipModel& model, const std::filesystem::path& path) {
  const auto state = formats::read_state_dict(path);
  const auto& config = model.config();
  if (const auto where = disagrees_on_quick_gelu(config, path, state); !where.empty()) {
    const bool quick = config.vision.activation == Activation::kQuickGelu;
    refuse_activation(path.string(), model, state.tensors, /*quick=*/!quick, where);
  }
  return load_weights(model, state.tensors, path.string());
}

}  // namespace clipself::models
