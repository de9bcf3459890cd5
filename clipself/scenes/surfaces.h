// The look of stuff: procedural textures that depend on position alone.
#pragma once

#include <array>

#include "clipself/scenes/world.h"

namespace clipself::scenes {

/// Red, green, blue (0..255) of a surface at a point of the scene, in units.
std::array<float, 3> surface_colour(const Surface& surface, float x, float y);
/// The mean colour of a kind of stuff.
std::array<float, 3> stuff_colour(int stuff);

}  // namespace clipself::scenes
