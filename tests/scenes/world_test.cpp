// The world itself: what may occur, what is held out, and what a seed fixes.
#include "clipself/scenes/world.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <set>

#include "clipself/base/error.h"
#include "clipself/scenes/captions.h"
#include "clipself/scenes/render.h"
#include "clipself/scenes/shapes.h"

namespace clipself::scenes {
namespace {

TEST(World, HoldsOutOnePatternOfEveryClassAndKeepsEveryPair) {
  std::set<std::pair<int, int>> colour_pattern, shape_pattern;
  int held = 0;
  for (int shape = 0; shape < kShapes; ++shape)
    for (int colour = 0; colour < kColours; ++colour) {
      int of_class = 0;
      for (int pattern = 0; pattern < kPatterns; ++pattern) {
        if (held_out({shape, colour, pattern})) {
          ++of_class;
        } else {
          colour_pattern.insert({colour, pattern});
          shape_pattern.insert({shape, pattern});
        }
      }
      EXPECT_EQ(of_class, 1);
      held += of_class;
    }
  EXPECT_EQ(held, kThings);
  EXPECT_EQ(colour_pattern.size(), static_cast<std::size_t>(kColours * kPatterns));
  EXPECT_EQ(shape_pattern.size(), static_cast<std::size_t>(kShapes * kPatterns));
}

TEST(World, ClassNamesAreDistinctAndFollowTheLabels) {
  const auto& names = class_names();
  ASSERT_EQ(names.size(), 56U);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 56U);
  const Look look{.shape = 3, .colour = 2, .pattern = 0};
  EXPECT_EQ(names[static_cast<std::size_t>(look.label())], "green star");
  EXPECT_EQ(names[kThings], "grass");
}

TEST(World, ScenesShowOnlyTheCombinationsAskedForAndKeepThingsInside) {
  for (const auto combinations : {Combinations::kSeen, Combinations::kHeldOut})
    for (std::uint64_t i = 0; i < 60; ++i) {
      Rng rng(5, 1, i);
      SceneOptions options;
      options.combinations = combinations;
      const Scene scene = make_scene(options, rng);
      EXPECT_GE(scene.things.size(), 2U);
      EXPECT_LE(scene.things.size(), 6U);
      EXPECT_EQ(std::max(scene.width, scene.height), options.longer_side);
      std::set<int> stuff;
      for (const Surface& surface : scene.surfaces) stuff.insert(surface.stuff);
      EXPECT_EQ(stuff.size(), scene.surfaces.size());  // no kind twice: a kind is one panoptic segment
      for (const Thing& thing : scene.things) {
        EXPECT_EQ(held_out(thing.look), combinations == Combinations::kHeldOut);
        EXPECT_GE(thing.x - thing.radius, 0);
        EXPECT_LE(thing.x + thing.radius, scene.width);
        EXPECT_GE(thing.y - thing.radius, 0);
        EXPECT_LE(thing.y + thing.radius, scene.height);
      }
    }
}

TEST(World, CloseUpsNeverShowHeldOutCombinationsAndNameWhatTheyShow) {
  for (std::uint64_t i = 0; i < 200; ++i) {
    Rng rng(6, 2, i);
    const CloseUp view = make_close_up(1.0, rng);
    int seen = 0;
    for (const Thing& thing : view.scene.things) {
      EXPECT_FALSE(held_out(thing.look));
      if (visible_part(thing, view.window) <= 0.6) continue;
      ++seen;
      EXPECT_NE(view.caption.find(class_names()[static_cast<std::size_t>(thing.look.label())]), std::string::npos)
          << view.caption;
    }
    EXPECT_LE(seen, 2);
    EXPECT_FALSE(view.caption.empty());
  }
}

TEST(World, VisiblePartIsTheShareOfTheBoundingSquare) {
  const Thing thing{.look = {}, .x = 10, .y = 20, .radius = 4, .angle = 0, .tint = 0};
  EXPECT_DOUBLE_EQ(visible_part(thing, {0, 0, 100, 100}), 1.0);
  EXPECT_DOUBLE_EQ(visible_part(thing, {10, 0, 100, 20}), 0.25);
  EXPECT_DOUBLE_EQ(visible_part(thing, {50, 50, 60, 60}), 0.0);
}

// Areas of the outlines by counting, against geometry.
TEST(Shapes, EncloseTheAreaOfTheirGeometry) {
  constexpr double kPi = std::numbers::pi;
  const double star = 5 * 1.06 * 0.45 * std::sin(kPi / 5);  // ten triangles between the two radii
  const std::pair<int, double> cases[] = {{0, kPi * 0.92 * 0.92},
                                          {1, 1.6 * 1.6},
                                          {2, 0.5 * 1.96 * 1.73},
                                          {3, star},
                                          {5, 4 * 0.95 * 0.33 * 2 - 4 * 0.33 * 0.33},
                                          {6, kPi * (0.94 * 0.94 - 0.4 * 0.4)}};
  constexpr int kSide = 1200;
  for (const auto& [shape, area] : cases) {
    int inside = 0;
    for (int i = 0; i < kSide; ++i)
      for (int j = 0; j < kSide; ++j) {
        const float x = 2.4F * (static_cast<float>(i) + 0.5F) / kSide - 1.2F;
        const float y = 2.4F * (static_cast<float>(j) + 0.5F) / kSide - 1.2F;
        inside += shape_distance(shape, x, y) < 0 ? 1 : 0;
      }
    EXPECT_NEAR(inside * 2.4 * 2.4 / (kSide * kSide), area, 0.01) << shape_names()[static_cast<std::size_t>(shape)];
  }
}

TEST(Shapes, AllStayWithinTheirReachAndDiffer) {
  std::set<std::string> outlines;
  for (int shape = 0; shape < kShapes; ++shape) {
    std::string outline;
    for (int i = 0; i < 24; ++i)
      for (int j = 0; j < 24; ++j) {
        const float x = static_cast<float>(i) / 8 - 1.5F + 0.0625F, y = static_cast<float>(j) / 8 - 1.5F + 0.0625F;
        const bool inside = shape_distance(shape, x, y) < 0;
        outline += inside ? '#' : '.';
        if (std::hypot(x, y) > 1.3F) {
          EXPECT_FALSE(inside);
        }
      }
    outlines.insert(outline);
  }
  EXPECT_EQ(outlines.size(), static_cast<std::size_t>(kShapes));
}

TEST(Render, IsTheSameTwiceAndAWindowIsAPartOfTheWhole) {
  Rng rng(7, 1, 3);
  const Scene scene = make_scene({}, rng);
  const Rendering whole = render(scene, 1.0), again = render(scene, 1.0);
  EXPECT_EQ(whole.image.pixels, again.image.pixels);
  const Rendering window = render(scene, {20, 30, 84, 78}, 64, 48);
  for (int y = 0; y < 48; ++y)
    for (int x = 0; x < 64; ++x) {
      const auto at = static_cast<std::size_t>((y + 30) * whole.image.width + x + 20);
      ASSERT_EQ(window.owners[static_cast<std::size_t>(y * 64 + x)], whole.owners[at]);
      for (int c = 0; c < 3; ++c)
        ASSERT_NEAR(window.image.row(y)[3 * x + c], whole.image.row(y + 30)[3 * (x + 20) + c], 1);
    }
}

TEST(Render, APlainThingShowsItsClassColour) {
  Scene scene{.width = 60, .height = 60, .surfaces = {Surface{}}, .things = {}};
  for (int colour = 0; colour < kColours; ++colour) {
    scene.things = {{.look = {.shape = 1, .colour = colour, .pattern = 0}, .x = 30, .y = 30, .radius = 20}};
    const Rendering picture = render(scene, 1.0);
    const Colour expected = class_colour(scene.things[0].look.label());
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(picture.image.row(30)[90 + c], expected[c], 6);
    EXPECT_EQ(picture.owners[30 * 60 + 30], 0);
    EXPECT_EQ(picture.owners[0], 1);  // the surface
  }
}

TEST(Captions, NameThingsAndSurfacesWithKnownWordsOnly) {
  for (std::uint64_t i = 0; i < 100; ++i) {
    Rng rng(8, 3, i);
    const Scene scene = make_scene({}, rng);
    const std::string caption = describe_scene(scene, rng);
    for (const Thing& thing : scene.things)
      EXPECT_NE(caption.find(class_names()[static_cast<std::size_t>(thing.look.label())]), std::string::npos);
    EXPECT_NO_THROW(tokenize(caption));
  }
}

TEST(Captions, TokensAreStartWordsEndPaddingAndTheEndIsTheHighest) {
  const auto& words = vocabulary();
  const auto id = [&](const std::string& word) {
    return static_cast<std::int64_t>(std::find(words.begin(), words.end(), word) - words.begin()) + 1;
  };
  const auto tokens = tokenize("a red star");
  ASSERT_EQ(tokens.size(), static_cast<std::size_t>(kContextLength));
  const std::int64_t end = vocabulary_size() - 1;
  const std::vector<std::int64_t> expected{end - 1, id("a"), id("red"), id("star"), end};
  EXPECT_EQ(std::vector<std::int64_t>(tokens.begin(), tokens.begin() + 5), expected);
  for (std::size_t i = 5; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], 0);
  std::string longer = "a";
  for (int i = 0; i < 40; ++i) longer += " star";
  const auto cut = tokenize(longer);
  EXPECT_EQ(cut.size(), static_cast<std::size_t>(kContextLength));
  EXPECT_EQ(cut.back(), end);
  EXPECT_THROW(tokenize("a red zebra"), Error);
}

}  // namespace
}  // namespace clipself::scenes
