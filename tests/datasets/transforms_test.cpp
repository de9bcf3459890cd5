#include "clipself/datasets/transforms.h"

#include "tests/datasets/cases.h"
#include "tests/formats/image_cases.h"

namespace clipself::datasets {
namespace {

using image_cases::checksum;

TEST(ResizeLongest, GivesTheOriginalsPixelsAndScaleAtEverySize) {
  int compared = 0;
  for (const auto& item : image_cases::read_list("preprocess/cases.json", "cases")) {
    const std::string file = item.at("file");
    const formats::Image image = formats::read_image(reference("preprocess/" + file));
    for (const auto& [size, expected] : item.at("det").items()) {
      EXPECT_EQ(checksum(resize_longest(image, std::stoi(size))), expected.get<std::uint32_t>()) << file << " " << size;
      EXPECT_DOUBLE_EQ(longest_scale(image.width, image.height, std::stoi(size)),
                       item.at("scale").at(size).get<double>());
      ++compared;
    }
  }
  EXPECT_GE(compared, 32);
}

TEST(CropAndResize, GivesTheOriginalsPixelsForFractionalBoxes) {
  int compared = 0;
  for (const auto& item : image_cases::read_list("preprocess/cases.json", "cases")) {
    const std::string file = item.at("file");
    const formats::Image image = formats::read_image(reference("preprocess/" + file));
    for (const auto& crop : item.at("crops")) {
      const auto box = crop.at("box").get<std::array<double, 4>>();
      for (const auto& [size, expected] : crop.at("sizes").items()) {
        const auto out = crop_and_resize(image, {box[0], box[1], box[2], box[3]}, std::stoi(size));
        EXPECT_EQ(checksum(out), expected.get<std::uint32_t>()) << file << " " << crop.at("box") << " " << size;
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 60);
}

TEST(CropAndResize, GivesThinCropsOnePixel) {
  formats::Image image = formats::blank_image(formats::ImageMode::kL, 100, 300);
  for (int y = 0; y < 300; ++y) image.row(y)[40] = 200;
  // 39.6 and 40.4 round to the same column, and 300 x 1 at 64 would round to no column at all.
  const formats::Image out = crop_and_resize(image, {39.6, 0, 40.4, 300}, 64);
  ASSERT_EQ(out.width, 64);
  ASSERT_EQ(out.height, 64);
  EXPECT_EQ(out.row(10)[3 * 31], 200);
  EXPECT_EQ(out.row(10)[3 * 30], 0);
  EXPECT_EQ(out.row(10)[3 * 32], 0);
  EXPECT_NO_THROW(crop_and_resize(image, {150, 400, 150, 400}, 64));
}

TEST(ResizeShortestAndCrop, GivesPillowsPixelsInEveryMode) {
  int compared = 0;
  for (const auto& item : image_cases::read_list("preprocess/shortest.json", "cases")) {
    const std::string file = item.at("file");
    const formats::Image image = formats::read_image(reference("preprocess/" + file));
    for (const auto& [size, expected] : item.at("sizes").items()) {
      const formats::Image out = resize_shortest_and_crop(image, std::stoi(size));
      EXPECT_EQ(checksum(out), expected.get<std::uint32_t>()) << file << " " << size;
      ++compared;
    }
  }
  EXPECT_GE(compared, 24);
}

TEST(ResizeShortestAndCrop, RoundsHalvesOfOffsetsToEven) {
  // Columns numbered by their red; nothing is resized, as the shorter side has the size already.
  for (const auto& [width, first] : std::vector<std::pair<int, int>>{{11, 2}, {13, 2}, {15, 4}, {8, 0}}) {
    formats::Image image = formats::blank_image(formats::ImageMode::kRGB, width, 8);
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < width; ++x) image.row(y)[3 * x] = static_cast<std::uint8_t>(x);
    EXPECT_EQ(resize_shortest_and_crop(image, 8).row(3)[0], first) << width;
  }
  EXPECT_THROW(resize_shortest_and_crop(formats::blank_image(formats::ImageMode::kL, 1, 1 << 20), 336), Error);
}

TEST(Normalize, GivesTheOriginalsTensorAtSampledPixels) {
  const auto cases = formats::read_safetensors(reference("preprocess/normalized.safetensors"));
  for (const std::string file : {"gray_320x240.q92.jpg", "rgba_200x150.png"}) {
    const auto pixels = to_tensor(resize_longest(formats::read_image(reference("preprocess/" + file)), 640));
    const auto values = normalize(pixels, models::PixelStatistics{}).flatten(1);
    const auto positions = tensor(cases, file + ".det640.sample_index");
    const auto expected = tensor(cases, file + ".det640.sample_f32");
    EXPECT_EQ(values.scalar_type(), at::kFloat);
    EXPECT_LE(largest_difference(values.index_select(1, positions), expected), 1e-6) << file;
  }
}

TEST(Normalize, WorksOnBatches) {
  const auto pixels = at::arange(2 * 3 * 4 * 5, at::kByte).view({2, 3, 4, 5});
  const auto batch = normalize(pixels, models::PixelStatistics{});
  EXPECT_EQ(batch.sizes(), at::IntArrayRef({2, 3, 4, 5}));
  EXPECT_TRUE(at::equal(batch[1], normalize(pixels[1], models::PixelStatistics{})));
}

TEST(ToTensor, PutsChannelsFirst) {
  formats::Image image = formats::blank_image(formats::ImageMode::kRGB, 5, 3);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i);
  const auto expected = at::arange(45, at::kByte).view({3, 5, 3}).permute({2, 0, 1});
  EXPECT_TRUE(at::equal(to_tensor(image), expected));
  EXPECT_THROW(to_tensor(formats::blank_image(formats::ImageMode::kL, 5, 3)), Error);
}

TEST(ResizeMask, GivesTheOriginalsValuesAndSigns) {
  const auto cases = formats::read_safetensors(reference("preprocess/masks.safetensors"));
  for (const std::string name : {"mask.1", "mask.3", "mask.4"}) {
    const auto expected = tensor(cases, name + ".resized")[0];
    const auto out = resize_mask(tensor(cases, name + ".in"), static_cast<int>(expected.size(0)));
    EXPECT_LE(largest_difference(out, expected), 1e-5) << name;
    EXPECT_TRUE(at::equal(out > 0, tensor(cases, name + ".positive")[0])) << name;
  }
}

// LibTorch's own operators, on the part that is not padding.
TEST(ResizeMask, AgreesWithTorchsBicubicResizesWithAndWithoutAntialiasing) {
  torch::manual_seed(3);
  for (const auto& [height, width, size] : {std::array{97, 61, 16}, {20, 33, 64}, {64, 64, 64}, {300, 40, 37}}) {
    const auto mask = at::rand({height, width}) > 0.6;
    const double scale = static_cast<double>(size) / std::max(height, width);
    const auto rows = static_cast<std::int64_t>(std::nearbyint(height * scale));
    const auto columns = static_cast<std::int64_t>(std::nearbyint(width * scale));
    const auto input = mask.to(at::kFloat).view({1, 1, height, width});
    const auto plain = at::upsample_bicubic2d(input, {rows, columns}, false)[0][0];
    const auto smooth = at::_upsample_bicubic2d_aa(input, {rows, columns}, false)[0][0];
    const auto part = [&](MaskRule rule) {
      const auto out = resize_mask(mask, size, rule);
      EXPECT_EQ(out.sizes(), at::IntArrayRef({size, size}));
      EXPECT_EQ(out.slice(0, rows).abs().sum().item<float>() + out.slice(1, columns).abs().sum().item<float>(), 0);
      return out.slice(0, 0, rows).slice(1, 0, columns);
    };
    EXPECT_LE(largest_difference(part(MaskRule::kBicubic), plain), 2e-5);
    EXPECT_LE(largest_difference(part(MaskRule::kBicubicAntialias), smooth), 2e-5);
  }
}

}  // namespace
}  // namespace clipself::datasets
