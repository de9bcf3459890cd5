// A picture to draw on: rectangles, other pictures, and words.
#pragma once

#include <string>
#include <string_view>

#include "clipself/formats/image.h"
#include "clipself/visualization/colours.h"
#include "clipself/visualization/font.h"

namespace clipself::visualization {

class Canvas {
 public:
  Canvas(int width, int height, Colour background);
  /// Goes on with a picture. Throws Error unless it is RGB.
  explicit Canvas(formats::Image picture);

  void fill(int x, int y, int width, int height, Colour colour);
  /// The outline of a rectangle, `line` pixels thick, inside it.
  void frame(int x, int y, int width, int height, int line, Colour colour);
  /// An RGB picture with its corner at (x, y); what lies outside is left away.
  void paste(const formats::Image& picture, int x, int y);
  /// One line of UTF-8 with its top left corner at (x, y). Latin letters lose their accents, what the font lacks
  /// becomes
  /// "?". `halo`: a dark edge that keeps light letters legible on any ground.
  void write(std::string_view text, int x, int y, const Font& font, Colour colour, bool halo = false);
  static int width_of(std::string_view text, const Font& font);
  /// `text`, or its beginning and "..." when it is wider than `width`.
  static std::string fitted(std::string_view text, const Font& font, int width);

  const formats::Image& image() const { return image_; }

 private:
  void blend(int x, int y, Colour colour, int opacity);
  void stamp(const std::string& letters, int x, int y, const Font& font, Colour colour, int opacity);
  formats::Image image_;
};

}  // namespace clipself::visualization
