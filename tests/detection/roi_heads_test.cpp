#include "clipself/detection/roi_heads.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clipself/base/error.h"
#include "tests/detection/tiny_detector.h"

namespace clipself::detection {
namespace {

constexpr std::int64_t kWidth = 6;

BoxHead tiny_box_head(const DetectorConfig& config = tiny_settings()) {
  torch::manual_seed(3);
  return {config, three_classes(kWidth)};
}

TEST(ExtractRois, TakesTheLevelOfABoxesSize) {
  // A geometric mean of the sides from 112, 224 and 448 on is the second, third and fourth level's.
  const auto boxes = boxes_of({0, 0, 1,   1,   0, 0, 111, 111, 0, 0, 112, 112, 0, 0, 56,   224,  0, 0, 223, 223,
                               0, 0, 224, 224, 0, 0, 447, 447, 0, 0, 448, 448, 0, 0, 5000, 5000, 7, 7, 7,   9});
  EXPECT_TRUE(at::equal(roi_levels(boxes, 4), at::tensor({0, 0, 1, 1, 1, 2, 2, 3, 3, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(roi_levels(boxes, 2), at::tensor({0, 0, 1, 1, 1, 1, 1, 1, 1, 0}, at::kLong)));
}

TEST(ExtractRois, KeepsTheOrderOfBoxesOverImagesAndLevels) {
  // Maps are constant: ten times the image plus the level.
  const std::vector<double> strides{8, 16, 32, 64};
  std::vector<at::Tensor> levels;
  for (std::int64_t i = 0; i < 5; ++i) {
    const std::int64_t side = 1024 / (8 << i);
    levels.push_back(at::tensor({0.0, 10.0}).to(at::kFloat).reshape({2, 1, 1, 1}).expand({2, 3, side, side}) +
                     static_cast<double>(i));
  }
  const auto small = boxes_of({300, 300, 340, 350}), middle = boxes_of({300, 300, 530, 540}),
             large = boxes_of({100, 100, 700, 900});
  const auto pooled = extract_rois(levels, strides, {at::cat({large, small}), at::cat({middle, large, small})}, 2);
  ASSERT_EQ(pooled.sizes(), (at::IntArrayRef{5, 3, 2, 2}));
  const auto expected = at::tensor({3.0, 0.0, 12.0, 13.0, 10.0}).to(at::kFloat).reshape({5, 1, 1, 1});
  EXPECT_TRUE(at::allclose(pooled, expected.expand_as(pooled))) << pooled.flatten(1);
}

TEST(ExtractRois, ScalesBoxesByTheStride) {
  // Each place holds its column's middle in pixels, so a box's mean is its own middle.
  const auto column = (at::arange(16).to(at::kFloat) + 0.5) * 8;
  const auto map = column.expand({1, 1, 16, 16});
  const auto pooled = extract_rois({map}, {8}, {boxes_of({24, 24, 72, 90})}, 1);
  EXPECT_NEAR(pooled.item<double>(), 48, 1e-3);
}

TEST(RoiTargets, AreThoseOfTheObjectsPositivesFirst) {
  const auto boxes = boxes_of({0, 0, 10, 10, 40, 40, 50, 50, 2, 0, 12, 10, 80, 80, 90, 99});
  const Objects objects{
      .boxes = boxes_of({100, 100, 120, 120, 0, 0, 10, 10}), .labels = at::tensor({4, 2}, at::kLong), .masks = {}};
  const Assignment assignment{.object = at::tensor({2, 0, 2, 0}, at::kLong), .overlap = {}};
  const Drawn drawn{at::tensor({0, 2}, at::kLong), at::tensor({3}, at::kLong)};
  const auto targets = roi_targets(boxes, objects, assignment, drawn, 7, {0.1, 0.1, 0.2, 0.2});
  EXPECT_TRUE(at::equal(targets.boxes, boxes.index_select(0, at::tensor({0, 2, 3}, at::kLong))));
  EXPECT_TRUE(at::equal(targets.labels, at::tensor({2, 2, 7}, at::kLong)));
  EXPECT_TRUE(at::equal(targets.positive_objects, at::tensor({1, 1}, at::kLong)));
  EXPECT_TRUE(at::equal(targets.positive_boxes, targets.boxes.slice(0, 0, 2)));
  EXPECT_TRUE(at::allclose(targets.deltas, boxes_of({0, 0, 0, 0, -2, 0, 0, 0, 0, 0, 0, 0}), 1e-6, 1e-6));
}

TEST(BoxHeadLogits, AreTheTemperatureTimesACosine) {
  // As many classes as dimensions: logits over the temperature then tell the feature, which has unit length.
  constexpr std::int64_t kSquare = 4;
  auto config = tiny_settings();
  config.temperature = 20;
  torch::manual_seed(3);
  BoxHead head(config, three_classes(kSquare));
  const auto last = head.named_parameters()["cls_fcs.0.bias"].detach();
  last.fill_(0.1);
  const auto output = head.forward(at::randn({5, 8, 7, 7}));
  ASSERT_EQ(output.logits.sizes(), (at::IntArrayRef{5, 4}));
  ASSERT_EQ(output.deltas.sizes(), (at::IntArrayRef{5, 4}));
  const auto feature = (output.logits / 20).matmul(three_classes(kSquare).embeddings.t().inverse());
  EXPECT_TRUE(at::allclose(feature.norm(2, 1), at::ones({5}), 1e-4, 1e-4)) << feature;
  // A feature that ReLU leaves nothing of has no direction.
  last.fill_(-1000);
  EXPECT_TRUE(at::equal(head.forward(at::randn({5, 8, 7, 7})).logits, at::zeros({5, 4})));
}

TEST(BoxHeadLosses, WeighClassesAndLeaveNovelOnesOut) {
  const auto head = tiny_box_head();
  torch::manual_seed(5);
  const auto logits = at::randn({4, 4}) * 3;
  const auto labels = at::tensor({0, 3, 1, 3}, at::kLong);
  const auto row_weights = at::tensor({1.0, 0.5, 0.0, 2.0}).to(at::kFloat);
  const auto class_weight = std::vector<double>{1, 1, 0, tiny_settings().background_weight};
  double sum = 0;
  for (std::int64_t i = 0; i < 4; ++i) {
    double total = 0;
    for (const std::int64_t k : {0, 1, 3}) total += std::exp(logits[i][k].item<double>());
    const auto label = labels[i].item<std::int64_t>();
    sum += row_weights[i].item<double>() * class_weight[static_cast<std::size_t>(label)] *
           (std::log(total) - logits[i][label].item<double>());
  }
  // Three rows weigh anything.
  EXPECT_NEAR(head.class_loss(logits, labels, row_weights).item<double>(), sum / 3, 1e-5);
}

TEST(BoxHeadLosses, OfBoxesAreOverAllRowsAndOfPositivesAlone) {
  const auto head = tiny_box_head();
  auto logits = at::zeros({4, 4});
  logits[0][0] = logits[1][2] = logits[2][3] = logits[3][1] = 5;  // [1][2] is the novel class's: it does not count
  const auto labels = at::tensor({0, 1, 3, 3}, at::kLong);
  const auto deltas = boxes_of({1, 2, 3, 4, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9});
  const auto targets = boxes_of({0, 2, 3, 2, 1, 1, 1, -1, 0, 0, 0, 0, 0, 0, 0, 0});
  const auto losses = head.losses({logits, deltas}, labels, targets);
  EXPECT_NEAR(losses.boxes.item<double>(), (1 + 2 + 4) / 4.0, 1e-6);
  // The first and third rows are right; of the second all trained logits are equal, and class 0 comes first.
  EXPECT_NEAR(losses.accuracy.item<double>(), 50, 1e-5);
  EXPECT_NEAR(losses.classes.item<double>(), head.class_loss(logits, labels, at::ones({4})).item<double>(), 1e-6);
}

TEST(BoxHeadLosses, RefuseTheLabelOfANovelClass) {
  const auto head = tiny_box_head();
  try {
    head.losses({at::zeros({2, 4}), at::zeros({2, 4})}, at::tensor({1, 2}, at::kLong), at::zeros({2, 4}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("owl"), std::string::npos) << error.what();
  }
}

TEST(BoxHeadLosses, OfNoRowsAreZero) {
  auto head = tiny_box_head();
  const auto output = head.forward(at::zeros({0, 8, 7, 7}));
  const auto losses = head.losses(output, at::zeros({0}, at::kLong), at::zeros({0, 4}));
  EXPECT_EQ(losses.classes.item<double>(), 0);
  EXPECT_EQ(losses.boxes.item<double>(), 0);
  EXPECT_EQ(losses.accuracy.item<double>(), 0);
  EXPECT_EQ(head.fuse(output.logits, at::zeros({0, kWidth})).sizes(), (at::IntArrayRef{0, 4}));
}

TEST(BoxHeadFuse, JoinsBothProbabilitiesByTheClassesExponent) {
  auto config = tiny_settings();
  config.fusion = {.alpha = 0.3, .beta = 0.7, .dense_temperature = 9};
  const auto head = tiny_box_head(config);
  torch::manual_seed(6);
  const auto logits = at::randn({3, 4}) * 2, dense = at::randn({3, kWidth}) * 5;
  const auto fused = head.fuse(logits, dense);
  const auto embeddings = three_classes(kWidth).embeddings.to(at::kDouble);
  for (std::int64_t i = 0; i < 3; ++i) {
    std::vector<double> p, q;
    double p_sum = 0, q_sum = 0;
    const auto feature = dense[i].to(at::kDouble);
    for (std::int64_t k = 0; k < 4; ++k) {
      p.push_back(std::exp(logits[i][k].item<double>()));
      q.push_back(std::exp(9 * (feature.dot(embeddings[k]) / feature.norm()).item<double>()));
      p_sum += p.back();
      q_sum += q.back();
    }
    for (std::size_t k = 0; k < 4; ++k) {
      const double a = k == 2 ? 0.7 : 0.3;
      EXPECT_NEAR(fused[i][static_cast<std::int64_t>(k)].item<double>(),
                  std::pow(p[k] / p_sum, 1 - a) * std::pow(q[k] / q_sum, a), 1e-5);
    }
  }
}

TEST(BoxHead, RefusesEmbeddingsThatDoNotFit) {
  auto classes = three_classes(kWidth);
  classes.embeddings = classes.embeddings.slice(0, 0, 3);
  EXPECT_THROW(BoxHead(tiny_settings(), classes), Error);
  auto config = tiny_settings();
  config.fc_width = kWidth + 1;
  EXPECT_THROW(BoxHead(config, three_classes(kWidth)), Error);
  EXPECT_THROW(BoxHead(tiny_settings(), {}), Error);
}

TEST(SelectDetections, KeepsWhatIsAboveTheThresholdBestFirst) {
  const auto boxes = boxes_of({0, 0, 10, 10, 0, 0, 10, 9, 50, 50, 60, 60});
  // Two classes and background, which is never one.
  const auto scores = at::tensor({0.5, 0.1, 0.9, 0.6, 0.3, 0.9, 0.25, 0.7, 0.9}).to(at::kFloat).reshape({3, 3});
  const auto [found, places] =
      select_detections(boxes, scores, {.score_threshold = 0.25, .iou_threshold = 0.5, .most = 10});
  // Of class 0 the second box drives out the first (overlap 0.9); the third is not above the threshold. Of class 1 the
  // first is below it.
  EXPECT_TRUE(at::equal(found.labels, at::tensor({1, 0, 1}, at::kLong))) << found.labels;
  EXPECT_TRUE(at::equal(found.boxes, boxes.index_select(0, at::tensor({2, 1, 1}, at::kLong))));
  EXPECT_TRUE(at::equal(found.scores, at::tensor({0.7, 0.6, 0.3}).to(at::kFloat)));
  EXPECT_TRUE(at::equal(places, at::tensor({5, 2, 3}, at::kLong)));
  const auto most = select_detections(boxes, scores, {.score_threshold = 0.25, .iou_threshold = 0.5, .most = 2}).first;
  EXPECT_TRUE(at::equal(most.scores, found.scores.slice(0, 0, 2)));
  const auto loose = select_detections(boxes, scores, {.score_threshold = 0.25, .iou_threshold = 0.95, .most = 10});
  EXPECT_TRUE(at::equal(loose.first.scores, at::tensor({0.7, 0.6, 0.5, 0.3}).to(at::kFloat)));
}

TEST(SelectDetections, TakesNoBoxesAndNoneThatIsGoodEnough) {
  for (const std::int64_t count : {0, 3}) {
    const auto found = select_detections(at::rand({count, 4}), at::zeros({count, 3}), {}).first;
    EXPECT_EQ(found.boxes.sizes(), (at::IntArrayRef{0, 4}));
    EXPECT_EQ(found.scores.numel(), 0);
    EXPECT_EQ(found.labels.scalar_type(), at::kLong);
  }
}

TEST(MaskHead, DoublesTheSizeAndTakesNoRows) {
  torch::manual_seed(7);
  MaskHead head(tiny_settings());
  EXPECT_EQ(head.forward(at::randn({3, 8, 4, 4})).sizes(), (at::IntArrayRef{3, 1, 8, 8}));
  const auto none = head.forward(at::randn({0, 8, 4, 4}));
  EXPECT_EQ(none.sizes(), (at::IntArrayRef{0, 1, 8, 8}));
  const auto loss = MaskHead::loss(none, at::zeros({0, 8, 8}));
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_TRUE(loss.requires_grad());
}

TEST(MaskHead, LossIsTheMeanCrossEntropy) {
  const auto logits = at::tensor({2.0, -1.0, 0.0, 3.0}).to(at::kFloat).reshape({1, 1, 2, 2});
  const auto targets = at::tensor({1.0, 0.0, 1.0, 0.0}).to(at::kFloat).reshape({1, 2, 2});
  const double expected =
      (std::log1p(std::exp(-2.0)) + std::log1p(std::exp(-1.0)) + std::log(2.0) + std::log1p(std::exp(3.0))) / 4;
  EXPECT_NEAR(MaskHead::loss(logits, targets).item<double>(), expected, 1e-6);
}

TEST(MaskParts, AreThoseOfTheBoxesObjectsInTheBoxesOrder) {
  auto masks = at::zeros({2, 20, 20}, at::kByte);
  masks[0].slice(1, 0, 10).fill_(1);   // left half
  masks[1].slice(0, 10, 20).fill_(1);  // lower half
  const auto boxes = boxes_of({0, 0, 20, 20, 2, 2, 8, 8, 0, 0, 20, 20, 12, 2, 18, 8});
  const auto parts = mask_parts(masks, boxes, at::tensor({1, 0, 0, 0}, at::kLong), 2);
  ASSERT_EQ(parts.sizes(), (at::IntArrayRef{4, 2, 2}));
  const auto expected =
      at::tensor({0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0}, at::kLong).reshape({4, 2, 2}).to(at::kFloat);
  EXPECT_TRUE(at::allclose(parts, expected, 1e-5, 0.06)) << parts;
  EXPECT_EQ(mask_parts(masks, at::zeros({0, 4}), at::zeros({0}, at::kLong), 2).sizes(), (at::IntArrayRef{0, 2, 2}));
}

TEST(PasteMasks, OfAFullMaskIsItsBox) {
  const auto boxes = boxes_of({3, 2, 9, 7, 0, 0, 20, 12, 4.4, 1.6, 10.6, 3.4, 15, 8, 30, 40, -5, -5, 2, 2});
  const auto pasted = paste_masks(at::full({5, 1, 28, 28}, 20.0), boxes, {12, 20}, 0.5);
  ASSERT_EQ(pasted.sizes(), (at::IntArrayRef{5, 12, 20}));
  const auto y = (at::arange(12).to(at::kFloat) + 0.5).unsqueeze(1), x = (at::arange(20).to(at::kFloat) + 0.5);
  for (std::int64_t i = 0; i < 5; ++i) {
    const auto box = boxes[i];
    const auto inside =
        (x > box[0]).logical_and(x < box[2]).unsqueeze(0).logical_and(y > box[1]).logical_and(y < box[3]);
    EXPECT_TRUE(at::equal(pasted[i], inside)) << boxes[i] << pasted[i].to(at::kInt);
  }
}

TEST(PasteMasks, PlacesEachPartAndGoesByTheThreshold) {
  auto logits = at::full({1, 1, 2, 2}, -20.0);
  logits[0][0][0][1] = std::log(0.6 / 0.4);  // upper right: 0.6
  const auto box = boxes_of({0, 0, 20, 20});
  const auto pasted = paste_masks(logits, box, {20, 20}, 0.5)[0];
  EXPECT_TRUE(pasted[5][14].item<bool>());
  EXPECT_FALSE(pasted[5][5].item<bool>());
  EXPECT_FALSE(pasted[14][14].item<bool>());
  EXPECT_FALSE(paste_masks(logits, box, {20, 20}, 0.61).any().item<bool>());
}

TEST(PasteMasks, TakesNoBoxesAndBoxesOutsideOfThePicture) {
  EXPECT_EQ(paste_masks(at::zeros({0, 1, 4, 4}), at::zeros({0, 4}), {5, 6}, 0.5).sizes(), (at::IntArrayRef{0, 5, 6}));
  const auto outside = boxes_of({100, 100, 120, 120, -40, -40, -20, -20, 1, 100, 4, 120});
  EXPECT_FALSE(paste_masks(at::full({3, 1, 4, 4}, 20.0), outside, {5, 6}, 0.5).any().item<bool>());
}

TEST(NoRows, AreLegalInEveryPart) {
  const auto none = at::zeros({0, 4});
  const std::vector<at::Tensor> levels{at::rand({2, 8, 16, 16}), at::rand({2, 8, 8, 8})};
  EXPECT_EQ(extract_rois(levels, {4, 8}, {none, none}, 7).sizes(), (at::IntArrayRef{0, 8, 7, 7}));
  EXPECT_EQ(extract_rois(levels, {4, 8}, {none, boxes_of({1, 1, 9, 9})}, 7).sizes(), (at::IntArrayRef{1, 8, 7, 7}));
  const Drawn drawn{at::zeros({0}, at::kLong), at::zeros({0}, at::kLong)};
  const auto targets = roi_targets(none, no_objects(), {.object = at::zeros({0}, at::kLong), .overlap = {}}, drawn, 3,
                                   {0.1, 0.1, 0.2, 0.2});
  EXPECT_EQ(targets.boxes.sizes(), (at::IntArrayRef{0, 4}));
  EXPECT_EQ(targets.labels.scalar_type(), at::kLong);
}

}  // namespace
}  // namespace clipself::detection
