#include "clipself/detection/objective.h"

#include <gtest/gtest.h>

#include "clipself/base/error.h"
#include "clipself/detection/inference.h"
#include "clipself/formats/rle.h"
#include "clipself/ops/masks.h"
#include "tests/detection/tiny_detector.h"

namespace clipself::detection {
namespace {

constexpr models::PixelStatistics kPixels{.mean = {0.5F, 0.25F, 0}, .std = {0.5F, 0.25F, 1}};

TEST(NetworkInput, IsNormalisedAndZeroOutsideThePicture) {
  const auto pixels = at::full({2, 3, 4, 6}, 255, at::kByte);
  const std::vector<std::array<int, 2>> content{{3, 6}, {0, 0}};
  const auto input = network_input(pixels, content, kPixels, at::kCPU);
  EXPECT_EQ(input.scalar_type(), at::kFloat);
  // (1 - 0.5) / 0.5, (1 - 0.25) / 0.25, 1
  const auto inside = at::tensor({1.F, 3.F, 1.F}).view({3, 1, 1});
  EXPECT_TRUE(input[0].slice(1, 0, 3).allclose(inside.expand({3, 3, 6})));
  EXPECT_EQ(input[0].slice(1, 3).abs().max().item<float>(), 0) << "padding is put on after normalisation";
  EXPECT_TRUE(input[1].allclose(inside.expand({3, 4, 6}))) << "no content said: all of it";
}

datasets::Batch two_pictures() {
  datasets::Batch batch;
  torch::manual_seed(3);
  batch.image_ids = {5, 6};
  batch.images = at::randint(256, {2, 3, 64, 64}, at::kByte);
  batch.boxes = {boxes_of({4, 4, 30, 40, 20, 20, 60, 60}), at::zeros({0, 4})};
  batch.labels = {at::tensor({0, 1}, at::kLong), at::zeros({0}, at::kLong)};
  batch.content = {{64, 64}, {48, 64}};
  return batch;
}

TEST(DetectionObjective, HasTheLossesOfATrainingPassAndAnAccuracyWithoutGradient) {
  auto detector = tiny_detector(tiny_settings());
  detector->train(true);
  DetectionObjective objective(detector, kPixels);
  Rng rng(1), same(1);
  const auto batch = two_pictures();
  const auto terms = objective.losses(batch, rng);
  // A draw of each picture's own. Running statistics are not read while training, so a second pass gives the same.
  const auto step = same();
  std::array own{Rng(step, 0, 5), Rng(step, 0, 6)};
  const auto pass =
      detector->train_pass(network_input(batch.images, batch.content, kPixels, at::kCPU),
                           {kWholePicture, {.content = {48, 64}, .padded = {64, 64}}},
                           {{.boxes = batch.boxes[0], .labels = batch.labels[0], .masks = {}}, no_objects()}, own);
  const auto expected = pass.terms();
  ASSERT_EQ(terms.size(), expected.size());
  for (std::size_t i = 0; i < terms.size(); ++i) {
    EXPECT_EQ(terms[i].name, expected[i].name);
    EXPECT_FLOAT_EQ(terms[i].value.item<float>(), expected[i].value.item<float>()) << terms[i].name;
    EXPECT_EQ(terms[i].value.requires_grad(), terms[i].name != "acc") << terms[i].name;
  }
}

TEST(DetectionObjective, RefusesBatchesOfDistillationAndMasksThatAreMissing) {
  auto detector = tiny_detector(tiny_settings());
  DetectionObjective objective(detector, kPixels);
  Rng rng(1);
  auto batch = two_pictures();
  batch.labels.clear();
  EXPECT_THROW(objective.losses(batch, rng), Error);
  auto settings = tiny_settings();
  settings.masks = true;
  DetectionObjective with_masks(tiny_detector(settings), kPixels);
  EXPECT_THROW(with_masks.losses(two_pictures(), rng), Error);
}

TEST(Inference, AppendsDetectionsAsCocoHasThem) {
  Detections found{.boxes = boxes_of({1, 2, 4, 8, 0, 0, 2, 1}),
                   .scores = at::tensor({0.75F, 0.5F}),
                   .labels = at::tensor({1, 0}, at::kLong),
                   .masks = at::zeros({2, 3, 4}, at::kBool)};
  found.masks[1][0].slice(0, 0, 2).fill_(true);
  evaluation::Detections list;
  append_detections(found, 42, {7, 90}, list);
  ASSERT_EQ(list.list.size(), 2U);
  EXPECT_EQ(list.list[0].image_id, 42);
  EXPECT_EQ(list.list[0].category_id, 90);
  EXPECT_EQ(list.list[0].bbox, (std::array<double, 4>{1, 2, 3, 6}));
  EXPECT_EQ(list.list[1].category_id, 7);
  EXPECT_EQ(ops::mask_area(list.segmentations.rle(list.list[0].segmentation)), 0);
  EXPECT_EQ(list.segmentations.rle(list.list[1].segmentation).counts, (std::vector<std::uint32_t>{0, 1, 2, 1, 8}));
}

TEST(Inference, IsTheSameOneByOneAndTogetherAndOnTheScaleOfThePicture) {
  auto detector = tiny_detector(tiny_settings());
  formats::Image photo{.width = 128, .height = 96, .pixels = {}};
  for (int i = 0; i < 128 * 96 * 3; ++i) photo.pixels.push_back(static_cast<std::uint8_t>(i * 37 % 251));
  const auto small = datasets::detection_image(photo, 64);
  auto half = small;
  half.original = {48, 64};
  half.scale_factor = {1, 1, 1, 1};
  const auto together = detect_images(*detector, {small, half}, kPixels);
  const auto alone = detect_images(*detector, {small}, kPixels);
  ASSERT_EQ(together.size(), 2U);
  ASSERT_GT(alone[0].boxes.size(0), 0);
  EXPECT_TRUE(together[0].boxes.allclose(alone[0].boxes, 1e-4, 1e-3));
  EXPECT_TRUE(together[0].scores.allclose(alone[0].scores, 1e-4, 1e-5));
  // The same picture, said to be half as large.
  const auto proposals = propose_images(*detector, {small, half}, kPixels);
  ASSERT_EQ(proposals[0].boxes.sizes(), proposals[1].boxes.sizes());
  EXPECT_TRUE(proposals[0].boxes.allclose(proposals[1].boxes * 2, 1e-4, 1e-3));
  EXPECT_LE(proposals[0].boxes.max().item<float>(), 128.001F);
}

}  // namespace
}  // namespace clipself::detection
