// A model small enough for tests, with every published part.
#pragma once

#include <memory>

#include "clipself/models/clip_model.h"

namespace clipself::models {

inline ClipConfig tiny_config() {
  return parse_config(R"({"embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8, "mlp_ratio": 2.6667,
      "eva_model_name": "eva-clip-tiny", "rope": true, "pt_hw_seq_len": 16, "intp_freq": true, "naiveswiglu": true, "subln": true},
    "text_cfg": {"context_length": 10, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2}})",
                      "tiny");
}

/// Random weights of ordinary size: the published initialisation is so small that a tiny model would hardly compute
/// anything.
inline std::shared_ptr<ClipModel> tiny_model(std::uint64_t seed = 1, bool with_text = true) {
  torch::manual_seed(seed);
  auto model = std::make_shared<ClipModel>(tiny_config(), with_text);
  const at::NoGradGuard no_grad;
  for (const auto& item : model->named_parameters()) {
    if (item.key() != "logit_scale") item.value().add_(at::randn_like(item.value()) * 0.2);
  }
  return model;
}

}  // namespace clipself::models
