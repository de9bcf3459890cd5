#include "clipself/formats/image.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/image_codecs.h"

namespace clipself::formats {
namespace {

constexpr std::uint8_t kJpegStart[] = {0xFF, 0xD8, 0xFF};
constexpr std::uint8_t kPngStart[] = {0x89, 'P', 'N', 'G', 0x0D, 0x0A, 0x1A, 0x0A};

bool starts_with(std::span<const std::byte> bytes, std::span<const std::uint8_t> start) {
  return bytes.size() >= start.size() && std::memcmp(bytes.data(), start.data(), start.size()) == 0;
}

// What a file that is neither JPEG nor PNG looks like, for the message.
std::string describe(std::span<const std::byte> bytes) {
  if (bytes.empty()) return "an empty file";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 64));
  if (text.starts_with("GIF8")) return "a GIF image";
  if (text.starts_with("RIFF") && text.substr(0, 12).ends_with("WEBP")) return "a WebP image";
  if (text.starts_with("BM")) return "a BMP image";
  if (text.starts_with("II*") || text.starts_with("MM")) return "a TIFF image";
  if (text.starts_with("<")) return "a web page or XML";
  return "unknown content of " + std::to_string(bytes.size()) + " bytes";
}

// Where the pixel that belongs at (x, y) of the upright picture is stored.
struct Source {
  int x, y;
};
Source upright_source(int orientation, int x, int y, int stored_width, int stored_height) {
  const int right = stored_width - 1;
  const int bottom = stored_height - 1;
  switch (orientation) {
    case 2:
      return {right - x, y};
    case 3:
      return {right - x, bottom - y};
    case 4:
      return {x, bottom - y};
    case 5:
      return {y, x};
    case 6:
      return {y, bottom - x};
    case 7:
      return {right - y, bottom - x};
    case 8:
      return {right - y, x};
    default:
      return {x, y};
  }
}

Image upright(const Image& stored, int orientation) {
  const bool swapped = orientation >= 5;
  Image out = blank_image(stored.mode, swapped ? stored.height : stored.width, swapped ? stored.width : stored.height);
  out.palette = stored.palette;
  const auto bytes = static_cast<std::size_t>(bytes_per_pixel(stored.mode));
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x, to += bytes) {
      const Source from = upright_source(orientation, x, y, stored.width, stored.height);
      std::memcpy(to, stored.row(from.y) + static_cast<std::size_t>(from.x) * bytes, bytes);
    }
  }
  return out;
}

// Pillow's rounded a * b / 255.
int multiply_255(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

template <typename Pixel>
Image convert_pixels(const Image& image, const Pixel& pixel) {
  Image out = blank_image(ImageMode::kRGB, image.width, image.height);
  const auto bytes = static_cast<std::size_t>(bytes_per_pixel(image.mode));
  const std::uint8_t* in = image.pixels.data();
  for (std::size_t i = 0; i < out.pixels.size(); i += 3, in += bytes) pixel(in, out.pixels.data() + i);
  return out;
}

void grey(std::uint8_t value, std::uint8_t* out) {
  out[0] = out[1] = out[2] = value;
}

}  // namespace

const char* name(ImageMode mode) {
  switch (mode) {
    case ImageMode::k1:
      return "1";
    case ImageMode::kL:
      return "L";
    case ImageMode::kLA:
      return "LA";
    case ImageMode::kRGB:
      return "RGB";
    case ImageMode::kRGBA:
      return "RGBA";
    case ImageMode::kP:
      return "P";
    case ImageMode::kI:
      return "I";
    case ImageMode::kCMYK:
      return "CMYK";
  }
  return "?";
}

int bytes_per_pixel(ImageMode mode) {
  switch (mode) {
    case ImageMode::k1:
    case ImageMode::kL:
    case ImageMode::kP:
      return 1;
    case ImageMode::kLA:
      return 2;
    case ImageMode::kRGB:
      return 3;
    case ImageMode::kRGBA:
    case ImageMode::kI:
    case ImageMode::kCMYK:
      return 4;
  }
  return 0;
}

Image blank_image(ImageMode mode, int width, int height) {
  Image image{.mode = mode, .width = width, .height = height, .pixels = {}, .palette = {}};
  image.pixels.resize(image.row_bytes() * static_cast<std::size_t>(height));
  return image;
}

Image decode_image(std::span<const std::byte> bytes, const std::string& what, const DecodeOptions& options) {
  codecs::Decoded decoded;
  if (starts_with(bytes, kJpegStart)) {
    decoded = codecs::decode_jpeg(bytes, what);
  } else if (starts_with(bytes, kPngStart)) {
    decoded = codecs::decode_png(bytes, what);
  } else {
    throw Error({.doing = "decoding image", .where = what, .found = describe(bytes), .expected = "a JPEG or PNG file"});
  }
  if (options.apply_exif_orientation && decoded.orientation != 1) return upright(decoded.image, decoded.orientation);
  return std::move(decoded.image);
}

Image read_image(const std::filesystem::path& path, const DecodeOptions& options) {
  const MappedFile file(path);
  return decode_image(file.bytes(), path.string(), options);
}

Image to_rgb(const Image& image) {
  switch (image.mode) {
    case ImageMode::kRGB:
      return image;
    case ImageMode::k1:
    case ImageMode::kL:
    case ImageMode::kLA:
      return convert_pixels(image, [](const std::uint8_t* in, std::uint8_t* out) { grey(in[0], out); });
    case ImageMode::kRGBA:
      return convert_pixels(image, [](const std::uint8_t* in, std::uint8_t* out) { std::copy_n(in, 3, out); });
    case ImageMode::kP: {
      // Indices past the file's palette meet Pillow's initial palette, a grey ramp.
      std::array<std::array<std::uint8_t, 3>, 256> colours{};
      for (std::size_t i = 0; i < colours.size(); ++i) {
        if (i < image.palette.size()) {
          colours[i] = image.palette[i];
        } else {
          colours[i].fill(static_cast<std::uint8_t>(i));
        }
      }
      return convert_pixels(
          image, [&](const std::uint8_t* in, std::uint8_t* out) { std::copy_n(colours[in[0]].data(), 3, out); });
    }
    case ImageMode::kI:
      return convert_pixels(image, [](const std::uint8_t* in, std::uint8_t* out) {
        std::int32_t value = 0;
        std::memcpy(&value, in, sizeof(value));
        grey(static_cast<std::uint8_t>(std::clamp(value, 0, 255)), out);
      });
    case ImageMode::kCMYK:
      return convert_pixels(image, [](const std::uint8_t* in, std::uint8_t* out) {
        const int light = 255 - in[3];
        for (int c = 0; c < 3; ++c)
          out[c] = static_cast<std::uint8_t>(std::clamp(light - multiply_255(in[c], light), 0, 255));
      });
  }
  throw Error("converting an image of unknown mode");
}

Image to_rgb(Image&& image) {
  if (image.mode == ImageMode::kRGB) return std::move(image);
  return to_rgb(static_cast<const Image&>(image));
}

void write_png(const std::filesystem::path& path, const Image& image) {
  AtomicFile file(path);
  file.write(codecs::encode_png(image));
  file.commit();
}

void write_jpeg(const std::filesystem::path& path, const Image& image, int quality) {
  AtomicFile file(path);
  file.write(codecs::encode_jpeg(image, quality));
  file.commit();
}

namespace codecs {

void check_dimensions(std::uint64_t width, std::uint64_t height, const std::string& what) {
  if (width >= 1 && height >= 1 && width <= kMaxSide && height <= kMaxSide && width * height <= kMaxPixels) return;
  throw Error({.doing = "decoding image",
               .where = what,
               .found = std::to_string(width) + " x " + std::to_string(height) + " pixels",
               .expected = "1 to 2^28 pixels, sides up to 2^20"});
}

int exif_orientation(std::span<const std::uint8_t> tiff) {
  if (tiff.size() < 8) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const auto u16 = [&](std::size_t at) -> std::uint32_t {
    return little ? static_cast<std::uint32_t>(tiff[at] | tiff[at + 1] << 8)
                  : static_cast<std::uint32_t>(tiff[at] << 8 | tiff[at + 1]);
  };
  const auto u32 = [&](std::size_t at) { return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2); };
  const std::size_t folder = u32(4);
  if (folder > tiff.size() - 2) return 1;
  const std::size_t entries = u16(folder);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = folder + 2 + i * 12;
    if (entry + 12 > tiff.size()) return 1;
    constexpr std::uint32_t kOrientation = 0x0112;
    constexpr std::uint32_t kShort = 3;
    if (u16(entry) != kOrientation) continue;
    const std::uint32_t value = u16(entry + 2) == kShort ? u16(entry + 8) : u32(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace codecs
}  // namespace clipself::formats
