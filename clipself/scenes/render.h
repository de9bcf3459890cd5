// From a scene's description to pixels: anti-aliased shapes over procedural surfaces, and who owns each pixel.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "clipself/formats/image.h"
#include "clipself/scenes/world.h"
#include "clipself/visualization/colours.h"

namespace clipself::scenes {

using visualization::Colour;

/// What is shown at a pixel: 0..things-1 a thing of the scene, things + k surface k.
struct Rendering {
  formats::Image image;     ///< RGB
  std::vector<int> owners;  ///< width * height, row by row
};

/// The window (in units) as `width` x `height` pixels. The window's aspect should be that of the picture.
Rendering render(const Scene& scene, const ops::Box& window, int width, int height);
/// The whole scene, `scale` pixels a unit.
Rendering render(const Scene& scene, double scale);

/// The plain colour of a class, for maps and legends: a thing's own colour, a surface's mean colour.
Colour class_colour(int label);

}  // namespace clipself::scenes
