#include "clipself/ops/image_resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "clipself/base/error.h"
#include "clipself/base/random.h"
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

Image random_picture(int width, int height, std::uint64_t seed) {
  Image image = formats::blank_image(ImageMode::kRGB, width, height);
  Rng rng(seed);
  for (auto& value : image.pixels) value = static_cast<std::uint8_t>(rng.below(256));
  return image;
}

/// One value of OpenCV's resize, straight from the recipe: cell, weights out of 2048, two shifted products.
int opencv_value(const Image& image, int width, int height, int x, int y, int channel) {
  struct Axis {
    int low, high;
    long low_weight, high_weight;
  };
  const auto axis = [](int in, int out, int at, bool clamp_weight) {
    const double scale = 1.0 / (static_cast<double>(out) / in);
    const auto position = static_cast<float>((at + 0.5) * scale - 0.5);
    int cell = static_cast<int>(std::floor(position));
    float part = position - static_cast<float>(cell);
    if (clamp_weight && cell < 0) cell = 0, part = 0;
    if (clamp_weight && cell >= in - 1) cell = in - 1, part = 0;
    return Axis{std::clamp(cell, 0, in - 1), std::clamp(cell + 1, 0, in - 1), std::lrint((1.0F - part) * 2048.0F),
                std::lrint(part * 2048.0F)};
  };
  const Axis across = axis(image.width, width, x, true), down = axis(image.height, height, y, false);
  const auto row = [&](int at) {
    const std::uint8_t* pixels = image.row(at);
    return pixels[3 * across.low + channel] * across.low_weight +
           pixels[3 * across.high + channel] * across.high_weight;
  };
  const long above = down.low_weight * (row(down.low) >> 4), below = down.high_weight * (row(down.high) >> 4);
  return static_cast<int>(((above >> 16) + (below >> 16) + 2) >> 2);
}

TEST(ResizeBilinearOpenCv, FollowsTheIntegerRecipeInEveryPixel) {
  const Image image = random_picture(37, 23, 5);
  for (const auto& [width, height] :
       {std::pair{74, 46}, {100, 23}, {37, 60}, {9, 5}, {18, 11}, {1, 1}, {36, 22}, {200, 3}}) {
    const Image resized = resize_bilinear_opencv(image, width, height);
    ASSERT_EQ(resized.width, width);
    ASSERT_EQ(resized.height, height);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < 3; ++c)
          ASSERT_EQ(resized.row(y)[3 * x + c], opencv_value(image, width, height, x, y, c))
              << x << ", " << y << " of " << width << " x " << height;
  }
}

TEST(ResizeBilinearOpenCv, HalvingIsTheRoundedMeanOfFour) {
  Image image = formats::blank_image(ImageMode::kL, 4, 2);
  image.pixels = {0, 1, 10, 20, 0, 1, 30, 43};
  EXPECT_EQ(resize_bilinear_opencv(image, 2, 1).pixels, (std::vector<std::uint8_t>{1, 26}));
}

TEST(ResizeBilinearOpenCv, KeepsThePictureOfTheSameSizeAndAFlatOne) {
  const Image image = random_picture(31, 17, 1);
  EXPECT_EQ(resize_bilinear_opencv(image, 31, 17).pixels, image.pixels);
  Image flat = formats::blank_image(ImageMode::kRGB, 19, 30);
  for (auto& value : flat.pixels) value = 255;
  for (const auto value : resize_bilinear_opencv(flat, 50, 11).pixels) ASSERT_EQ(value, 255);
}

TEST(ResizeBilinearOpenCv, AWindowIsThatPartOfTheWhole) {
  const Image image = random_picture(40, 30, 2);
  for (const auto& [width, height] : {std::pair{97, 71}, {20, 15}, {40, 30}, {13, 29}}) {
    const Image whole = resize_bilinear_opencv(image, width, height);
    const Window window{5, 3, 8, 11};
    EXPECT_EQ(resize_bilinear_opencv(image, width, height, window).pixels, crop(whole, {5, 3, 13, 14}).pixels);
  }
  EXPECT_TRUE(resize_bilinear_opencv(image, 97, 71, {1, 1, 0, 4}).pixels.empty());
}

TEST(ResizeBilinearOpenCv, RefusesWhatItCannotDo) {
  const Image image = random_picture(8, 8, 3);
  EXPECT_THROW(resize_bilinear_opencv(image, 0, 4), Error);
  EXPECT_THROW(resize_bilinear_opencv(Image{}, 4, 4), Error);
  EXPECT_THROW(resize_bilinear_opencv(image, 4, 4, {1, 0, 4, 4}), Error);
  EXPECT_THROW(resize_bilinear_opencv(image, 4, 4, {-1, 0, 2, 2}), Error);
  EXPECT_THROW(resize_bilinear_opencv(formats::blank_image(ImageMode::kI, 8, 8), 4, 4), Error);
}

TEST(ResizeMasksOpenCv, TakesThePixelAtTheFloorOfThePosition) {
  Rng rng(7);
  at::Tensor masks = at::empty({3, 13, 29}, at::kByte);
  for (std::int64_t i = 0; i < masks.numel(); ++i)
    masks.mutable_data_ptr<std::uint8_t>()[i] = static_cast<std::uint8_t>(rng.below(2));
  for (const auto& [width, height] : {std::pair{58, 26}, {7, 100}, {29, 13}, {1, 1}, {30, 14}}) {
    const at::Tensor resized = resize_masks_opencv(masks, width, height, {0, 0, width, height});
    for (std::int64_t i = 0; i < 3; ++i)
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
          ASSERT_EQ(resized[i][y][x].item<int>(), masks[i][y * 13 / height][x * 29 / width].item<int>());
    if (width < 7) continue;
    const at::Tensor part = resize_masks_opencv(masks, width, height, {2, 1, 5, 9});
    EXPECT_TRUE(at::equal(part, resized.slice(1, 1, 10).slice(2, 2, 7)));
  }
  EXPECT_EQ(resize_masks_opencv(masks.slice(0, 0, 0), 5, 4, {0, 0, 5, 4}).sizes(), at::IntArrayRef({0, 4, 5}));
  EXPECT_EQ(resize_masks_opencv(masks, 5, 4, {0, 0, 0, 4}).numel(), 0);
}

TEST(RescaleSize, FitsBothSidesAndRoundsHalvesUp) {
  EXPECT_EQ(rescale_size(640, 480, 1024, 1024), (std::array<int, 2>{1024, 768}));
  EXPECT_EQ(rescale_size(480, 640, 1333, 800), (std::array<int, 2>{800, 1067}));
  EXPECT_EQ(rescale_size(1000, 500, 1333, 800), (std::array<int, 2>{1333, 667}));  // 666.5
  EXPECT_EQ(rescale_size(1000, 3, 10, 10), (std::array<int, 2>{10, 1}));
}

}  // namespace
}  // namespace clipself::ops
