#include "clipself/models/backbone.h"

#include "clipself/base/error.h"

namespace clipself::models {

const Backbone& eva_backbone();     // eva_vision_tower.cpp
const Backbone& siglip_backbone();  // siglip_vision_tower.cpp
const Backbone& vit_backbone();     // vit_vision_tower.cpp

std::span<const Backbone* const> backbones() {
  static const Backbone* const all[] = {
      &eva_backbone(),
      &siglip_backbone(),
      &vit_backbone(),
  };
  return all;
}

const Backbone& backbone(std::string_view name) {
  for (const auto* each : backbones()) {
    if (name == each->name) return *each;
  }
  throw Error({.doing = "building a vision tower", .where = std::string(name), .found = "no backbone of that name"});
}

}  // namespace clipself::models
