// Two sizes of a proportional typeface for writing on pictures.
#pragma once

#include <cstdint>
#include <vector>

namespace clipself::scenes {

struct Glyph {
  int width = 0;                       ///< pixels, also how far the pen moves
  std::vector<std::uint8_t> coverage;  ///< width * height of the font, row by row, 255 is full
};
struct Font {
  int height = 0;
  std::vector<Glyph> glyphs;  ///< characters 32 to 126
};

const Font& text_font();   ///< for labels, 13 pixels
const Font& title_font();  ///< for headings, 19 pixels, bold

}  // namespace clipself::scenes
