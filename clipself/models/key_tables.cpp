#include "clipself/models/key_tables.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "clipself/base/error.h"

namespace clipself::models {
namespace {

using formats::TensorDict;

/// What becomes of a tensor on its way: as it is; transposed; a third (or half) of a fused one; with leading dimensions
/// of 1.
enum class Form { kAsIs, kTransposed, kFirst, kSecond, kThird, kUnsqueezed };

/// "{}" stands for a block's number. An empty `ours` leaves the tensor out.
struct KeyRule {
  std::string_view theirs, ours;
  Form form = Form::kAsIs;
};

// OpenAI's and open_clip's plain models keep the text tower at top level; EVA's repeats the logit scale inside it.
constexpr KeyRule kTopLevelText[] = {
    {"positional_embedding", "text.positional_embedding"},
    {"text_projection", "text.text_projection"},
    {"token_embedding.*", "text.token_embedding.*"},
    {"transformer.*", "text.transformer.*"},
    {"ln_final.*", "text.ln_final.*"},
    {"text.logit_scale", "logit_scale"},
    // Numbers that OpenAI's archives carry, and what follows from sizes alone.
    {"input_resolution", ""},
    {"context_length", ""},
    {"vocab_size", ""},
    {"attn_mask", ""},
    {"text.attn_mask", ""},
};

// The text tower of both libraries below.
constexpr KeyRule kHuggingFaceText[] = {
    {"text_model.embeddings.token_embedding.weight", "text.token_embedding.weight"},
    {"text_model.embeddings.position_embedding.weight", "text.positional_embedding"},
    {"text_model.embeddings.position_ids", ""},
    {"text_model.final_layer_norm.*", "text.ln_final.*"},
    {"text_model.encoder.layers.{}.layer_norm1.*", "text.transformer.resblocks.{}.ln_1.*"},
    {"text_model.encoder.layers.{}.layer_norm2.*", "text.transformer.resblocks.{}.ln_2.*"},
    {"text_model.encoder.layers.{}.self_attn.q_proj.*", "text.transformer.resblocks.{}.attn.in_proj_*", Form::kFirst},
    {"text_model.encoder.layers.{}.self_attn.k_proj.*", "text.transformer.resblocks.{}.attn.in_proj_*", Form::kSecond},
    {"text_model.encoder.layers.{}.self_attn.v_proj.*", "text.transformer.resblocks.{}.attn.in_proj_*", Form::kThird},
    {"text_model.encoder.layers.{}.self_attn.out_proj.*", "text.transformer.resblocks.{}.attn.out_proj.*"},
    {"text_model.encoder.layers.{}.mlp.fc1.*", "text.transformer.resblocks.{}.mlp.c_fc.*"},
    {"text_model.encoder.layers.{}.mlp.fc2.*", "text.transformer.resblocks.{}.mlp.c_proj.*"},
};

// transformers.CLIPModel
constexpr KeyRule kHuggingFaceClip[] = {
    {"logit_scale", "logit_scale"},
    {"visual_projection.weight", "visual.proj", Form::kTransposed},
    {"text_projection.weight", "text.text_projection", Form::kTransposed},
    {"vision_model.embeddings.class_embedding", "visual.class_embedding"},
    {"vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"},
    {"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"},
    {"vision_model.embeddings.position_ids", ""},
    {"vision_model.pre_layrnorm.*", "visual.ln_pre.*"},  // their spelling
    {"vision_model.post_layernorm.*", "visual.ln_post.*"},
    {"vision_model.encoder.layers.{}.layer_norm1.*", "visual.transformer.resblocks.{}.ln_1.*"},
    {"vision_model.encoder.layers.{}.layer_norm2.*", "visual.transformer.resblocks.{}.ln_2.*"},
    {"vision_model.encoder.layers.{}.self_attn.q_proj.*", "visual.transformer.resblocks.{}.attn.in_proj_*",
     Form::kFirst},
    {"vision_model.encoder.layers.{}.self_attn.k_proj.*", "visual.transformer.resblocks.{}.attn.in_proj_*",
     Form::kSecond},
    {"vision_model.encoder.layers.{}.self_attn.v_proj.*", "visual.transformer.resblocks.{}.attn.in_proj_*",
     Form::kThird},
    {"vision_model.encoder.layers.{}.self_attn.out_proj.*", "visual.transformer.resblocks.{}.attn.out_proj.*"},
    {"vision_model.encoder.layers.{}.mlp.fc1.*", "visual.transformer.resblocks.{}.mlp.c_fc.*"},
    {"vision_model.encoder.layers.{}.mlp.fc2.*", "visual.transformer.resblocks.{}.mlp.c_proj.*"},
};

// transformers.SiglipModel; the names here are timm's, as open_clip's SigLIP checkpoints have them.
constexpr KeyRule kHuggingFaceSiglip[] = {
    {"logit_scale", "logit_scale"},
    {"logit_bias", "logit_bias"},
    {"vision_model.embeddings.patch_embedding.*", "visual.trunk.patch_embed.proj.*"},
    {"vision_model.embeddings.position_embedding.weight", "visual.trunk.pos_embed", Form::kUnsqueezed},
    {"vision_model.embeddings.position_ids", ""},
    {"vision_model.post_layernorm.*", "visual.trunk.norm.*"},
    {"vision_model.head.probe", "visual.trunk.attn_pool.latent"},
    // One fused projection there, the query's and the other two's here: split below.
    {"vision_model.head.attention.in_proj_weight", "visual.trunk.attn_pool.in_proj.weight"},
    {"vision_model.head.attention.in_proj_bias", "visual.trunk.attn_pool.in_proj.bias"},
    {"vision_model.head.attention.out_proj.*", "visual.trunk.attn_pool.proj.*"},
    {"vision_model.head.layernorm.*", "visual.trunk.attn_pool.norm.*"},
    {"vision_model.head.mlp.*", "visual.trunk.attn_pool.mlp.*"},
    {"vision_model.encoder.layers.{}.layer_norm1.*", "visual.trunk.blocks.{}.norm1.*"},
    {"vision_model.encoder.layers.{}.layer_norm2.*", "visual.trunk.blocks.{}.norm2.*"},
    {"vision_model.encoder.layers.{}.self_attn.q_proj.*", "visual.trunk.blocks.{}.attn.qkv.*", Form::kFirst},
    {"vision_model.encoder.layers.{}.self_attn.k_proj.*", "visual.trunk.blocks.{}.attn.qkv.*", Form::kSecond},
    {"vision_model.encoder.layers.{}.self_attn.v_proj.*", "visual.trunk.blocks.{}.attn.qkv.*", Form::kThird},
    {"vision_model.encoder.layers.{}.self_attn.out_proj.*", "visual.trunk.blocks.{}.attn.proj.*"},
    {"vision_model.encoder.layers.{}.mlp.*", "visual.trunk.blocks.{}.mlp.*"},
    {"text_model.head.*", "text.text_projection.*"},
};

/// What "{}" and "*" of `pattern` stand for in `name`, or nothing when it does not fit.
struct Match {
  std::string_view number, rest;
};
std::optional<Match> match(std::string_view pattern, std::string_view name) {
  Match found;
  if (const auto brace = pattern.find("{}"); brace != std::string_view::npos) {
    if (name.substr(0, brace) != pattern.substr(0, brace)) return std::nullopt;
    name.remove_prefix(brace);
    pattern.remove_prefix(brace + 2);
    const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits == 0) return std::nullopt;
    found.number = name.substr(0, digits);
    name.remove_prefix(digits);
  }
  if (!pattern.ends_with('*')) return name == pattern ? std::optional(found) : std::nullopt;
  pattern.remove_suffix(1);
  if (!name.starts_with(pattern)) return std::nullopt;
  found.rest = name.substr(pattern.size());
  return found;
}

std::string fill_in(std::string_view pattern, const Match& found) {
  std::string name(pattern);
  if (const auto brace = name.find("{}"); brace != std::string::npos) name.replace(brace, 2, found.number);
  if (name.ends_with('*')) name.replace(name.size() - 1, 1, found.rest);
  return name;
}

const KeyRule* find_rule(std::span<const KeyRule> table, const std::string& name, Match& found) {
  for (const auto& rule : table) {
    if (const auto fits = match(rule.theirs, name)) {
      found = *fits;
      return &rule;
    }
  }
  return nullptr;
}

class Renamer {
 public:
  Renamer(std::span<const KeyRule> table, std::span<const KeyRule> more, const TensorDict& tensors,
          const std::string& source)
      : table_(table), more_(more), source_(source) {
    std::set<const void*> storages;
    for (const auto& item : tensors) {
      const auto& storage = item.value().storage();
      if (storages.insert(storage.data()).second) most_copied_ += 16 * storage.nbytes();
    }
  }

  void add(const std::string& name, const at::Tensor& tensor) {
    Match found;
    const auto* rule = find_rule(table_, name, found);
    if (rule == nullptr) rule = find_rule(more_, name, found);
    if (rule == nullptr) return put(name, tensor);
    if (rule->ours.empty()) return;
    const auto ours = fill_in(rule->ours, found);
    switch (rule->form) {
      case Form::kAsIs:
        return put(ours, tensor);
      case Form::kTransposed:
        if (tensor.dim() != 2) refuse(name, tensor, "a matrix");
        return put(ours, tensor.t());
      case Form::kUnsqueezed:
        return put(ours, tensor.unsqueeze(0));
      case Form::kFirst:
      case Form::kSecond:
      case Form::kThird: {
        if (!parts_.contains(ours)) order_.push_back(ours);
        auto& part = parts_[ours][static_cast<std::size_t>(rule->form) - static_cast<std::size_t>(Form::kFirst)];
        part = tensor;
        return;
      }
    }
  }

  TensorDict finish() {
    std::size_t copied = 0;
    for (const auto& ours : order_) {
      const auto& parts = parts_[ours];
      for (const auto& part : parts) {
        if (!part.defined() || part.dim() == 0 || part.sizes() != parts[0].sizes() ||
            part.scalar_type() != parts[0].scalar_type()) {
          throw Error({.doing = "putting together '" + ours + "' of",
                       .where = source_,
                       .found = "query, key and value projections that are missing or of different shapes",
                       .expected = "three of one shape"});
        }
      }
      // A file may hold one number and say that it is many tensors of many.
      copied += 3 * static_cast<std::size_t>(parts[0].numel()) * parts[0].element_size();
      if (copied > most_copied_) {
        throw Error({.doing = "putting together '" + ours + "' of",
                     .where = source_,
                     .found = c10::str("projections of more than ", most_copied_, " bytes"),
                     .expected = "no more than a file of this size can need"});
      }
      put(ours, at::cat({parts[0], parts[1], parts[2]}));
    }
    return std::move(out_);
  }

 private:
  void put(const std::string& name, const at::Tensor& tensor) {
    if (!out_.contains(name)) out_.insert(name, tensor);
  }
  [[noreturn]] void refuse(const std::string& name, const at::Tensor& tensor, const char* expected) const {
    throw Error({.doing = "reading tensor '" + name + "' of",
                 .where = source_,
                 .found = "shape " + c10::str(tensor.sizes()),
                 .expected = expected});
  }

  std::span<const KeyRule> table_, more_;
  const std::string& source_;
  std::size_t most_copied_ = std::size_t{64} << 20;
  TensorDict out_;
  std::map<std::string, std::array<at::Tensor, 3>> parts_;
  std::vector<std::string> order_;
};

/// The pooling head's fused projection into timm's two.
TensorDict split_head(const TensorDict& tensors) {
  TensorDict out;
  const auto put = [&](const std::string& name, const at::Tensor& tensor) {
    if (!out.contains(name)) out.insert(name, tensor);
  };
  for (const auto& item : tensors) {
    const std::string prefix = "visual.trunk.attn_pool.in_proj.";
    if (!item.key().starts_with(prefix) || item.value().dim() == 0 || item.value().size(0) % 3 != 0) {
      put(item.key(), item.value());
      continue;
    }
    const auto kind = item.key().substr(prefix.size());
    const auto third = item.value().size(0) / 3;
    put("visual.trunk.attn_pool.q." + kind, item.value().slice(0, 0, third));
    put("visual.trunk.attn_pool.kv." + kind, item.value().slice(0, third));
  }
  return out;
}

}  // namespace

std::string below_text(const std::string& name) {
  Match found;
  const auto* rule = find_rule(kTopLevelText, name, found);
  return rule == nullptr || rule->ours.empty() ? name : fill_in(rule->ours, found);
}

bool is_openai(const TensorDict& tensors) {
  return tensors.contains("input_resolution") && tensors.contains("context_length") && tensors.contains("vocab_size");
}

TensorDict official_names(const TensorDict& tensors, const std::string& source) {
  const bool siglip = tensors.contains("vision_model.head.probe");
  const bool clip = !siglip && tensors.contains("vision_model.embeddings.patch_embedding.weight");
  const std::span<const KeyRule> text =
      siglip || clip ? std::span<const KeyRule>(kHuggingFaceText) : std::span<const KeyRule>();
  const std::span<const KeyRule> table = siglip ? std::span<const KeyRule>(kHuggingFaceSiglip)
                                         : clip ? std::span<const KeyRule>(kHuggingFaceClip)
                                                : std::span<const KeyRule>(kTopLevelText);
  Renamer renamer(table, text, tensors, source);
  for (const auto& item : tensors) renamer.add(item.key(), item.value());
  auto out = renamer.finish();
  return siglip ? split_head(out) : out;
}

}  // namespace clipself::models
