#include "clipself/scenes/render.h"

#include <algorithm>
#include <cmath>

#include "clipself/scenes/shapes.h"
#include "clipself/scenes/surfaces.h"

namespace clipself::scenes {

namespace {

constexpr std::array<std::array<float, 3>, kColours> kThingColours{{
    {222, 46, 52},    // red
    {248, 204, 38},   // yellow
    {46, 172, 82},    // green
    {38, 96, 226},    // blue
    {146, 62, 200},   // purple
    {244, 244, 246},  // white
}};

using Rgb = std::array<float, 3>;

void blend(Rgb& under, const Rgb& over, float opacity) {
  for (std::size_t i = 0; i < 3; ++i) under[i] += (over[i] - under[i]) * opacity;
}

Rgb scaled(const Rgb& colour, float factor) {
  return {colour[0] * factor, colour[1] * factor, colour[2] * factor};
}

float smooth(float low, float high, float value) {
  const float t = std::clamp((value - low) / (high - low), 0.0F, 1.0F);
  return t * t * (3 - 2 * t);
}

std::uint8_t to_byte(float value) {
  return static_cast<std::uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F));
}

// 1 where the pattern's second tone is; p in units of the radius, in the thing's own frame.
float pattern_tone(int pattern, float x, float y, float pixel) {
  const auto wave = [&](float v, float period) {  // a band of half the period, softened by a pixel
    const float phase = v / period - std::floor(v / period);
    const float distance = 0.25F - std::abs(phase - 0.5F);
    return smooth(-pixel / period, pixel / period, distance);
  };
  switch (pattern) {
    case 1:
      return wave(x + y, 0.62F);
    case 2: {
      const float u = x / 0.5F - std::floor(x / 0.5F) - 0.5F, v = y / 0.5F - std::floor(y / 0.5F) - 0.5F;
      return 1 - smooth(0.3F - pixel, 0.3F + pixel, std::hypot(u, v));
    }
    case 3: {
      const float a = wave(x, 0.8F), b = wave(y, 0.8F);
      return a + b - 2 * a * b;
    }
    default:
      return 0;
  }
}

// Draws one thing with its shadow, rim and pattern over the picture, and marks the pixels it owns.
void paint_thing(const Thing& thing, int owner, const ops::Box& window, double scale, int width, int height,
                 std::vector<Rgb>& canvas, std::vector<int>& owners) {
  const double reach = thing.radius * 1.3 + 5;
  const int x0 = std::max(0, static_cast<int>((thing.x - reach - window.x0) * scale));
  const int y0 = std::max(0, static_cast<int>((thing.y - reach - window.y0) * scale));
  const int x1 = std::min(width, static_cast<int>((thing.x + reach - window.x0) * scale) + 1);
  const int y1 = std::min(height, static_cast<int>((thing.y + reach - window.y0) * scale) + 1);
  const auto radius = static_cast<float>(thing.radius);
  const float c = std::cos(static_cast<float>(thing.angle)), s = std::sin(static_cast<float>(thing.angle));
  const float pixel = 1.0F / (static_cast<float>(scale) * radius);
  const Rgb base =
      scaled(kThingColours[static_cast<std::size_t>(thing.look.colour)], 1 + 0.06F * static_cast<float>(thing.tint));
  const Rgb second = scaled(base, 0.72F);
  const auto distance = [&](float ux, float uy) {  // in units of the radius
    const float x = ux / radius, y = uy / radius;
    return shape_distance(thing.look.shape, x * c + y * s, y * c - x * s);
  };
  for (int row = y0; row < y1; ++row)
    for (int column = x0; column < x1; ++column) {
      const auto ux = static_cast<float>(window.x0 + (column + 0.5) / scale - thing.x);
      const auto uy = static_cast<float>(window.y0 + (row + 0.5) / scale - thing.y);
      const auto at =
          static_cast<std::size_t>(row) * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
      const float shadow = 1 - smooth(-2.5F, 3.5F, distance(ux - 1.6F, uy - 2.6F) * radius);
      if (shadow > 0) blend(canvas[at], {12, 16, 24}, 0.38F * shadow);
      const float d = distance(ux, uy);
      const float cover = std::clamp(0.5F - d / pixel, 0.0F, 1.0F);
      if (cover <= 0) continue;
      const float x = (ux * c + uy * s) / radius, y = (uy * c - ux * s) / radius;
      Rgb colour = base;
      blend(colour, second, 0.9F * pattern_tone(thing.look.pattern, x, y, pixel));
      const float rim = smooth(-2.2F / radius - pixel, -1.2F / radius + pixel, d);
      blend(colour, scaled(base, 0.42F), 0.75F * rim);
      const float light = 1 - 0.10F * (ux + uy) / radius;
      blend(canvas[at], scaled(colour, light), cover);
      if (cover > 0.5F) owners[at] = owner;
    }
}

}  // namespace

Rendering render(const Scene& scene, const ops::Box& window, int width, int height) {
  const double scale = width / (window.x1 - window.x0);
  const auto count = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  std::vector<Rgb> canvas(count);
  Rendering result;
  result.owners.resize(count);
  const int things = static_cast<int>(scene.things.size());
  for (int row = 0; row < height; ++row)
    for (int column = 0; column < width; ++column) {
      const double x = window.x0 + (column + 0.5) / scale, y = window.y0 + (row + 0.5) / scale;
      Rgb colour{};
      int owner = 0;
      for (std::size_t i = 0; i < scene.surfaces.size(); ++i) {
        const Surface& surface = scene.surfaces[i];
        const auto side = static_cast<float>(surface_side(surface, x, y));
        const float cover = i == 0 ? 1 : std::clamp(0.5F + side * static_cast<float>(scale), 0.0F, 1.0F);
        if (cover <= 0) {
          if (side > -4) blend(colour, {12, 16, 24}, 0.22F * (1 + side / 4));  // a soft edge lifts what lies on top
          continue;
        }
        blend(colour, surface_colour(surface, static_cast<float>(x), static_cast<float>(y)), cover);
        if (cover > 0.5F) owner = static_cast<int>(i);
      }
      const auto at =
          static_cast<std::size_t>(row) * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
      canvas[at] = colour;
      result.owners[at] = things + owner;
    }
  for (int i = 0; i < things; ++i)
    paint_thing(scene.things[static_cast<std::size_t>(i)], i, window, scale, width, height, canvas, result.owners);
  result.image = {.mode = formats::ImageMode::kRGB, .width = width, .height = height, .pixels = {}};
  result.image.pixels.reserve(count * 3);
  for (const Rgb& colour : canvas)
    for (const float value : colour) result.image.pixels.push_back(to_byte(value));
  return result;
}

Rendering render(const Scene& scene, double scale) {
  return render(scene, {0, 0, scene.width, scene.height}, static_cast<int>(std::lround(scene.width * scale)),
                static_cast<int>(std::lround(scene.height * scale)));
}

Colour class_colour(int label) {
  const Rgb colour =
      is_thing_class(label) ? kThingColours[static_cast<std::size_t>(label % kColours)] : stuff_colour(label - kThings);
  return {to_byte(colour[0]), to_byte(colour[1]), to_byte(colour[2])};
}

}  // namespace clipself::scenes
