#include "clipself/scenes/surfaces.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace clipself::scenes {

namespace {

using Rgb = std::array<float, 3>;

constexpr std::array<Rgb, kStuff> kMean{{
    {94, 132, 66},    // grass
    {58, 118, 148},   // water
    {206, 182, 136},  // sand
    {150, 88, 70},    // bricks
    {158, 118, 78},   // planks
    {122, 120, 118},  // pebbles
    {214, 222, 232},  // snow
    {78, 92, 110},    // tiles
}};

// A hash of two lattice coordinates to 0..1.
float lattice(int x, int y) {
  auto h = static_cast<std::uint32_t>(x) * 0x9E3779B1U ^ static_cast<std::uint32_t>(y) * 0x85EBCA77U;
  h ^= h >> 15;
  h *= 0x2C1B3C6DU;
  h ^= h >> 12;
  h *= 0x297A2D39U;
  h ^= h >> 15;
  return static_cast<float>(h >> 8) * (1.0F / 16777216.0F);
}

// Smooth noise in 0..1 with features about one in size.
float noise(float x, float y) {
  const float fx = std::floor(x), fy = std::floor(y);
  const int ix = static_cast<int>(fx), iy = static_cast<int>(fy);
  float tx = x - fx, ty = y - fy;
  tx = tx * tx * (3 - 2 * tx);
  ty = ty * ty * (3 - 2 * ty);
  const float top = lattice(ix, iy) + (lattice(ix + 1, iy) - lattice(ix, iy)) * tx;
  const float bottom = lattice(ix, iy + 1) + (lattice(ix + 1, iy + 1) - lattice(ix, iy + 1)) * tx;
  return top + (bottom - top) * ty;
}

float part(float value) {
  return value - std::floor(value);
}

// 1 within `half` of a whole number of periods, softened.
float joint(float value, float period, float half) {
  const float p = part(value / period) * period;
  const float distance = std::min(p, period - p);
  return std::clamp((half + 0.6F - distance) / 1.2F, 0.0F, 1.0F);
}

Rgb mix(const Rgb& a, const Rgb& b, float t) {
  return {a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t};
}

Rgb lit(const Rgb& colour, float factor) {
  return {colour[0] * factor, colour[1] * factor, colour[2] * factor};
}

Rgb grass(float u, float v) {
  const float blades = noise(u / 1.7F, v / 5.5F), tufts = noise(u / 17, v / 14 + 40);
  return mix(lit(kMean[0], 0.68F + 0.3F * tufts), {150, 184, 92}, 0.75F * blades * blades);
}

Rgb water(float u, float v) {
  const float swell = noise(u / 22, v / 9);
  const float wave = 0.5F + 0.5F * std::sin(v / 1.9F + 7 * swell);
  return mix(lit(kMean[1], 0.84F + 0.2F * swell), {156, 206, 222},
             0.6F * wave * wave * wave * noise(u / 12, v / 4 + 9));
}

Rgb sand(float u, float v) {
  const float ripple = 0.5F + 0.5F * std::sin((0.35F * u + v) / 2.4F + 4 * noise(u / 26, v / 26));
  return lit(kMean[2], 0.86F + 0.14F * ripple + 0.14F * noise(u / 1.4F, v / 1.4F));
}

Rgb bricks(float u, float v) {
  constexpr float kWidth = 17, kHeight = 8.5F;
  const float course = std::floor(v / kHeight);
  const float shifted = u + (part(course / 2) > 0.25F ? kWidth / 2 : 0);
  const float tone = lattice(static_cast<int>(std::floor(shifted / kWidth)), static_cast<int>(course));
  const Rgb brick = lit(kMean[3], 0.82F + 0.36F * tone + 0.1F * (noise(u / 2, v / 2) - 0.5F));
  return mix(brick, {196, 184, 170}, std::max(joint(shifted, kWidth, 0.55F), joint(v, kHeight, 0.55F)));
}

Rgb planks(float u, float v) {
  constexpr float kWidth = 15;
  const int board = static_cast<int>(std::floor(u / kWidth));
  const float grain = noise(u / 1.3F, v / 18 + 31 * lattice(board, 3));
  const Rgb wood = lit(kMean[4], 0.84F + 0.3F * lattice(board, 7) + 0.24F * (grain - 0.5F));
  return mix(wood, {70, 48, 32}, joint(u, kWidth, 0.5F));
}

Rgb pebbles(float u, float v) {  // nearest of jittered points, dark between them
  constexpr float kSize = 8.5F;
  const float x = u / kSize, y = v / kSize;
  const int cx = static_cast<int>(std::floor(x)), cy = static_cast<int>(std::floor(y));
  float first = 9, second = 9, tone = 0;
  for (int j = cy - 1; j <= cy + 1; ++j)
    for (int i = cx - 1; i <= cx + 1; ++i) {
      const float px = static_cast<float>(i) + 0.15F + 0.7F * lattice(i, j);
      const float py = static_cast<float>(j) + 0.15F + 0.7F * lattice(i + 517, j);
      const float d = (x - px) * (x - px) + (y - py) * (y - py);
      if (d < first) {
        second = first;
        first = d;
        tone = lattice(i, j + 911);
      } else {
        second = std::min(second, d);
      }
    }
  const float gap = std::sqrt(second) - std::sqrt(first);
  return mix({54, 54, 56}, lit(kMean[5], 0.85F + 0.55F * tone - 0.25F * first), std::clamp(gap / 0.22F, 0.0F, 1.0F));
}

Rgb snow(float u, float v) {
  const float drift = noise(u / 20, v / 12), grain = noise(u / 1.5F, v / 1.5F);
  return mix({184, 200, 222}, {240, 244, 250}, std::clamp(0.2F + 0.8F * drift + 0.25F * (grain - 0.5F), 0.0F, 1.0F));
}

Rgb tiles(float u, float v) {
  constexpr float kSize = 14;
  const int i = static_cast<int>(std::floor(u / kSize)), j = static_cast<int>(std::floor(v / kSize));
  const Rgb tile = lit(kMean[7], ((i + j) % 2 == 0 ? 0.8F : 1.18F) + 0.08F * (lattice(i, j) - 0.5F));
  return mix(tile, {150, 160, 170}, std::max(joint(u, kSize, 0.4F), joint(v, kSize, 0.4F)));
}

}  // namespace

Rgb surface_colour(const Surface& surface, float x, float y) {
  const float u = x / static_cast<float>(surface.zoom) + static_cast<float>(surface.offset_u);
  const float v = y / static_cast<float>(surface.zoom) + static_cast<float>(surface.offset_v);
  Rgb colour{};
  switch (surface.stuff) {
    case 0:
      colour = grass(u, v);
      break;
    case 1:
      colour = water(u, v);
      break;
    case 2:
      colour = sand(u, v);
      break;
    case 3:
      colour = bricks(u, v);
      break;
    case 4:
      colour = planks(u, v);
      break;
    case 5:
      colour = pebbles(u, v);
      break;
    case 6:
      colour = snow(u, v);
      break;
    default:
      colour = tiles(u, v);
      break;
  }
  return lit(colour, 1 + 0.07F * static_cast<float>(surface.tint));
}

Rgb stuff_colour(int stuff) {
  return kMean[static_cast<std::size_t>(stuff)];
}

}  // namespace clipself::scenes
