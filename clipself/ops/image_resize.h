// Pillow's image geometry, to the uint8 value: resize, crop with fractional corners, padding. And OpenCV's resize,
// which detectors are trained with.
#pragma once

#include <array>

#include "clipself/base/torch.h"
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

/// A rectangle of whole pixels.
struct Window {
  int x = 0, y = 0, width = 0, height = 0;
};

/// OpenCV's resize(INTER_LINEAR) of uint8 channels to width x height, of which only `window` is made: no antialiasing,
/// weights in units of 1/2048, exactly half the size on both sides by the mean of four. Any mode of one byte a channel
/// (modes 1 and P are not: their bytes are no intensities). Throws Error for an empty image or size, for a window that
/// reaches out of it, and for a mode that cannot be interpolated.
formats::Image resize_bilinear_opencv(const formats::Image& image, int width, int height, const Window& window);
formats::Image resize_bilinear_opencv(const formats::Image& image, int width, int height);

/// OpenCV's resize(INTER_NEAREST) of masks, uint8 or bool (n, h, w) on the CPU, to height x width, of which only
/// `window` is made: the same type (n, window.height, window.width). Throws Error as resize_bilinear_opencv does.
at::Tensor resize_masks_opencv(const at::Tensor& masks, int width, int height, const Window& window);

/// Width and height of a picture of that size scaled, keeping its ratio, as large as fits both: the longer side at most
/// `longest`, the shorter at most `shortest`. Halves are rounded up (mmcv's rescale_size); at least 1.
std::array<int, 2> rescale_size(int width, int height, int longest, int shortest);

/// Python's round(): halves go to the even number. Beyond the range of int: its limit; 0 for NaN.
int round_half_even(double value);

}  // namespace clipself::ops
