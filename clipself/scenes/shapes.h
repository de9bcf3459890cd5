// The outlines of things, as signed distance functions.
#pragma once

namespace clipself::scenes {

/// Distance of (x, y) from the outline of a shape about one in radius, negative inside. y points down.
float shape_distance(int shape, float x, float y);

}  // namespace clipself::scenes
