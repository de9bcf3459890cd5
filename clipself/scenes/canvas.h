// A picture to draw on: rectangles, other pictures, and words.
#pragma once

#include <string>

#include "clipself/formats/image.h"
#include "clipself/scenes/font.h"
#include "clipself/scenes/render.h"

namespace clipself::scenes {

class Canvas {
 public:
  Canvas(int width, int height, Colour background);

  void fill(int x, int y, int width, int height, Colour colour);
  /// An RGB picture with its corner at (x, y); what lies outside is left away.
  void paste(const formats::Image& picture, int x, int y);
  /// One line with its top left corner at (x, y). `halo`: a dark edge that keeps light letters legible on any ground.
  void write(const std::string& text, int x, int y, const Font& font, Colour colour, bool halo = false);
  static int width_of(const std::string& text, const Font& font);

  const formats::Image& image() const { return image_; }

 private:
  void blend(int x, int y, Colour colour, int opacity);
  void stamp(const std::string& text, int x, int y, const Font& font, Colour colour, int opacity);
  formats::Image image_;
};

}  // namespace clipself::scenes
