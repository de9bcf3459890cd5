// Broken and hostile pictures end in an Error, never in a crash and never in made-up pixels.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/base/random.h"
#include "tests/formats/image_cases.h"

namespace clipself::formats {
namespace {

using image_cases::reference;

using Bytes = std::vector<std::byte>;

Bytes load(const std::string& name) {
  const MappedFile file(reference(name));
  return {file.bytes().begin(), file.bytes().end()};
}

std::string message_for(const Bytes& bytes) {
  try {
    decode_image(bytes, "picture");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void put_big_endian(Bytes& bytes, std::size_t at, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) bytes[at + static_cast<std::size_t>(i)] = static_cast<std::byte>(value >> (24 - 8 * i));
}

// Changes a PNG's width and height and makes its header's checksum right again.
void set_png_size(Bytes& png, std::uint32_t width, std::uint32_t height) {
  put_big_endian(png, 16, width);
  put_big_endian(png, 20, height);
  put_big_endian(png, 29, static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(png.data()) + 12, 17)));
}

TEST(BrokenImage, OtherFormatsAreNamed) {
  const auto bytes_of = [](const std::string& text) {
    Bytes bytes(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
  };
  EXPECT_NE(message_for(bytes_of("GIF89a.....")).find("GIF"), std::string::npos);
  EXPECT_NE(message_for(bytes_of("RIFF1234WEBPVP8 ")).find("WebP"), std::string::npos);
  EXPECT_NE(message_for(bytes_of("<html>404</html>")).find("web page"), std::string::npos);
  EXPECT_NE(message_for({}).find("empty"), std::string::npos);
}

TEST(BrokenImage, JpegCutOffAnywhereIsAnError) {
  for (const char* name : {"images/rgb_420.jpg", "images/rgb_444_progressive.jpg", "images/grey.jpg"}) {
    const Bytes whole = load(name);
    for (std::size_t size = 0; size + 2 < whole.size(); size += 13) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_THROW(decode_image(part, "picture"), Error) << name << " cut at " << size;
    }
  }
  const Bytes whole = load("images/rgb_420.jpg");
  const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() * 3 / 4));
  EXPECT_NE(message_for(part).find("ends too early"), std::string::npos);
}

TEST(BrokenImage, PngCutOffBeforeItsLastRowIsAnError) {
  for (const char* name :
       {"images/rgba.png", "images/grey_4bit_interlaced.png", "images/palette_4bit_transparent.png"}) {
    const Bytes whole = load(name);
    constexpr std::size_t kAfterImageData = 12 + 8;  // IEND, and the last checksums
    for (std::size_t size = 0; size + kAfterImageData < whole.size(); size += 7) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_THROW(decode_image(part, "picture"), Error) << name << " cut at " << size;
    }
  }
}

TEST(BrokenImage, PngWithWrongChecksumIsAnError) {
  Bytes png = load("images/rgba.png");
  png[png.size() - 20] ^= std::byte{0x10};
  EXPECT_THROW(decode_image(png, "picture"), Error);
}

TEST(BrokenImage, SizesTheFileCannotHoldAreRefusedBeforeMemoryIsTaken) {
  Bytes png = load("images/rgba.png");
  set_png_size(png, 16000, 16000);
  EXPECT_NE(message_for(png).find("16000 x 16000"), std::string::npos);
  set_png_size(png, 20000, 20000);
  EXPECT_NE(message_for(png).find("2^28"), std::string::npos);

  Bytes jpeg = load("images/grey.jpg");
  for (std::size_t i = 2; i + 8 < jpeg.size(); ++i) {
    if (jpeg[i] != std::byte{0xFF} || jpeg[i + 1] != std::byte{0xC0}) continue;
    for (const std::size_t at : {i + 5, i + 7}) {  // 16000 x 16000
      jpeg[at] = std::byte{0x3E};
      jpeg[at + 1] = std::byte{0x80};
    }
    break;
  }
  EXPECT_NE(message_for(jpeg).find("16000 x 16000"), std::string::npos);
}

TEST(BrokenImage, DamagedBytesGiveAnErrorOrAPictureOfTheStatedSize) {
  Rng rng(20240);
  int errors = 0;
  int pictures = 0;
  for (const auto& item : image_cases::read_list("images/expected.json", "images")) {
    const Bytes whole = load("images/" + item.at("file").get<std::string>());
    for (int round = 0; round < 60; ++round) {
      Bytes damaged = whole;
      const auto changes = 1 + rng.below(6);
      for (std::uint64_t i = 0; i < changes; ++i) {
        damaged[4 + rng.below(damaged.size() - 4)] = static_cast<std::byte>(rng.below(256));
      }
      try {
        const Image image = decode_image(damaged, "picture", {.apply_exif_orientation = true});
        EXPECT_EQ(image.pixels.size(), image.row_bytes() * static_cast<std::size_t>(image.height));
        EXPECT_EQ(to_rgb(image).pixels.size(),
                  static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
        ++pictures;
      } catch (const Error&) {
        ++errors;
      }
    }
  }
  EXPECT_GT(errors, 100);
  EXPECT_GT(pictures, 100);
}

}  // namespace
}  // namespace clipself::formats
