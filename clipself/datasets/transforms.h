// From an image to a model's input, as the original's two transforms do it.
#pragma once

#include <array>
#include <cstdint>

#include "clipself/base/torch.h"
#include "clipself/formats/image.h"
#include "clipself/models/clip_model.h"
#include "clipself/ops/image_resize.h"

namespace clipself::datasets {

/// Longer side to `size` (bicubic, in the image's own mode, sizes rounded half to even and at least 1), zero-padded
/// right and bottom to a square, RGB.
formats::Image resize_longest(const formats::Image& image, int size);
/// Width and height of a picture of that size within the square of resize_longest.
std::array<int, 2> longest_size(int width, int height, int size);
/// The factor resize_longest applies to box coordinates: min(size / width, size / height).
double longest_scale(int width, int height, int size);
/// Crop, longer side to `size`, padding shared by both sides (left and top get the smaller half), RGB. A crop so thin
/// that a side rounds to zero, in the image or after resizing, gets one pixel (the original raises).
formats::Image crop_and_resize(const formats::Image& image, const ops::Box& box, int size);

/// CLIP's preprocessing up to the tensor, as torchvision's Resize(size, BICUBIC) and CenterCrop(size) do it to a Pillow
/// image: shorter side to `size` in the image's own mode, the longer to the whole part of size * longer / shorter,
/// offsets of the centre rounded half to even. RGB, size x size. Throws Error for more than 2^28 pixels on the way.
formats::Image resize_shortest_and_crop(const formats::Image& image, int size);

/// A whole picture at a model's native size, as its publisher prepares it: resize_shortest_and_crop, or stretched to
/// the square (SigLIP, ClipConfig::squash), bicubic.
formats::Image whole_image(const formats::Image& image, const models::ClipConfig& config);

/// RGB image as a uint8 tensor (3, H, W).
at::Tensor to_tensor(const formats::Image& rgb);
/// The same into memory that holds 3 * H * W bytes.
void write_planes(const formats::Image& rgb, std::uint8_t* out);
/// (x / 255 - mean) / std of a uint8 tensor (..., 3, H, W), in float32, on the tensor's device.
at::Tensor normalize(const at::Tensor& pixels, const models::PixelStatistics& statistics);
/// Images as `model` takes them, on its device, in float32: uint8 pixels (..., 3, H, W) are normalised by its
/// statistics, floats are taken as normalised.
at::Tensor model_input(models::ClipModel& model, const at::Tensor& images);

/// How a mask (H, W) is brought to the token grid.
enum class MaskRule {
  kBicubic,           ///< the paper's code under torchvision <= 0.16: bicubic without antialiasing, then > 0 (default)
  kBicubicAntialias,  ///< the same code under torchvision >= 0.17, where antialiasing became the default
};
/// bool or uint8 (H, W) on the CPU -> float (size, size): longer side to `size` (at least 1 the shorter), padded right
/// and bottom with 0. Not thresholded.
at::Tensor resize_mask(const at::Tensor& mask, int size, MaskRule rule = MaskRule::kBicubic);

}  // namespace clipself::datasets
