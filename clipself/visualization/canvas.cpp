#include "clipself/visualization/canvas.h"

#include <algorithm>

#include "clipself/base/error.h"

namespace clipself::visualization {

namespace {

const Glyph& glyph_of(char c, const Font& font) {
  const int index = c >= 32 && c < 127 ? c - 32 : '?' - 32;
  return font.glyphs[static_cast<std::size_t>(index)];
}

// UTF-8 to the letters the font has, one a character.
std::string letters_of(std::string_view text) {
  // U+00C0 to U+00FF without their accents.
  constexpr std::string_view kLatin = "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYPsaaaaaaaceeeeiiiidnooooo/ouuuuypy";
  std::string letters;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xC0U) == 0x80U) continue;  // the rest of a character that is already there
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    if (byte < 0x80U)
      letters.push_back(text[i]);
    else if (byte == 0xC3U && (next & 0xC0U) == 0x80U)
      letters.push_back(kLatin[next & 0x3FU]);
    else
      letters.push_back('?');
  }
  return letters;
}

int letters_width(std::string_view letters, const Font& font) {
  int width = 0;
  for (const char c : letters) width += glyph_of(c, font).width;
  return width;
}

}  // namespace

Canvas::Canvas(int width, int height, Colour background)
    : image_{.mode = formats::ImageMode::kRGB, .width = width, .height = height, .pixels = {}} {
  image_.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  fill(0, 0, width, height, background);
}

Canvas::Canvas(formats::Image picture) : image_(std::move(picture)) {
  if (image_.mode != formats::ImageMode::kRGB)
    throw Error({.doing = "drawing on a picture", .found = formats::name(image_.mode), .expected = "RGB"});
}

void Canvas::blend(int x, int y, Colour colour, int opacity) {
  if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) return;
  std::uint8_t* pixel =
      image_.pixels.data() + 3 * (static_cast<std::ptrdiff_t>(y) * image_.width + static_cast<std::ptrdiff_t>(x));
  for (std::size_t c = 0; c < 3; ++c)
    pixel[c] = static_cast<std::uint8_t>((pixel[c] * (255 - opacity) + colour[c] * opacity + 127) / 255);
}

void Canvas::fill(int x, int y, int width, int height, Colour colour) {
  const int right = std::min(x + width, image_.width), bottom = std::min(y + height, image_.height);
  for (int row = std::max(y, 0); row < bottom; ++row)
    for (int column = std::max(x, 0); column < right; ++column) blend(column, row, colour, 255);
}

void Canvas::frame(int x, int y, int width, int height, int line, Colour colour) {
  line = std::min({line, width, height});
  fill(x, y, width, line, colour);
  fill(x, y + height - line, width, line, colour);
  fill(x, y, line, height, colour);
  fill(x + width - line, y, line, height, colour);
}

void Canvas::paste(const formats::Image& picture, int x, int y) {
  for (int row = 0; row < picture.height; ++row)
    for (int column = 0; column < picture.width; ++column) {
      const std::uint8_t* pixel = picture.row(row) + 3 * column;
      blend(x + column, y + row, {pixel[0], pixel[1], pixel[2]}, 255);
    }
}

void Canvas::stamp(const std::string& letters, int x, int y, const Font& font, Colour colour, int opacity) {
  for (const char c : letters) {
    const Glyph& glyph = glyph_of(c, font);
    for (int row = 0; row < font.height; ++row)
      for (int column = 0; column < glyph.width; ++column) {
        const int coverage = glyph.coverage[static_cast<std::size_t>(row * glyph.width + column)];
        if (coverage > 0) blend(x + column, y + row, colour, coverage * opacity / 255);
      }
    x += glyph.width;
  }
}

void Canvas::write(std::string_view text, int x, int y, const Font& font, Colour colour, bool halo) {
  const std::string letters = letters_of(text);
  if (halo)
    for (int dy = -1; dy <= 1; ++dy)
      for (int dx = -1; dx <= 1; ++dx)
        if (dx != 0 || dy != 0) stamp(letters, x + dx * font.scale, y + dy * font.scale, font, {16, 20, 28}, 150);
  stamp(letters, x, y, font, colour, 255);
}

int Canvas::width_of(std::string_view text, const Font& font) {
  return letters_width(letters_of(text), font);
}

std::string Canvas::fitted(std::string_view text, const Font& font, int width) {
  std::string letters = letters_of(text);
  if (letters_width(letters, font) <= width) return std::string(text);
  while (!letters.empty() && letters_width(letters + "...", font) > width) letters.pop_back();
  return letters.empty() ? letters : letters + "...";
}

}  // namespace clipself::visualization
