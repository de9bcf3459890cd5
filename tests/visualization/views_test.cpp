// Where the tokens of a picture are, and what overlays change.
#include <gtest/gtest.h>

#include <cmath>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/visualization/dense_view.h"
#include "clipself/visualization/overlays.h"
#include "clipself/visualization/sheet.h"
#include "tests/models/tiny_model.h"

namespace clipself::visualization {
namespace {

formats::Image noisy(int width, int height) {
  formats::Image image = formats::blank_image(formats::ImageMode::kRGB, width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
  return image;
}

TEST(DenseView, IsThePartOfTheSquareThatHoldsThePicture) {
  const auto model = models::tiny_model();
  model->freeze(at::kFloat);
  const formats::Image picture = noisy(100, 41);
  const DenseView view = dense_view(*model, picture, 64);
  // 64 x 26 pixels (41 * 0.64 = 26.24) in tokens of 8: 8 x 3.25.
  EXPECT_EQ(view.features.sizes(), at::IntArrayRef({12, 4, 8}));
  EXPECT_DOUBLE_EQ(view.columns, 8);
  EXPECT_DOUBLE_EQ(view.rows, 3.25);
  const at::Tensor square = datasets::to_tensor(datasets::resize_longest(picture, 64)).unsqueeze(0);
  const at::Tensor dense = model->encode_dense(datasets::normalize(square, {}));
  EXPECT_TRUE(at::allclose(view.features, dense[0].narrow(1, 0, 4), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(view.features.norm(2, 0), at::ones({4, 8}), 1e-4));
  EXPECT_THROW(dense_view(*model, picture, 60), Error);
}

// The definition, one pixel at a time.
float value_at(const DenseView& view, const at::Tensor& map, int x, int y, int width, int height) {
  const auto clamp = [](double at, std::int64_t tokens) {
    return std::clamp(at, 0.0, static_cast<double>(tokens - 1));
  };
  const double u = clamp((x + 0.5) / width * view.columns - 0.5, map.size(1));
  const double v = clamp((y + 0.5) / height * view.rows - 0.5, map.size(0));
  double sum = 0;
  for (std::int64_t row = 0; row < map.size(0); ++row)
    for (std::int64_t column = 0; column < map.size(1); ++column) {
      const double weight = std::max(0.0, 1 - std::abs(u - static_cast<double>(column))) *
                            std::max(0.0, 1 - std::abs(v - static_cast<double>(row)));
      sum += weight * map[row][column].item<double>();
    }
  return static_cast<float>(sum);
}

TEST(DenseView, EnlargesBetweenTheCentresOfTokens) {
  torch::manual_seed(3);
  DenseView view;
  view.columns = 4.4;
  view.rows = 3;
  const at::Tensor maps = at::randn({2, 3, 5});
  const at::Tensor large = enlarge(view, maps, 31, 17);
  ASSERT_EQ(large.sizes(), at::IntArrayRef({2, 17, 31}));
  for (int y = 0; y < 17; ++y)
    for (int x = 0; x < 31; ++x)
      EXPECT_NEAR(large[1][y][x].item<float>(), value_at(view, maps[1], x, y, 31, 17), 1e-5) << x << " " << y;
  EXPECT_TRUE(at::equal(enlarge_rows(view, maps, 31, 17, 5, 9), large.narrow(1, 5, 4)));
}

TEST(DenseView, EnlargesAFullSquareAsTorchDoes) {
  DenseView view;
  view.columns = view.rows = 6;
  const at::Tensor maps = at::randn({3, 6, 6});
  const at::Tensor expected = at::upsample_bilinear2d(maps.unsqueeze(0), at::IntArrayRef{48, 60}, false)[0];
  EXPECT_TRUE(at::allclose(enlarge(view, maps, 60, 48), expected, 1e-5, 1e-5));
}

TEST(DenseView, TheBestOfManyScoresIsTheirMaximumAtEveryPixel) {
  torch::manual_seed(4);
  DenseView view;
  view.columns = 3.5;
  view.rows = 4;
  const at::Tensor scores = at::randn({5, 4, 4});
  const auto best = best_of(view, scores, 23, 19);
  const at::Tensor expected = enlarge(view, scores, 23, 19).argmax(0).flatten();
  ASSERT_EQ(best.size(), 23U * 19U);
  for (std::int64_t i = 0; i < expected.numel(); ++i)
    EXPECT_EQ(best[static_cast<std::size_t>(i)], expected[i].item<std::int64_t>());
}

TEST(Overlays, AClassLeavesPixelsWithoutOneAlone) {
  const formats::Image picture = noisy(6, 4);
  std::vector<int> labels(24, -1);
  labels[8] = 1;
  const std::vector<Colour> colours{{255, 0, 0}, {0, 0, 255}};
  const formats::Image drawn = class_overlay(picture, labels, colours, {.opacity = 1, .line = 0});
  for (std::size_t i = 0; i < 24; ++i) {
    const std::uint8_t* pixel = drawn.pixels.data() + 3 * i;
    if (i == 8)
      EXPECT_EQ((Colour{pixel[0], pixel[1], pixel[2]}), colours[1]);
    else
      EXPECT_TRUE(std::equal(pixel, pixel + 3, picture.pixels.data() + 3 * i)) << i;
  }
}

TEST(Overlays, LinesStandBetweenClassesOnly) {
  const formats::Image picture = formats::blank_image(formats::ImageMode::kRGB, 8, 2);
  std::vector<int> labels;
  for (int i = 0; i < 16; ++i) labels.push_back(i % 8 < 5 ? 0 : 1);
  const std::vector<Colour> colours{{200, 100, 40}, {40, 200, 100}};
  const formats::Image drawn = class_overlay(picture, labels, colours, {.opacity = 1, .line = 2});
  for (int x = 0; x < 8; ++x) {
    const bool line = x == 3 || x == 4;
    EXPECT_EQ(drawn.row(1)[3 * x] == (x < 5 ? 200 : 40), !line) << x;
  }
  EXPECT_THROW(class_overlay(picture, std::vector<int>(16, 2), colours), Error);
  EXPECT_THROW(class_overlay(picture, std::vector<int>(15, 0), colours), Error);
}

TEST(Overlays, HeatRunsFromDarkToBright) {
  const formats::Image picture = formats::blank_image(formats::ImageMode::kRGB, 3, 1);
  const formats::Image drawn = heat_overlay(picture, at::tensor({0.2F, 0.5F, 0.9F}).view({1, 3}), 0.2, 0.8, 1.0);
  EXPECT_EQ((Colour{drawn.pixels[0], drawn.pixels[1], drawn.pixels[2]}), viridis(0));
  EXPECT_EQ((Colour{drawn.pixels[6], drawn.pixels[7], drawn.pixels[8]}), viridis(1));
  EXPECT_EQ(heat_overlay(noisy(3, 1), at::zeros({1, 3}), 0, 1, 0.0).pixels[0],
            grey_of({noisy(3, 1).pixels[0], noisy(3, 1).pixels[1], noisy(3, 1).pixels[2]}));
  EXPECT_THROW(heat_overlay(picture, at::zeros({2, 3}), 0, 1), Error);
}

TEST(Overlays, BoxesChangeTheirFrameAndPlateOnly) {
  const formats::Image picture = formats::blank_image(formats::ImageMode::kRGB, 200, 120);
  Canvas canvas(picture);
  const LabelledBox box{{60, 40, 140, 100}, "cat", {250, 190, 50}};
  draw_boxes(canvas, {&box, 1}, text_font(), 2);
  const auto coloured = [&](int x, int y) { return canvas.image().row(y)[3 * x] > 100; };
  EXPECT_TRUE(coloured(60, 70) && coloured(61, 70) && coloured(139, 70) && coloured(100, 40) && coloured(100, 99));
  EXPECT_FALSE(coloured(100, 70) || coloured(63, 70) || coloured(20, 20) || coloured(180, 110) || coloured(50, 70));
  EXPECT_TRUE(coloured(60, 36)) << "the plate stands above the box";
}

TEST(Overlays, PlatesOfBoxesInOnePlaceDoNotHideEachOther) {
  Canvas canvas(300, 200, {0, 0, 0});
  std::vector<LabelledBox> boxes;
  for (int i = 0; i < 4; ++i)
    boxes.push_back({{100, 60, 200, 160}, "name", {static_cast<std::uint8_t>(120 + 30 * i), 0, 255}});
  draw_boxes(canvas, boxes, text_font(), 2);
  // A plate of each colour can be seen in full, but for its letters and the frames.
  for (const LabelledBox& box : boxes) {
    int pixels = 0;
    for (int y = 0; y < 200; ++y)
      for (int x = 0; x < 300; ++x) pixels += canvas.image().row(y)[3 * x] == box.colour[0] ? 1 : 0;
    EXPECT_GT(pixels, 250);
  }
}

TEST(Overlays, NamesStandOnLargeRegionsWithoutTouching) {
  Canvas canvas(120, 60, {0, 0, 0});
  std::vector<int> labels;
  for (int i = 0; i < 120 * 60; ++i) labels.push_back(i % 120 < 60 ? 0 : 1);
  labels[0] = 2;
  const std::vector<std::string> names{"left", "right", "speck"};
  write_names(canvas, 0, 0, labels, 120, 60, names, text_font());
  const auto bright = [&](int x0, int x1) {
    int count = 0;
    for (int y = 0; y < 60; ++y)
      for (int x = x0; x < x1; ++x) count += canvas.image().row(y)[3 * x] > 200 ? 1 : 0;
    return count;
  };
  EXPECT_GT(bright(0, 60), 20);
  EXPECT_GT(bright(60, 120), 20);
  EXPECT_EQ(bright(0, 10), 0);
}

TEST(Sheet, HoldsEveryPanelAtItsOwnSize) {
  Sheet sheet;
  sheet.title = "a title";
  for (int i = 0; i < 5; ++i) sheet.panels.push_back({"a heading that is much too long for its panel", noisy(90, 70)});
  sheet.legend = {{{255, 0, 0}, "red things"}, {{0, 0, 255}, "blue things"}};
  sheet.bar = ColourBar{"low", "high"};
  const formats::Image drawn = compose(sheet);
  int found = 0;
  for (int y = 0; y + 70 <= drawn.height; ++y)
    for (int x = 0; x + 90 <= drawn.width; ++x) {
      bool same = true;
      for (int row = 0; row < 70 && same; ++row)
        same = std::equal(sheet.panels[0].image.row(row), sheet.panels[0].image.row(row) + 270,
                          drawn.row(y + row) + 3 * x);
      found += same ? 1 : 0;
    }
  EXPECT_EQ(found, 5);
}

TEST(Sheet, LettersGrowWithThePictures) {
  EXPECT_EQ(SheetStyle(640).unit, 1);
  EXPECT_EQ(SheetStyle(4000).unit, 4);
  EXPECT_EQ(SheetStyle(4000).text.height, 4 * text_font().height);
}

}  // namespace
}  // namespace clipself::visualization
