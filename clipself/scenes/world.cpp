#include "clipself/scenes/world.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "clipself/scenes/captions.h"

namespace clipself::scenes {

namespace {

constexpr double kPi = std::numbers::pi;

Look draw_look(Combinations combinations, Rng& rng) {
  while (true) {
    const Look look{static_cast<int>(rng.below(kShapes)), static_cast<int>(rng.below(kColours)),
                    static_cast<int>(rng.below(kPatterns))};
    if (held_out(look) == (combinations == Combinations::kHeldOut)) return look;
  }
}

Surface draw_surface(int stuff, Rng& rng) {
  Surface surface;
  surface.stuff = stuff;
  surface.tint = rng.uniform(-1, 1);
  surface.offset_u = rng.uniform(0, 4096);
  surface.offset_v = rng.uniform(0, 4096);
  surface.zoom = rng.uniform(0.85, 1.25);
  surface.wave = rng.uniform(0, 6);
  surface.wave_length = rng.uniform(25, 70);
  surface.phase = rng.uniform(0, 2 * kPi);
  return surface;
}

std::vector<Surface> draw_surfaces(double width, double height, Rng& rng) {
  std::vector<int> kinds(kStuff);
  for (int i = 0; i < kStuff; ++i) kinds[static_cast<std::size_t>(i)] = i;
  rng.shuffle(std::span<int>(kinds));
  std::vector<Surface> surfaces{draw_surface(kinds[0], rng)};
  const double extra = rng.uniform();
  if (extra > 0.15) {  // a second surface below a horizon, or beside a border
    Surface second = draw_surface(kinds[1], rng);
    second.border = Surface::Border::kLine;
    const bool horizon = rng.uniform() < 0.6;
    second.angle = horizon ? kPi / 2 + rng.uniform(-0.25, 0.25) : rng.uniform(0, 2 * kPi);
    second.x = width * rng.uniform(0.35, 0.65);
    second.y = height * rng.uniform(0.35, 0.65);
    surfaces.push_back(second);
  }
  if (extra > 0.55) {  // a pond, a carpet, a patch of something else
    Surface pond = draw_surface(kinds[2], rng);
    pond.border = Surface::Border::kPond;
    pond.x = width * rng.uniform(0.15, 0.85);
    pond.y = height * rng.uniform(0.15, 0.85);
    pond.radius_x = width * rng.uniform(0.22, 0.38);
    pond.radius_y = height * rng.uniform(0.22, 0.38);
    pond.angle = rng.uniform(0, kPi);
    surfaces.push_back(pond);
  }
  return surfaces;
}

double overlap(const Thing& a, const Thing& b) {
  const double reach = a.radius + b.radius;
  const double distance = std::hypot(a.x - b.x, a.y - b.y);
  return std::max(0.0, reach - distance) / std::min(a.radius, b.radius);
}

}  // namespace

const std::vector<std::string>& shape_names() {
  static const std::vector<std::string> names{"circle", "square", "triangle", "star", "heart", "cross", "ring", "moon"};
  return names;
}

const std::vector<std::string>& colour_names() {
  static const std::vector<std::string> names{"red", "yellow", "green", "blue", "purple", "white"};
  return names;
}

const std::vector<std::string>& pattern_names() {
  static const std::vector<std::string> names{"plain", "striped", "dotted", "checked"};
  return names;
}

const std::vector<std::string>& stuff_names() {
  static const std::vector<std::string> names{"grass", "water", "sand", "bricks", "planks", "pebbles", "snow", "tiles"};
  return names;
}

const std::vector<std::string>& class_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const std::string& shape : shape_names())
      for (const std::string& colour : colour_names()) all.push_back(colour + " " + shape);
    all.insert(all.end(), stuff_names().begin(), stuff_names().end());
    return all;
  }();
  return names;
}

// Every pattern still occurs with every colour and with every shape, only not with every pair of them.
bool held_out(const Look& look) {
  return (look.shape + look.colour) % kPatterns == look.pattern;
}

Scene make_scene(const SceneOptions& options, Rng& rng) {
  Scene scene;
  const double shorter = options.longer_side * rng.uniform(0.72, 1.0);
  const bool landscape = rng.uniform() < 0.65;
  scene.width = std::round(landscape ? options.longer_side : shorter);
  scene.height = std::round(landscape ? shorter : options.longer_side);
  scene.surfaces = draw_surfaces(scene.width, scene.height, rng);
  const int wanted =
      options.min_things +
      static_cast<int>(rng.below(static_cast<std::uint64_t>(options.max_things - options.min_things + 1)));
  for (int attempt = 0; static_cast<int>(scene.things.size()) < wanted && attempt < 40 * wanted; ++attempt) {
    Thing thing;
    thing.look = draw_look(options.combinations, rng);
    thing.radius = rng.uniform(options.min_radius, options.max_radius);
    thing.x = rng.uniform(thing.radius + 1, scene.width - thing.radius - 1);
    thing.y = rng.uniform(thing.radius + 1, scene.height - thing.radius - 1);
    thing.angle = rng.uniform(-0.25, 0.25);
    thing.tint = rng.uniform(-1, 1);
    const bool free = std::none_of(scene.things.begin(), scene.things.end(),
                                   [&](const Thing& other) { return overlap(thing, other) > 0.12; });
    if (free) scene.things.push_back(thing);
  }
  return scene;
}

int surface_at(const Scene& scene, double x, double y) {
  for (std::size_t i = scene.surfaces.size(); i-- > 0;)
    if (surface_side(scene.surfaces[i], x, y) > 0) return static_cast<int>(i);
  return 0;
}

double surface_side(const Surface& surface, double x, double y) {
  if (surface.border == Surface::Border::kEverywhere) return 1;
  const double c = std::cos(surface.angle), s = std::sin(surface.angle);
  const double along = (x - surface.x) * c + (y - surface.y) * s;
  const double across = (y - surface.y) * c - (x - surface.x) * s;
  if (surface.border == Surface::Border::kLine)
    return along + surface.wave * std::sin(2 * kPi * across / surface.wave_length + surface.phase);
  const double distance = std::hypot(along / surface.radius_x, across / surface.radius_y);
  const double wobble = 1 + 0.02 * surface.wave * std::sin(3 * std::atan2(across, along) + surface.phase);
  return (wobble - distance) * std::min(surface.radius_x, surface.radius_y);
}

std::vector<int> stuff_in(const Scene& scene, const ops::Box& window) {
  constexpr int kSteps = 10;
  std::vector<int> hits(scene.surfaces.size());
  for (int row = 0; row < kSteps; ++row)
    for (int column = 0; column < kSteps; ++column) {
      const double x = window.x0 + (window.x1 - window.x0) * (column + 0.5) / kSteps;
      const double y = window.y0 + (window.y1 - window.y0) * (row + 0.5) / kSteps;
      ++hits[static_cast<std::size_t>(surface_at(scene, x, y))];
    }
  std::vector<std::size_t> order(hits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return hits[a] > hits[b]; });
  std::vector<int> stuff;
  for (const std::size_t i : order)
    if (hits[i] > kSteps * kSteps / 8) stuff.push_back(scene.surfaces[i].stuff);
  return stuff;
}

double visible_part(const Thing& thing, const ops::Box& window) {
  const double w = std::min(thing.x + thing.radius, window.x1) - std::max(thing.x - thing.radius, window.x0);
  const double h = std::min(thing.y + thing.radius, window.y1) - std::max(thing.y - thing.radius, window.y0);
  return std::max(0.0, w) * std::max(0.0, h) / (4 * thing.radius * thing.radius);
}

CloseUp make_close_up(double variety, Rng& rng) {
  const std::size_t max_things = variety < 0.5 ? 1 : 2;
  // Photos with captions come from a wider and busier world than the data set's scenes.
  SceneOptions options{.longer_side = 192, .min_things = 3, .max_things = 6, .min_radius = 14, .max_radius = 27};
  const bool surfaces_only = rng.below(8) == 0;
  if (surfaces_only) options.min_things = options.max_things = 0;
  while (true) {
    CloseUp view{make_scene(options, rng), {}, {}};
    const Scene& scene = view.scene;
    double x = rng.uniform(0, scene.width), y = rng.uniform(0, scene.height), half = rng.uniform(18, 60);
    if (!scene.things.empty()) {
      const Thing& subject = scene.things[rng.below(scene.things.size())];
      half = subject.radius * rng.uniform(1.0, 1.2 + 1.2 * variety);
      const double play = variety * std::max(0.15 * subject.radius, half - subject.radius);
      x = subject.x + rng.uniform(-play, play);
      y = subject.y + rng.uniform(-play, play);
    }
    const double stretch = rng.uniform() < 0.5 ? 1.0 : 1.0 - variety * rng.uniform(0, 0.3);
    const bool wide = rng.below(2) == 0;
    const double half_w = half * (wide ? 1.0 : stretch), half_h = half * (wide ? stretch : 1.0);
    view.window = {std::max(0.0, x - half_w), std::max(0.0, y - half_h), std::min(scene.width, x + half_w),
                   std::min(scene.height, y + half_h)};
    std::vector<const Thing*> seen;
    for (const Thing& thing : scene.things)
      if (visible_part(thing, view.window) > 0.6) seen.push_back(&thing);
    if (seen.size() > max_things || (seen.empty() && !surfaces_only)) continue;
    view.caption = describe(seen, stuff_in(scene, view.window), rng);
    return view;
  }
}

}  // namespace clipself::scenes
