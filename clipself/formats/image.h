// Images: JPEG and PNG in, PNG out, in the modes Pillow would deliver them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace clipself::formats {

/// As Pillow names them: 1-bit, grey, grey+alpha, RGB, RGB+alpha, palette, 16-bit grey, CMYK.
enum class ImageMode { k1, kL, kLA, kRGB, kRGBA, kP, kI16, kCMYK };

/// "1", "L", "LA", "RGB", "RGBA", "P", "I;16", "CMYK".
const char* name(ImageMode mode);
/// Bytes a pixel: 1, 1, 2, 3, 4, 1, 2, 4.
int bytes_per_pixel(ImageMode mode);

struct Image {
  ImageMode mode = ImageMode::kRGB;
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;                    ///< rows top to bottom, interleaved, no padding; mode 1: 0 or 255 a byte
  std::vector<std::array<std::uint8_t, 3>> palette{};  ///< mode P only

  const std::uint8_t* row(int y) const {
    return pixels.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) *
                               static_cast<std::size_t>(bytes_per_pixel(mode));
  }
};

struct DecodeOptions {
  bool apply_exif_orientation = false;  ///< the original ignores it; so do we unless asked
};

/// Decodes JPEG or PNG, told apart by content; `what` names it in messages. Throws Error for anything else, for broken
/// data, and for more than 2^28 pixels.
Image decode_image(std::span<const std::byte> bytes, const std::string& what, const DecodeOptions& options = {});
Image read_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// Pillow's convert("RGB"): grey repeated, palette looked up, alpha dropped, CMYK inverted product, 16-bit clipped.
Image to_rgb(const Image& image);

/// PNG of an L, RGB or RGBA image, atomically.
void write_png(const std::filesystem::path& path, const Image& image);
/// JPEG of an RGB or L image (4:4:4 when quality > 90, else 4:2:0), atomically.
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality);

}  // namespace clipself::formats
