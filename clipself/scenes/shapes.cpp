#include "clipself/scenes/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>

namespace clipself::scenes {

namespace {

struct Point {
  float x, y;
};

float box_distance(float x, float y, float half_x, float half_y) {
  const float dx = std::abs(x) - half_x, dy = std::abs(y) - half_y;
  return std::hypot(std::max(dx, 0.0F), std::max(dy, 0.0F)) + std::min(std::max(dx, dy), 0.0F);
}

// Nearest edge, with the sign of the even-odd rule.
float polygon_distance(std::span<const Point> corners, float x, float y) {
  float nearest = std::numeric_limits<float>::max();
  bool inside = false;
  for (std::size_t i = 0, j = corners.size() - 1; i < corners.size(); j = i++) {
    const Point a = corners[i], b = corners[j];
    const float ex = b.x - a.x, ey = b.y - a.y, px = x - a.x, py = y - a.y;
    const float t = std::clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0.0F, 1.0F);
    const float dx = px - ex * t, dy = py - ey * t;
    nearest = std::min(nearest, dx * dx + dy * dy);
    if ((a.y > y) != (b.y > y) && x < ex * (y - a.y) / ey + a.x) inside = !inside;
  }
  return (inside ? -1.0F : 1.0F) * std::sqrt(nearest);
}

template <std::size_t N>
std::array<Point, N> regular(float outer, float inner) {  // corners alternate between the two radii, the first on top
  std::array<Point, N> corners{};
  for (std::size_t i = 0; i < N; ++i) {
    const float angle = 2 * std::numbers::pi_v<float> * static_cast<float>(i) / static_cast<float>(N);
    const float radius = i % 2 == 0 ? outer : inner;
    corners[i] = {radius * std::sin(angle), -radius * std::cos(angle)};
  }
  return corners;
}

float triangle_distance(float x, float y) {
  static constexpr std::array<Point, 3> kCorners{{{0, -0.95F}, {0.98F, 0.78F}, {-0.98F, 0.78F}}};
  return polygon_distance(kCorners, x, y);
}

float star_distance(float x, float y) {
  static const std::array<Point, 10> corners = regular<10>(1.06F, 0.45F);
  return polygon_distance(corners, x, y);
}

float heart_distance(float x, float y) {  // two discs over a tip whose sides touch them
  const float ax = std::abs(x);
  const float disc = std::hypot(ax - 0.44F, y + 0.32F) - 0.52F;
  static constexpr std::array<Point, 4> kTip{{{0, 0.95F}, {0.83F, 0.03F}, {0, -0.6F}, {-0.83F, 0.03F}}};
  return std::min(disc, polygon_distance(kTip, x, y));
}

float moon_distance(float x, float y) {
  const float disc = std::hypot(x, y) - 0.96F;
  const float bite = std::hypot(x - 0.48F, y + 0.12F) - 0.74F;
  return std::max(disc, -bite);
}

}  // namespace

float shape_distance(int shape, float x, float y) {
  switch (shape) {
    case 0:
      return std::hypot(x, y) - 0.92F;
    case 1:
      return box_distance(x, y, 0.8F, 0.8F);
    case 2:
      return triangle_distance(x, y);
    case 3:
      return star_distance(x, y);
    case 4:
      return heart_distance(x, y);
    case 5:
      return std::min(box_distance(x, y, 0.95F, 0.33F), box_distance(x, y, 0.33F, 0.95F));
    case 6:
      return std::abs(std::hypot(x, y) - 0.67F) - 0.27F;
    default:
      return moon_distance(x, y);
  }
}

}  // namespace clipself::scenes
