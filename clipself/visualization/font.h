// Two sizes of a proportional typeface for writing on pictures.
#pragma once

#include <cstdint>
#include <vector>

namespace clipself::visualization {

struct Glyph {
  int width = 0;                       ///< pixels, also how far the pen moves
  std::vector<std::uint8_t> coverage;  ///< width * height of the font, row by row, 255 is full
};
struct Font {
  int height = 0;
  std::vector<Glyph> glyphs;  ///< characters 32 to 126
  int scale = 1;              ///< how many times larger than drawn
};

const Font& text_font();   ///< for labels, 13 pixels
const Font& title_font();  ///< for headings, 19 pixels, bold
/// `factor` (at least 1) times larger, with smooth edges; for pictures of many pixels.
Font enlarged(const Font& font, int factor);

}  // namespace clipself::visualization
