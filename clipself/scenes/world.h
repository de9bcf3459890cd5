// The built-in world: coloured, patterned shapes ("things") lying on surfaces ("stuff"), drawn from a seed.
//
// A scene is a description in abstract units; render.h turns any window of it into pixels at any resolution, which is
// how one world gives photos for a data set, close-ups for captions and large pictures for people.
#pragma once

#include <string>
#include <vector>

#include "clipself/base/random.h"
#include "clipself/ops/image_resize.h"

namespace clipself::scenes {

inline constexpr int kShapes = 8;
inline constexpr int kColours = 6;
inline constexpr int kPatterns = 4;
inline constexpr int kThings = kShapes * kColours;
inline constexpr int kStuff = 8;
inline constexpr int kClasses = kThings + kStuff;

const std::vector<std::string>& shape_names();    ///< "circle", "square", ...
const std::vector<std::string>& colour_names();   ///< "red", "yellow", ...
const std::vector<std::string>& pattern_names();  ///< "plain", "striped", "dotted", "checked"
const std::vector<std::string>& stuff_names();    ///< "grass", "water", ...

/// The 56 classes by label: "red circle", ... (things, the colour changing fastest), then stuff.
const std::vector<std::string>& class_names();
inline bool is_thing_class(int label) {
  return label < kThings;
}

/// How a thing looks. Its class is its colour and shape; the pattern is not part of the class.
struct Look {
  int shape = 0;
  int colour = 0;
  int pattern = 0;
  int label() const { return shape * kColours + colour; }
};
/// A quarter of all combinations of colour, shape and pattern, one pattern a class, is never shown in training.
bool held_out(const Look& look);

/// One thing: centre, radius and angle in units and radians. The bounding circle's radius is about `radius`.
struct Thing {
  Look look;
  double x = 0, y = 0, radius = 0, angle = 0;
  double tint = 0;  ///< -1..1, a small shift of brightness
};

/// A surface; it covers what its border leaves on the positive side, later surfaces on top of earlier ones.
struct Surface {
  enum class Border { kEverywhere, kLine, kPond };
  int stuff = 0;
  Border border = Border::kEverywhere;
  double x = 0, y = 0;  ///< a point of the line, or the pond's centre
  double angle = 0;     ///< direction the line's positive side lies in; the pond's turn
  double radius_x = 0, radius_y = 0;
  double wave = 0, wave_length = 1, phase = 0;  ///< how the border undulates
  double tint = 0;
  double offset_u = 0, offset_v = 0;  ///< where its texture starts
  double zoom = 1;                    ///< size of the texture
};

struct Scene {
  double width = 0, height = 0;  ///< units
  std::vector<Surface> surfaces;
  std::vector<Thing> things;  ///< later ones on top
};

enum class Combinations { kSeen, kHeldOut };

struct SceneOptions {
  double longer_side = 144;
  int min_things = 2;
  int max_things = 4;
  double min_radius = 18;
  double max_radius = 30;
  Combinations combinations = Combinations::kSeen;
};

/// A scene with things that hardly overlap, on one to three different surfaces.
Scene make_scene(const SceneOptions& options, Rng& rng);

/// Signed distance, roughly, from the surface's border at a point: positive where the surface lies. Units.
double surface_side(const Surface& surface, double x, double y);
/// Which of the scene's surfaces is on top at a point (things not counted).
int surface_at(const Scene& scene, double x, double y);
/// The kinds of stuff that cover at least an eighth of the window (things not counted), the largest first.
std::vector<int> stuff_in(const Scene& scene, const ops::Box& window);

/// Area of the thing's bounding square that lies in the window, as a part of it.
double visible_part(const Thing& thing, const ops::Box& window);

/// A window on a scene with the caption of what can be seen in it.
struct CloseUp {
  Scene scene;
  ops::Box window;
  std::string caption;
};
/// A window around a thing (one in eight shows surfaces alone). `variety` in 0..1: at 0 the thing fills the picture,
/// alone and centred; at 1 it may be small, off centre and cut by the border, with another one beside it.
CloseUp make_close_up(double variety, Rng& rng);

}  // namespace clipself::scenes
