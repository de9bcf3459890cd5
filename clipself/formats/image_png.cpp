// PNG by libpng, whose errors jump back to the setjmp of the member function in progress, across libpng's C frames
// only. Those member functions hold no object with a destructor.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "clipself/base/error.h"
#include "clipself/formats/image_codecs.h"

namespace clipself::formats::codecs {
namespace {

struct Failure {
  char message[256] = "";
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* failure = static_cast<Failure*>(png_get_error_ptr(png));
  std::snprintf(failure->message, sizeof(failure->message), "%s", message);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}  // ancillary chunks we do not use

struct Input {
  std::span<const std::byte> left;
};
void read_bytes(png_structp png, png_bytep out, std::size_t count) {
  auto* input = static_cast<Input*>(png_get_io_ptr(png));
  if (count > input->left.size()) png_error(png, "the file ends too early");
  std::memcpy(out, input->left.data(), count);
  input->left = input->left.subspan(count);
}

class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes) : input_{bytes} {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &failure_, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool read_header() {
    if (png_ == nullptr || info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    if (!chunks_fit()) png_error(png_, "a chunk longer than the file");
    png_set_read_fn(png_, &input_, read_bytes);
    png_set_user_limits(png_, kMaxSide, kMaxSide);
#ifdef PNG_HANDLE_AS_UNKNOWN_SUPPORTED
    // Texts and profiles, which nobody here asks for, would be unpacked and kept: megabytes of each.
    static constexpr char kSkipped[] = "iCCP\0iTXt\0sPLT\0tEXt\0zTXt";
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, reinterpret_cast<png_const_bytep>(kSkipped),
                                sizeof(kSkipped) / 5);
#endif
    png_read_info(png_, info_);
    return true;
  }

  /// Asks for the transformations that lead to `mode`, and reads the pixels to `rows`.
  bool read_pixels(ImageMode mode, png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    if (mode == ImageMode::kP) png_set_packing(png_);
    if (mode == ImageMode::k1 || mode == ImageMode::kL) png_set_expand_gray_1_2_4_to_8(png_);
    if (mode == ImageMode::kI) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
      png_set_swap(png_);
#endif
    } else {
      png_set_strip_16(png_);
    }
    if (mode == ImageMode::kRGBA && color_type() == PNG_COLOR_TYPE_GRAY_ALPHA) png_set_gray_to_rgb(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    png_read_image(png_, rows);
    return true;
  }

  png_uint_32 width() const {
    return png_get_image_width(png_, info_);
  }
  png_uint_32 height() const {
    return png_get_image_height(png_, info_);
  }
  int bit_depth() const {
    return png_get_bit_depth(png_, info_);
  }
  int color_type() const {
    return png_get_color_type(png_, info_);
  }
  /// Bytes of the packed rows inside the compressed stream.
  std::uint64_t raw_bytes() const {
    return static_cast<std::uint64_t>(png_get_rowbytes(png_, info_)) * height();
  }
  std::string message() const {
    return failure_.message;
  }

  std::vector<std::array<std::uint8_t, 3>> palette() const {
    png_colorp colours = nullptr;
    int count = 0;
    std::vector<std::array<std::uint8_t, 3>> palette;
    if (png_get_PLTE(png_, info_, &colours, &count) == 0) return palette;
    for (int i = 0; i < count; ++i) palette.push_back({colours[i].red, colours[i].green, colours[i].blue});
    return palette;
  }

  int orientation() {
#ifdef PNG_eXIf_SUPPORTED
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(png_, info_, &size, &exif) != 0) return exif_orientation({exif, size});
#endif
    return 1;
  }

  ImageMode mode() const {
    const int depth = bit_depth();
    switch (color_type()) {
      case PNG_COLOR_TYPE_GRAY:
        return depth == 1 ? ImageMode::k1 : depth == 16 ? ImageMode::kI : ImageMode::kL;
      case PNG_COLOR_TYPE_PALETTE:
        return ImageMode::kP;
      // As Pillow, which knows no 16-bit LA.
      case PNG_COLOR_TYPE_GRAY_ALPHA:
        return depth == 16 ? ImageMode::kRGBA : ImageMode::kLA;
      case PNG_COLOR_TYPE_RGB_ALPHA:
        return ImageMode::kRGBA;
      default:
        return ImageMode::kRGB;
    }
  }

 private:
  /// Whether the chunks in front of the pixels end inside the file. libpng makes room for some before it reads them,
  /// and of one that is too long it only warns.
  bool chunks_fit() const {
    constexpr std::size_t kSignature = 8, kFrame = 12;  // length and name before, checksum behind
    for (std::size_t at = kSignature; input_.left.size() - at >= kFrame;) {
      const auto* chunk = reinterpret_cast<const png_byte*>(input_.left.data()) + at;
      if (std::memcmp(chunk + 4, "IDAT", 4) == 0) return true;
      const std::size_t length = png_get_uint_32(chunk);
      if (length > input_.left.size() - at - kFrame) return false;
      at += kFrame + length;
    }
    return true;
  }

  Failure failure_;
  Input input_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

[[noreturn]] void fail(const PngReader& reader, const std::string& what) {
  throw Error({.doing = "decoding PNG", .where = what, .found = "broken data: " + reader.message()});
}

// Rows of big 16-bit numbers, already in the machine's order, become 32-bit. Backwards, because it happens in place.
void widen_rows(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* row = image.row(y);
    for (std::size_t x = static_cast<std::size_t>(image.width); x-- > 0;) {
      std::uint16_t value = 0;
      std::memcpy(&value, row + 2 * x, sizeof(value));
      const std::int32_t wide = value;
      std::memcpy(row + 4 * x, &wide, sizeof(wide));
    }
  }
}

class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &failure_, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  bool write(const Image& image) {
    if (png_ == nullptr || info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_write_fn(png_, &out_, append, nullptr);
    const int type = image.mode == ImageMode::kL     ? PNG_COLOR_TYPE_GRAY
                     : image.mode == ImageMode::kRGB ? PNG_COLOR_TYPE_RGB
                                                     : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8, type,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (int y = 0; y < image.height; ++y) png_write_row(png_, image.row(y));
    png_write_end(png_, info_);
    return true;
  }
  std::vector<std::byte> take() { return std::move(out_); }
  std::string message() const { return failure_.message; }

 private:
  static void append(png_structp png, png_bytep bytes, std::size_t count) {
    auto* out = static_cast<std::vector<std::byte>*>(png_get_io_ptr(png));
    bool grown = true;
    try {
      out->insert(out->end(), reinterpret_cast<std::byte*>(bytes), reinterpret_cast<std::byte*>(bytes) + count);
    } catch (...) {
      grown = false;  // an exception must not cross libpng
    }
    if (!grown) png_error(png, "out of memory");
  }

  Failure failure_;
  std::vector<std::byte> out_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

Decoded decode_png(std::span<const std::byte> bytes, const std::string& what) {
  PngReader reader(bytes);
  if (!reader.read_header()) fail(reader, what);
  check_dimensions(reader.width(), reader.height(), what);
  // Deflate shrinks by 1032 at the very most.
  if (reader.raw_bytes() / 1032 > bytes.size()) {
    throw Error({.doing = "decoding PNG",
                 .where = what,
                 .found = std::to_string(bytes.size()) + " bytes for " + std::to_string(reader.width()) + " x " +
                          std::to_string(reader.height()) + " pixels",
                 .expected = "at least " + std::to_string(reader.raw_bytes() / 1032)});
  }
  const ImageMode mode = reader.mode();
  Decoded decoded{.image = blank_image(mode, static_cast<int>(reader.width()), static_cast<int>(reader.height())),
                  .orientation = reader.orientation()};
  if (mode == ImageMode::kP) decoded.image.palette = reader.palette();
  std::vector<png_bytep> rows(static_cast<std::size_t>(decoded.image.height));
  for (int y = 0; y < decoded.image.height; ++y) rows[static_cast<std::size_t>(y)] = decoded.image.row(y);
  if (!reader.read_pixels(mode, rows.data())) fail(reader, what);
  if (mode == ImageMode::kI) widen_rows(decoded.image);
  return decoded;
}

std::vector<std::byte> encode_png(const Image& image) {
  const bool known = image.mode == ImageMode::kL || image.mode == ImageMode::kRGB || image.mode == ImageMode::kRGBA;
  if (!known || image.width < 1 || image.height < 1) {
    throw Error({.doing = "encoding PNG",
                 .found = std::to_string(image.width) + " x " + std::to_string(image.height) + " pixels of mode " +
                          name(image.mode),
                 .expected = "a non-empty image of mode L, RGB or RGBA"});
  }
  PngWriter writer;
  if (!writer.write(image)) throw Error({.doing = "encoding PNG", .found = writer.message()});
  return writer.take();
}

}  // namespace clipself::formats::codecs
