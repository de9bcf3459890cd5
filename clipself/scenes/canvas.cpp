#include "clipself/scenes/canvas.h"

#include <algorithm>

namespace clipself::scenes {

namespace {

const Glyph& glyph_of(char c, const Font& font) {
  const int index = c >= 32 && c < 127 ? c - 32 : '?' - 32;
  return font.glyphs[static_cast<std::size_t>(index)];
}

}  // namespace

Canvas::Canvas(int width, int height, Colour background)
    : image_{.mode = formats::ImageMode::kRGB, .width = width, .height = height, .pixels = {}} {
  image_.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  fill(0, 0, width, height, background);
}

void Canvas::blend(int x, int y, Colour colour, int opacity) {
  if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) return;
  std::uint8_t* pixel =
      image_.pixels.data() + 3 * (static_cast<std::ptrdiff_t>(y) * image_.width + static_cast<std::ptrdiff_t>(x));
  for (std::size_t c = 0; c < 3; ++c)
    pixel[c] = static_cast<std::uint8_t>((pixel[c] * (255 - opacity) + colour[c] * opacity + 127) / 255);
}

void Canvas::fill(int x, int y, int width, int height, Colour colour) {
  for (int row = y; row < y + height; ++row)
    for (int column = x; column < x + width; ++column) blend(column, row, colour, 255);
}

void Canvas::paste(const formats::Image& picture, int x, int y) {
  for (int row = 0; row < picture.height; ++row)
    for (int column = 0; column < picture.width; ++column) {
      const std::uint8_t* pixel = picture.row(row) + 3 * column;
      blend(x + column, y + row, {pixel[0], pixel[1], pixel[2]}, 255);
    }
}

void Canvas::stamp(const std::string& text, int x, int y, const Font& font, Colour colour, int opacity) {
  for (const char c : text) {
    const Glyph& glyph = glyph_of(c, font);
    for (int row = 0; row < font.height; ++row)
      for (int column = 0; column < glyph.width; ++column) {
        const int coverage = glyph.coverage[static_cast<std::size_t>(row * glyph.width + column)];
        if (coverage > 0) blend(x + column, y + row, colour, coverage * opacity / 255);
      }
    x += glyph.width;
  }
}

void Canvas::write(const std::string& text, int x, int y, const Font& font, Colour colour, bool halo) {
  if (halo)
    for (int dy = -1; dy <= 1; ++dy)
      for (int dx = -1; dx <= 1; ++dx)
        if (dx != 0 || dy != 0) stamp(text, x + dx, y + dy, font, {16, 20, 28}, 150);
  stamp(text, x, y, font, colour, 255);
}

int Canvas::width_of(const std::string& text, const Font& font) {
  int width = 0;
  for (const char c : text) width += glyph_of(c, font).width;
  return width;
}

}  // namespace clipself::scenes
