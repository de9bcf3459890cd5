// The registry of vision backbones. A new one is a file with a VisionTower and a Backbone, and one line in
// backbone.cpp; docs/backbones.md shows how.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clipself/models/config.h"
#include "clipself/models/config_section.h"
#include "clipself/models/vision_tower.h"

namespace clipself::models {

/// A published model by name, in open_clip's JSON configuration format.
struct BuiltinModel {
  std::string name;
  std::string json;
};

/// Tensors (official names, below "visual.") that a checkpoint must have with these shapes, and one that it must not
/// have (a block too many).
struct WeightSignature {
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors;
  std::string absent;
};

struct Backbone {
  const char* name;
  /// Whether a configuration's vision_cfg asks for this backbone; the first of the registry that says yes is taken.
  bool (*describes)(const ConfigSection& vision);
  /// What is special about its vision_cfg into `config` (config.vision already has the common keys). Throws Error.
  void (*parse)(const ConfigSection& vision, ClipConfig& config);
  std::shared_ptr<VisionTower> (*make)(const ClipConfig& config);
  /// What tells a checkpoint of this configuration from any other's.
  WeightSignature (*signature)(const ClipConfig& config);
  std::vector<BuiltinModel> models;
};

/// image_size, patch_size, width, layers, head_width and mlp_ratio where they are given.
void parse_shape(const ConfigSection& vision, VisionConfig& out);
/// open_clip's act_kwargs: GELU, exact or the tanh approximation.
Activation parse_activation(const ConfigSection& section);

std::span<const Backbone* const> backbones();
/// The one that VisionConfig::backbone names.
const Backbone& backbone(std::string_view name);

}  // namespace clipself::models
