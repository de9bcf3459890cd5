// Inside of formats/image: what the decoders share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "clipself/formats/image.h"

namespace clipself::formats::codecs {

inline constexpr std::uint64_t kMaxPixels = std::uint64_t{1} << 28;
inline constexpr std::uint32_t kMaxSide = 1U << 20;

/// A decoded picture and its EXIF orientation (1..8, 1 when there is none).
struct Decoded {
  Image image;
  int orientation = 1;
};

Decoded decode_jpeg(std::span<const std::byte> bytes, const std::string& what);
Decoded decode_png(std::span<const std::byte> bytes, const std::string& what);

/// Throws Error unless 1 <= width, height <= kMaxSide and width * height <= kMaxPixels.
void check_dimensions(std::uint64_t width, std::uint64_t height, const std::string& what);
/// The orientation tag of an EXIF block (a TIFF structure); 1 when absent or malformed.
int exif_orientation(std::span<const std::uint8_t> tiff);

std::vector<std::byte> encode_jpeg(const Image& image, int quality);
std::vector<std::byte> encode_png(const Image& image);

}  // namespace clipself::formats::codecs
