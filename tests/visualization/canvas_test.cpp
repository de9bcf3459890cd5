// Drawing for people: letters land where they should.
#include "clipself/visualization/canvas.h"

#include <gtest/gtest.h>

#include "clipself/base/error.h"

namespace clipself::visualization {
namespace {

int dark_pixels(const formats::Image& image, int x0, int x1) {
  int count = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = x0; x < x1; ++x) count += image.row(y)[3 * x] < 100 ? 1 : 0;
  return count;
}

TEST(Canvas, EveryCharacterHasAGlyphOfTheFontsHeight) {
  for (const Font* font : {&text_font(), &title_font()}) {
    ASSERT_EQ(font->glyphs.size(), 95U);
    for (const Glyph& glyph : font->glyphs)
      EXPECT_EQ(glyph.coverage.size(), static_cast<std::size_t>(glyph.width * font->height));
  }
}

TEST(Canvas, WritesInsideTheMeasuredWidthOnly) {
  const std::string text = "red star";
  const int width = Canvas::width_of(text, text_font());
  Canvas canvas(width + 40, 30, {255, 255, 255});
  canvas.write(text, 20, 5, text_font(), {0, 0, 0});
  EXPECT_GT(dark_pixels(canvas.image(), 20, 20 + width), 60);
  EXPECT_EQ(dark_pixels(canvas.image(), 0, 19) + dark_pixels(canvas.image(), 21 + width, width + 40), 0);
}

TEST(Canvas, CutsWhatLiesOutside) {
  Canvas canvas(20, 20, {255, 255, 255});
  canvas.write("outside", -30, -5, title_font(), {0, 0, 0}, true);
  canvas.fill(10, 10, 500, 500, {0, 0, 0});
  EXPECT_EQ(canvas.image().pixels.size(), 20U * 20U * 3U);
  EXPECT_EQ(canvas.image().row(15)[3 * 15], 0);
  Canvas empty(20, 20, {255, 255, 255});
  empty.write("outside", 21, 5, title_font(), {0, 0, 0}, true);
  EXPECT_EQ(dark_pixels(empty.image(), 0, 20), 0);
}

TEST(Canvas, OneLetterAnUtf8CharacterAndNoAccents) {
  EXPECT_EQ(Canvas::width_of("pi\u00f1ata \u00c9", text_font()), Canvas::width_of("pinata E", text_font()));
  EXPECT_EQ(Canvas::width_of("\u732b", text_font()), Canvas::width_of("?", text_font()));
  EXPECT_EQ(Canvas::width_of("\xc3", text_font()), Canvas::width_of("?", text_font()));
}

TEST(Canvas, CutsATextToFit) {
  const std::string text = "a rather long class name";
  const int width = Canvas::width_of(text, text_font());
  EXPECT_EQ(Canvas::fitted(text, text_font(), width), text);
  const std::string cut = Canvas::fitted(text, text_font(), width - 1);
  EXPECT_TRUE(cut.ends_with("...") && text.starts_with(cut.substr(0, cut.size() - 3)));
  EXPECT_LE(Canvas::width_of(cut, text_font()), width - 1);
  EXPECT_EQ(Canvas::fitted(text, text_font(), 1), "");
}

TEST(Canvas, AnEnlargedFontKeepsItsProportions) {
  const Font large = enlarged(text_font(), 3);
  EXPECT_EQ(large.height, 3 * text_font().height);
  EXPECT_EQ(Canvas::width_of("red star", large), 3 * Canvas::width_of("red star", text_font()));
  std::int64_t small_ink = 0, large_ink = 0;
  for (const Glyph& glyph : text_font().glyphs)
    for (const int coverage : glyph.coverage) small_ink += coverage;
  for (const Glyph& glyph : large.glyphs)
    for (const int coverage : glyph.coverage) large_ink += coverage;
  EXPECT_NEAR(static_cast<double>(large_ink) / (9.0 * static_cast<double>(small_ink)), 1.0, 0.1);
}

TEST(Canvas, DrawsAFrameOfTheThicknessAskedFor) {
  Canvas canvas(12, 10, {255, 255, 255});
  canvas.frame(1, 1, 8, 6, 2, {0, 0, 0});
  EXPECT_EQ(dark_pixels(canvas.image(), 0, 12), 8 * 6 - 4 * 2);
  Canvas thin(12, 10, {255, 255, 255});
  thin.frame(1, 1, 8, 1, 5, {0, 0, 0});
  EXPECT_EQ(dark_pixels(thin.image(), 0, 12), 8);
}

TEST(Canvas, RefusesAPictureThatIsNotRgb) {
  EXPECT_THROW(Canvas(formats::blank_image(formats::ImageMode::kL, 4, 4)), Error);
}

}  // namespace
}  // namespace clipself::visualization
