// JPEG and PNG, upright and as RGB. A PNG is tried as it is and with its checksums put right, which no mutation does.
#include "clipself/formats/image.h"

#include <zlib.h>

#include "tests/fuzz/fuzz.h"

namespace {

std::uint32_t big_endian(const unsigned char* bytes) {
  return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
         static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
}

/// Of every chunk that ends inside the file.
void put_checksums_right(std::string& png) {
  constexpr std::size_t kSignature = 8, kFrame = 12;
  auto* const bytes = reinterpret_cast<unsigned char*>(png.data());
  for (std::size_t at = kSignature; png.size() - at >= kFrame;) {
    const std::size_t length = big_endian(bytes + at);
    if (length > png.size() - at - kFrame) return;
    const auto sum = static_cast<std::uint32_t>(::crc32_z(0, bytes + at + 4, length + 4));
    for (std::size_t i = 0; i < 4; ++i) bytes[at + 8 + length + i] = static_cast<unsigned char>(sum >> (24 - 8 * i));
    at += kFrame + length;
  }
}

void decode(std::string_view file) {
  using namespace clipself;
  fuzz::expect_error_or_success([&] {
    const auto image = formats::decode_image(std::as_bytes(std::span(file)), "input", {.apply_exif_orientation = true});
    static_cast<void>(formats::to_rgb(image));
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = clipself::fuzz::text(data, size);
  decode(file);
  if (size < 8 || !file.starts_with("\x89PNG")) return 0;
  std::string repaired(file);
  put_checksums_right(repaired);
  if (repaired != file) decode(repaired);
  return 0;
}
