// JPEG by libjpeg-turbo. libjpeg reports errors by a callback that must not return: ours jumps back to the setjmp of
// the member function in progress, across libjpeg's C frames only. Those member functions hold no object with a
// destructor.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// jpeglib.h needs size_t and FILE declared first.
#include <jpeglib.h>

#include "clipself/base/error.h"
#include "clipself/formats/image_codecs.h"

namespace clipself::formats::codecs {
namespace {

// A progressive file repeats passes over all coefficients; no encoder writes more than a few dozen.
constexpr int kMaxScans = 500;

struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  errors->base.format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}
void on_message(j_common_ptr) {}  // warnings of damaged data: decoded as well as possible, like Pillow

void install(ErrorManager& errors) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.output_message = on_message;
  errors.message[0] = '\0';
}

// The whole file is one buffer. Asking for more suspends the decoder, which then returns short: a cut-off file, where
// libjpeg's own memory source would invent an end of image and deliver grey.
void do_nothing(j_decompress_ptr) {}
boolean no_more_input(j_decompress_ptr) {
  return FALSE;
}
void skip_input(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  const auto skipped = std::min(static_cast<std::size_t>(count), info->src->bytes_in_buffer);
  info->src->next_input_byte += skipped;
  info->src->bytes_in_buffer -= skipped;
}

void on_progress(j_common_ptr info) {
  if (info->is_decompressor == FALSE) return;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(errors->message, sizeof(errors->message), "more than %d scans", kMaxScans);
  std::longjmp(errors->jump, 1);
}

enum class Outcome { kDone, kCutOff, kFailed };

class JpegReader {
 public:
  explicit JpegReader(std::span<const std::byte> bytes) {
    install(errors_);
    info_.err = &errors_.base;
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    source_.bytes_in_buffer = bytes.size();
    source_.init_source = do_nothing;
    source_.fill_input_buffer = no_more_input;
    source_.skip_input_data = skip_input;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = do_nothing;
    progress_.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Outcome read_header() {
    if (setjmp(errors_.jump) != 0) return Outcome::kFailed;
    jpeg_create_decompress(&info_);
    info_.src = &source_;
    info_.progress = &progress_;
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
    int result = JPEG_HEADER_TABLES_ONLY;
    while (result == JPEG_HEADER_TABLES_ONLY) result = jpeg_read_header(&info_, FALSE);
    return result == JPEG_SUSPENDED ? Outcome::kCutOff : Outcome::kDone;
  }

  /// The pixels, `row_bytes` a row, into `out`, which has room for output_height rows.
  Outcome read_pixels(J_COLOR_SPACE space, std::uint8_t* out, std::size_t row_bytes) {
    if (setjmp(errors_.jump) != 0) return Outcome::kFailed;
    info_.out_color_space = space;
    if (jpeg_start_decompress(&info_) == FALSE) return Outcome::kCutOff;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW rows[8];
      const JDIMENSION left = info_.output_height - info_.output_scanline;
      const JDIMENSION count = left < 8 ? left : 8;
      for (JDIMENSION i = 0; i < count; ++i) rows[i] = out + row_bytes * (info_.output_scanline + i);
      if (jpeg_read_scanlines(&info_, rows, count) == 0) return Outcome::kCutOff;
    }
    // Damage behind the last row counts, a missing end marker does not: so it is in Pillow.
    jpeg_finish_decompress(&info_);
    return Outcome::kDone;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  std::string message() const { return errors_.message; }

  // Every Huffman-coded block costs at least a bit, whatever else the file leaves out.
  std::uint64_t least_bytes() const {
    std::uint64_t blocks = 0;
    for (int c = 0; c < info_.num_components; ++c) {
      const jpeg_component_info& part = info_.comp_info[c];
      const auto across = [](std::uint64_t pixels, int factor, int largest) {
        return (pixels * static_cast<std::uint64_t>(factor) + 8ULL * static_cast<std::uint64_t>(largest) - 1) /
               (8ULL * static_cast<std::uint64_t>(largest));
      };
      blocks += across(info_.image_width, part.h_samp_factor, max_factor(&jpeg_component_info::h_samp_factor)) *
                across(info_.image_height, part.v_samp_factor, max_factor(&jpeg_component_info::v_samp_factor));
    }
    constexpr std::uint64_t kArithmeticGain = 64;  // arithmetic coding can spend less than a bit
    return blocks / 8 / (info_.arith_code != FALSE ? kArithmeticGain : 1);
  }

  int orientation() const {
    constexpr char kExif[] = {'E', 'x', 'i', 'f', 0, 0};
    for (const jpeg_marker_struct* marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      if (marker->marker != JPEG_APP0 + 1 || marker->data_length <= sizeof(kExif)) continue;
      if (std::memcmp(marker->data, kExif, sizeof(kExif)) != 0) continue;
      return exif_orientation({marker->data + sizeof(kExif), marker->data_length - sizeof(kExif)});
    }
    return 1;
  }

 private:
  int max_factor(int jpeg_component_info::*factor) const {
    int largest = 1;
    for (int c = 0; c < info_.num_components; ++c) largest = std::max(largest, info_.comp_info[c].*factor);
    return largest;
  }

  jpeg_decompress_struct info_{};
  ErrorManager errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
};

void require_done(Outcome outcome, const JpegReader& reader, const std::string& what) {
  if (outcome == Outcome::kDone) return;
  throw Error(
      {.doing = "decoding JPEG",
       .where = what,
       .found = outcome == Outcome::kCutOff ? "a file that ends too early" : "broken data: " + reader.message()});
}

/// Compresses to memory that libjpeg allocates.
class JpegWriter {
 public:
  JpegWriter() {
    install(errors_);
    info_.err = &errors_.base;
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&info_);
    std::free(buffer_);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  bool write(const Image& image, int quality) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_compress(&info_);
    jpeg_mem_dest(&info_, &buffer_, &size_);
    info_.image_width = static_cast<JDIMENSION>(image.width);
    info_.image_height = static_cast<JDIMENSION>(image.height);
    info_.input_components = bytes_per_pixel(image.mode);
    info_.in_color_space = image.mode == ImageMode::kL ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, quality, TRUE);
    if (image.mode == ImageMode::kRGB && quality > 90)
      info_.comp_info[0].h_samp_factor = info_.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&info_, TRUE);
    while (info_.next_scanline < info_.image_height) {
      JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(info_.next_scanline)));
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return true;
  }
  std::span<const std::byte> bytes() const { return {reinterpret_cast<const std::byte*>(buffer_), size_}; }
  std::string message() const { return errors_.message; }

 private:
  jpeg_compress_struct info_{};
  ErrorManager errors_{};
  unsigned char* buffer_ = nullptr;
  unsigned long size_ = 0;
};

}  // namespace

Decoded decode_jpeg(std::span<const std::byte> bytes, const std::string& what) {
  JpegReader reader(bytes);
  require_done(reader.read_header(), reader, what);
  const auto& info = reader.info();
  ImageMode mode = ImageMode::kRGB;
  J_COLOR_SPACE space = JCS_RGB;
  switch (info.num_components) {
    case 1:
      mode = ImageMode::kL;
      space = JCS_GRAYSCALE;
      break;
    case 3:
      break;
    case 4:
      mode = ImageMode::kCMYK;
      space = JCS_CMYK;
      break;
    default:
      throw Error({.doing = "decoding JPEG",
                   .where = what,
                   .found = std::to_string(info.num_components) + " components",
                   .expected = "1, 3 or 4"});
  }
  check_dimensions(info.image_width, info.image_height, what);
  if (reader.least_bytes() > bytes.size()) {
    throw Error({.doing = "decoding JPEG",
                 .where = what,
                 .found = std::to_string(bytes.size()) + " bytes for " + std::to_string(info.image_width) + " x " +
                          std::to_string(info.image_height) + " pixels",
                 .expected = "at least " + std::to_string(reader.least_bytes())});
  }
  Decoded decoded{.image = blank_image(mode, static_cast<int>(info.image_width), static_cast<int>(info.image_height)),
                  .orientation = reader.orientation()};
  require_done(reader.read_pixels(space, decoded.image.pixels.data(), decoded.image.row_bytes()), reader, what);
  if (mode == ImageMode::kCMYK) {
    // Adobe's programs store ink inverted; Pillow takes every four-component file for theirs.
    for (auto& value : decoded.image.pixels) value = static_cast<std::uint8_t>(255 - value);
  }
  return decoded;
}

std::vector<std::byte> encode_jpeg(const Image& image, int quality) {
  const bool known = image.mode == ImageMode::kL || image.mode == ImageMode::kRGB;
  if (!known || image.width < 1 || image.height < 1 || quality < 1 || quality > 100) {
    throw Error({.doing = "encoding JPEG",
                 .found = std::to_string(image.width) + " x " + std::to_string(image.height) + " pixels of mode " +
                          name(image.mode) + " at quality " + std::to_string(quality),
                 .expected = "a non-empty image of mode L or RGB and a quality of 1..100"});
  }
  JpegWriter writer;
  if (!writer.write(image, quality)) throw Error({.doing = "encoding JPEG", .found = writer.message()});
  return {writer.bytes().begin(), writer.bytes().end()};
}

}  // namespace clipself::formats::codecs
