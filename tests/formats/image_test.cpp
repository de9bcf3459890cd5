#include "clipself/formats/image.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"
#include "tests/formats/image_cases.h"

namespace clipself::formats {
namespace {

using image_cases::checksum;
using image_cases::reference;

Image gradient(ImageMode mode, int width, int height) {
  Image image = blank_image(mode, width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 7 % 251);
  return image;
}

struct TemporaryFile {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("clipself_image_test_" + std::to_string(::getpid()));
  ~TemporaryFile() { std::filesystem::remove(path); }
};

TEST(Image, DecodesEveryKindOfFileToTheModeAndPixelsPillowDelivers) {
  const auto cases = image_cases::read_list("images/expected.json", "images");
  ASSERT_GE(cases.size(), 20U);
  for (const auto& item : cases) {
    const std::string file = item.at("file");
    const Image image = read_image(reference("images/" + file));
    EXPECT_EQ(name(image.mode), item.at("mode").get<std::string>()) << file;
    EXPECT_EQ(image.width, item.at("width").get<int>()) << file;
    EXPECT_EQ(image.height, item.at("height").get<int>()) << file;
    EXPECT_EQ(checksum(image), item.at("decoded").get<std::uint32_t>()) << file;
    EXPECT_EQ(checksum(to_rgb(image)), item.at("rgb").get<std::uint32_t>()) << file;
  }
}

TEST(Image, DecodesTheReferencePicturesToTheOriginalsPixels) {
  for (const auto& item : image_cases::read_list("preprocess/cases.json", "cases")) {
    const std::string file = item.at("file");
    const Image image = read_image(reference("preprocess/" + file));
    EXPECT_EQ(name(image.mode), item.at("mode").get<std::string>()) << file;
    EXPECT_EQ(checksum(image), item.at("decoded").get<std::uint32_t>()) << file;
    EXPECT_EQ(checksum(to_rgb(image)), item.at("rgb").get<std::uint32_t>()) << file;
  }
}

TEST(Image, TurnsPicturesUprightOnlyWhenAsked) {
  int turned = 0;
  for (const auto& item : image_cases::read_list("images/expected.json", "images")) {
    const std::string file = item.at("file");
    const Image image = read_image(reference("images/" + file), {.apply_exif_orientation = true});
    EXPECT_EQ(checksum(image), item.at("upright").get<std::uint32_t>()) << file;
    if (item.at("upright") != item.at("decoded")) ++turned;
  }
  EXPECT_EQ(turned, 3);
}

TEST(Image, WrittenPngReadsBackUnchanged) {
  const TemporaryFile file;
  for (const ImageMode mode : {ImageMode::kL, ImageMode::kRGB, ImageMode::kRGBA}) {
    const Image image = gradient(mode, 31, 17);
    write_png(file.path, image);
    const Image back = read_image(file.path);
    EXPECT_EQ(back.mode, mode);
    EXPECT_EQ(back.width, 31);
    EXPECT_EQ(back.pixels, image.pixels);
  }
}

TEST(Image, WrittenJpegReadsBackNearlyUnchanged) {
  const TemporaryFile file;
  for (const ImageMode mode : {ImageMode::kL, ImageMode::kRGB}) {
    Image image = blank_image(mode, 64, 48);
    const int channels = bytes_per_pixel(mode);
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        for (int c = 0; c < channels; ++c)
          image.row(y)[x * channels + c] = static_cast<std::uint8_t>(2 * x + y + 20 * c);
      }
    }
    for (const int quality : {85, 95}) {
      write_jpeg(file.path, image, quality);
      const Image back = read_image(file.path);
      ASSERT_EQ(back.mode, mode);
      ASSERT_EQ(back.pixels.size(), image.pixels.size());
      double sum = 0;
      for (std::size_t i = 0; i < image.pixels.size(); ++i) sum += std::abs(back.pixels[i] - image.pixels[i]);
      EXPECT_LT(sum / static_cast<double>(image.pixels.size()), 3.0) << name(mode) << " " << quality;
    }
  }
}

TEST(Image, RefusesToWriteWhatTheFormatCannotHold) {
  const TemporaryFile file;
  EXPECT_THROW(write_png(file.path, gradient(ImageMode::kCMYK, 4, 4)), Error);
  EXPECT_THROW(write_png(file.path, Image{}), Error);
  EXPECT_THROW(write_jpeg(file.path, gradient(ImageMode::kRGBA, 4, 4), 90), Error);
  EXPECT_THROW(write_jpeg(file.path, gradient(ImageMode::kRGB, 4, 4), 0), Error);
  EXPECT_THROW(write_jpeg(file.path, gradient(ImageMode::kL, 65536, 1), 90), Error);
  EXPECT_FALSE(std::filesystem::exists(file.path));
}

}  // namespace
}  // namespace clipself::formats
