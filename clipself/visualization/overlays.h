// Numbers and classes of a picture's pixels drawn over the picture, at its own resolution.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/image.h"
#include "clipself/ops/image_resize.h"
#include "clipself/visualization/canvas.h"

namespace clipself::visualization {

/// `values` float (H, W) of the picture's size by viridis, `low` its dark and `high` its bright end, over the picture
/// in grey. Throws Error for another size, as do all of these.
formats::Image heat_overlay(const formats::Image& picture, const at::Tensor& values, double low, double high,
                            double opacity = 0.6);

struct ClassStyle {
  double opacity = 0.55;  ///< of the class's colour over the picture
  bool grey = true;       ///< the picture in grey, so that all hue on it is the classes'
  int line = 1;           ///< thickness of the dark line between classes in pixels; 0: none
};
/// `labels` (one a pixel, row by row) in `colours`; a negative label leaves the picture as it is.
formats::Image class_overlay(const formats::Image& picture, std::span<const int> labels,
                             std::span<const Colour> colours, const ClassStyle& style = {});

/// Values in 0..1, float (3, H, W), as red, green and blue.
formats::Image colour_image(const at::Tensor& channels);

/// Each label's name on its connected regions of at least `least_share` of the pixels, as far as the names do not touch
/// one another, with the map's corner at (left, top) of the canvas. Labels with a lower `rank` (may be empty) come
/// first, then larger regions; a name too wide for the map is cut.
void write_names(Canvas& canvas, int left, int top, std::span<const int> labels, int width, int height,
                 std::span<const std::string> names, const Font& font, std::span<const int> rank = {},
                 double least_share = 1.0 / 110);

struct LabelledBox {
  ops::Box box;  ///< in pixels
  std::string text;
  Colour colour{};
};
/// Frames `line` pixels thick and a plate with the text at each: above its box, or where it hides no other plate.
void draw_boxes(Canvas& canvas, std::span<const LabelledBox> boxes, const Font& font, int line);

}  // namespace clipself::visualization
