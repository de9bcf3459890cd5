#include "clipself/ops/image_resize.h"

#include <gtest/gtest.h>

#include <limits>

#include "clipself/base/error.h"
#include "tests/formats/image_cases.h"

namespace clipself::ops {
namespace {

using formats::Image;
using formats::ImageMode;
using image_cases::checksum;
using image_cases::reference;

Image numbered(int width, int height) {
  Image image = formats::blank_image(ImageMode::kL, width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i + 1);
  return image;
}

TEST(ResizeBicubic, GivesPillowsBytesInEveryMode) {
  for (const auto& item : image_cases::read_list("images/expected.json", "images")) {
    const std::string file = item.at("file");
    const Image image = formats::read_image(reference("images/" + file));
    for (const auto& expected : item.at("resized")) {
      const int width = expected.at("width");
      const int height = expected.at("height");
      const Image resized = resize_bicubic(image, width, height);
      EXPECT_EQ(resized.mode, image.mode);
      EXPECT_EQ(checksum(resized), expected.at("own").get<std::uint32_t>()) << file << " to " << width << "x" << height;
      EXPECT_EQ(checksum(formats::to_rgb(resized)), expected.at("rgb").get<std::uint32_t>()) << file;
    }
  }
}

TEST(Crop, GivesPillowsBytesInsideAndAcrossTheBorder) {
  for (const auto& item : image_cases::read_list("images/expected.json", "images")) {
    const std::string file = item.at("file");
    const Image image = formats::read_image(reference("images/" + file));
    for (const auto& expected : item.at("crops")) {
      const auto corners = expected.at("box").get<std::array<double, 4>>();
      const Box box{corners[0], corners[1], corners[2], corners[3]};
      const Image part = crop(image, box);
      EXPECT_EQ(part.width, expected.at("crop_width").get<int>()) << file;
      EXPECT_EQ(part.height, expected.at("crop_height").get<int>()) << file;
      EXPECT_EQ(checksum(part), expected.at("crop").get<std::uint32_t>()) << file;
      const Image resized = crop_and_resize_bicubic(image, box, expected.at("width"), expected.at("height"));
      EXPECT_EQ(checksum(resized), expected.at("resized").get<std::uint32_t>()) << file;
    }
  }
}

TEST(Crop, OfNothingIsEmpty) {
  const Image part = crop(numbered(8, 8), {3.2, 1, 3.4, 5});
  EXPECT_EQ(part.width, 0);
  EXPECT_EQ(part.height, 4);
  EXPECT_TRUE(part.pixels.empty());
}

TEST(Crop, RefusesAResultOfMoreThanTwoToThe28Pixels) {
  EXPECT_THROW(crop(numbered(8, 8), {-1e6, -1e6, 1e6, 1e6}), Error);
  EXPECT_THROW(crop(numbered(8, 8), {-1e300, -1e300, 1e300, 1e300}), Error);
}

TEST(ResizeBicubic, RefusesEmptyPictures) {
  EXPECT_THROW(resize_bicubic(Image{}, 4, 4), Error);
  EXPECT_THROW(resize_bicubic(numbered(3, 3), 0, 4), Error);
  EXPECT_THROW(crop_and_resize_bicubic(numbered(8, 8), {3.2, 1, 3.4, 5}, 4, 4), Error);
}

TEST(ResizeBicubic, LeavesAFlatPictureFlat) {
  Image image = formats::blank_image(ImageMode::kRGB, 41, 33);
  for (auto& value : image.pixels) value = 255;
  for (const auto& [width, height] : {std::pair{200, 7}, {3, 150}, {41, 12}, {64, 33}}) {
    for (const auto value : resize_bicubic(image, width, height).pixels) ASSERT_EQ(value, 255);
  }
}

TEST(Pad, AddsRowsAndColumnsOfTheFill) {
  const Image image = pad(numbered(2, 1), 1, 2, 3, 0, 9);
  EXPECT_EQ(image.width, 6);
  EXPECT_EQ(image.height, 3);
  const std::vector<std::uint8_t> expected{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 9, 9, 9};
  EXPECT_EQ(image.pixels, expected);
}

TEST(RoundHalfEven, FollowsPythonsRound) {
  EXPECT_EQ(round_half_even(0.5), 0);
  EXPECT_EQ(round_half_even(1.5), 2);
  EXPECT_EQ(round_half_even(2.5), 2);
  EXPECT_EQ(round_half_even(-0.5), 0);
  EXPECT_EQ(round_half_even(-1.5), -2);
  EXPECT_EQ(round_half_even(50.49999), 50);
  EXPECT_EQ(round_half_even(1e300), std::numeric_limits<int>::max());
  EXPECT_EQ(round_half_even(-1e300), std::numeric_limits<int>::min());
  EXPECT_EQ(round_half_even(std::numeric_limits<double>::quiet_NaN()), 0);
}

}  // namespace
}  // namespace clipself::ops
