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

/// As Pillow names them: 1-bit, grey, grey+alpha, RGB, RGB+alpha, palette, 32-bit integers (how 16-bit grey is opened),
/// CMYK.
enum class ImageMode { k1, kL, kLA, kRGB, kRGBA, kP, kI, kCMYK };

/// "1", "L", "LA", "RGB", "RGBA", "P", "I", "CMYK".
const char* name(ImageMode mode);
/// Bytes a pixel: 1, 1, 2, 3, 4, 1, 4, 4.
int bytes_per_pixel(ImageMode mode);

struct Image {
  ImageMode mode = ImageMode::kRGB;
  int width = 0;
  int height = 0;
  /// Rows top to bottom, interleaved, no padding. Mode 1: a byte of 0 or 255; mode I: std::int32_t in the machine's
  /// order.
  std::vector<std::uint8_t> pixels;
  std::vector<std::array<std::uint8_t, 3>> palette{};  ///< mode P only

  std::size_t row_bytes() const {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(bytes_per_pixel(mode));
  }
  const std::uint8_t* row(int y) const { return pixels.data() + static_cast<std::size_t>(y) * row_bytes(); }
  std::uint8_t* row(int y) { return pixels.data() + static_cast<std::size_t>(y) * row_bytes(); }
};

/// An image of that size, every byte 0.
Image blank_image(ImageMode mode, int width, int height);

struct DecodeOptions {
  bool apply_exif_orientation = false;  ///< the original ignores it; so do we unless asked
};

/// Decodes JPEG or PNG, told apart by content; `what` names it in messages. The decoder's settings are Pillow's, and so
/// is its idea of which damaged JPEG is still readable; a PNG must also have the right checksums. Throws Error for
/// anything else, for broken or cut-off data, for more than 2^28 pixels, for a side above 2^20, and for sizes the
/// number of bytes cannot possibly hold.
Image decode_image(std::span<const std::byte> bytes, const std::string& what, const DecodeOptions& options = {});
Image read_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// Pillow's convert("RGB"): grey repeated, palette looked up, alpha dropped, CMYK multiplied out, 32-bit clipped to
/// 0..255.
Image to_rgb(const Image& image);
Image to_rgb(Image&& image);

/// PNG of an L, RGB or RGBA image, atomically.
void write_png(const std::filesystem::path& path, const Image& image);
/// JPEG of an RGB or L image (4:4:4 when quality > 90, else 4:2:0), atomically. quality is 1..100.
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality);

}  // namespace clipself::formats
