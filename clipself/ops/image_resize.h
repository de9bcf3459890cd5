// Pillow's image geometry, to the uint8 value: resize, crop with fractional corners, padding.
#pragma once

#include "clipself/formats/image.h"

namespace clipself::ops {

/// A box in pixels, x0 <= x1, y0 <= y1; corners may be fractional.
struct Box {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

/// Pillow's Image.resize(BICUBIC): antialiased convolution in 8-bit fixed point, horizontal pass first, each only when
/// that side changes. In the image's own mode: RGBA and LA premultiplied, P and 1 nearest neighbour, I in double
/// precision. width, height >= 1; throws Error when the image is empty.
formats::Image resize_bicubic(const formats::Image& image, int width, int height);

/// Pillow's Image.crop: corners rounded half to even; what lies outside the image is 0. The result may be empty.
formats::Image crop(const formats::Image& image, const Box& box);

/// resize_bicubic(crop(image, box), width, height), reading the pixels where they are when the box lies inside the
/// image.
formats::Image crop_and_resize_bicubic(const formats::Image& image, const Box& box, int width, int height);

/// Adds columns and rows of `fill` (palette index 0 for P).
formats::Image pad(const formats::Image& image, int left, int top, int right, int bottom, int fill = 0);

/// Python's round(): halves go to the even number. Beyond the range of int: its limit; 0 for NaN.
int round_half_even(double value);

}  // namespace clipself::ops
