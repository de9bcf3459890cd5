#include "clipself/detection/boxes.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clipself/base/error.h"
#include "tests/detection/tiny_detector.h"

namespace clipself::detection {
namespace {

constexpr std::array<double, 4> kBoxStds{0.1, 0.1, 0.2, 0.2};

at::Tensor random_boxes(std::int64_t count, double side) {
  const auto corner = at::rand({count, 2}) * side;
  return at::cat({corner, corner + 1 + at::rand({count, 2}) * side}, 1);
}

at::Tensor numbers_of(std::initializer_list<std::int64_t> numbers) {
  return at::tensor(std::vector<std::int64_t>(numbers), at::kLong);
}

TEST(Anchors, HaveTheirRatioAndArea) {
  const std::vector<double> ratios{0.5, 1.0, 2.0};
  const auto base = base_anchors(14, 8, ratios);
  ASSERT_EQ(base.sizes(), (at::IntArrayRef{3, 4}));
  for (std::int64_t i = 0; i < 3; ++i) {
    const double width = 14 * 8 / std::sqrt(ratios[static_cast<std::size_t>(i)]);
    const double height = 14 * 8 * std::sqrt(ratios[static_cast<std::size_t>(i)]);
    EXPECT_TRUE(at::allclose(base[i], boxes_of({-width / 2, -height / 2, width / 2, height / 2})[0], 1e-6, 1e-4));
  }
}

TEST(Anchors, StandAtEveryPlaceRowByRow) {
  const auto base = boxes_of({-1, -2, 1, 2, -3, -4, 3, 4});
  const auto anchors = grid_anchors(base, 3.5, {2, 3});
  ASSERT_EQ(anchors.sizes(), (at::IntArrayRef{12, 4}));
  for (std::int64_t y = 0; y < 2; ++y) {
    for (std::int64_t x = 0; x < 3; ++x) {
      const auto px = static_cast<double>(x) * 3.5, py = static_cast<double>(y) * 3.5;
      EXPECT_TRUE(at::equal(anchors.slice(0, (y * 3 + x) * 2, (y * 3 + x) * 2 + 2), base + boxes_of({px, py, px, py})));
    }
  }
}

TEST(Anchors, AreValidWhereTheirPlaceLiesInThePicture) {
  // 17 pixels of stride 8 take three places; the map has fewer rows than the picture asks for.
  const auto valid = valid_anchors(8, {2, 4}, {100, 17}, 2).reshape({2, 4, 2});
  EXPECT_TRUE(valid.slice(1, 0, 3).all().item<bool>());
  EXPECT_FALSE(valid.slice(1, 3).any().item<bool>());
}

TEST(BoxCoding, DecodesWhatItEncoded) {
  torch::manual_seed(1);
  const auto boxes = random_boxes(50, 100), targets = random_boxes(50, 100);
  const auto deltas = encode_boxes(boxes, targets, kBoxStds);
  EXPECT_TRUE(at::allclose(decode_boxes(boxes, deltas, kBoxStds, std::nullopt), targets, 1e-4, 1e-3));
}

TEST(BoxCoding, IsCentreDifferenceAndLogarithmOfSizes) {
  const auto deltas = encode_boxes(boxes_of({0, 0, 10, 20}), boxes_of({5, 4, 25, 14}), kBoxStds)[0];
  // Centres (5, 10) and (15, 9); sizes 10 x 20 and 20 x 10.
  const auto expected =
      at::tensor({10.0 / 10 / 0.1, -1.0 / 20 / 0.1, std::log(2.0) / 0.2, std::log(0.5) / 0.2}, at::kDouble);
  EXPECT_TRUE(at::allclose(deltas.to(at::kDouble), expected, 1e-6, 1e-6));
}

TEST(BoxCoding, LimitsSizesAndClipsToThePicture) {
  const auto box = boxes_of({40, 40, 50, 50});
  const auto huge = decode_boxes(box, at::tensor({0.0, 0.0, 100.0, -100.0}).to(at::kFloat).unsqueeze(0), {1, 1, 1, 1},
                                 std::nullopt)[0];
  EXPECT_NEAR((huge[2] - huge[0]).item<double>(), 10 * 1000.0 / 16, 1e-2);
  EXPECT_NEAR((huge[3] - huge[1]).item<double>(), 10 * 16.0 / 1000, 1e-4);
  const auto clipped = decode_boxes(boxes_of({-20, 10, 90, 120}), at::zeros({1, 4}), kBoxStds, Extent{60, 80});
  EXPECT_TRUE(at::equal(clipped, boxes_of({0, 10, 80, 60})));
}

TEST(BoxCoding, DecodesEachClassByItself) {
  torch::manual_seed(2);
  const auto boxes = random_boxes(5, 50), deltas = at::randn({5, 12});
  const auto all = decode_boxes(boxes, deltas, kBoxStds, std::nullopt);
  for (std::int64_t k = 0; k < 3; ++k) {
    const auto own = decode_boxes(boxes, deltas.slice(1, 4 * k, 4 * k + 4), kBoxStds, std::nullopt);
    EXPECT_TRUE(at::equal(all.slice(1, 4 * k, 4 * k + 4), own));
  }
  EXPECT_EQ(decode_boxes(at::zeros({0, 4}), at::zeros({0, 12}), kBoxStds, std::nullopt).sizes(),
            (at::IntArrayRef{0, 12}));
}

TEST(BoxIou, OfKnownBoxes) {
  const auto iou = box_iou(boxes_of({0, 0, 2, 2, 5, 5, 5, 5}),
                           boxes_of({0, 0, 2, 2, 1, 1, 3, 3, 2, 0, 4, 2, 0, 0, 8, 1, 5, 5, 5, 5}));
  const auto expected = at::tensor({1.0, 1.0 / 7, 0.0, 2.0 / 10, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}).reshape({2, 5});
  EXPECT_TRUE(at::allclose(iou, expected.to(at::kFloat), 1e-6, 1e-7));
  EXPECT_EQ(box_iou(at::zeros({0, 4}), at::zeros({3, 4})).sizes(), (at::IntArrayRef{0, 3}));
  EXPECT_THROW(box_iou(at::zeros({2, 5}), at::zeros({3, 4})), Error);
  EXPECT_THROW(box_iou(at::zeros({2, 4}), at::zeros({4})), Error);
}

// Two objects of 10 x 10; boxes that are a part of one have that part as their overlap.
const at::Tensor kTwoObjects = boxes_of({0, 0, 10, 10, 20, 0, 30, 10});

TEST(Assign, GoesByTheTwoThresholds) {
  const auto boxes = boxes_of({0,  0, 10, 10, 0, 0, 10, 7, 0, 0, 10, 5, 0, 0, 10, 3, 0, 0, 10, 2, 50, 50, 60, 60,  //
                               20, 0, 30, 8});
  const auto found = assign(boxes, kTwoObjects, {.positive = 0.5, .negative = 0.25, .least = 0.25});
  EXPECT_TRUE(at::equal(found.object, numbers_of({1, 1, 1, -1, 0, 0, 2}))) << found.object;
  EXPECT_TRUE(at::allclose(found.overlap, at::tensor({1.0, 0.7, 0.5, 0.3, 0.2, 0.0, 0.8}).to(at::kFloat)));
  // At a threshold itself: an object's from the upper on, no background from the lower on.
  const auto edge = assign(boxes_of({0, 0, 10, 5}), kTwoObjects, {.positive = 0.75, .negative = 0.5, .least = 0.5});
  EXPECT_TRUE(at::equal(edge.object, numbers_of({-1})));
}

TEST(Assign, GivesAnObjectItsBestBoxesByLowQuality) {
  // The second object's best are two equal boxes of 0.4; a third is worse.
  const auto boxes = boxes_of({0, 0, 10, 10, 20, 0, 30, 4, 20, 6, 30, 10, 20, 0, 30, 3.5});
  AssignOptions options{.positive = 0.7, .negative = 0.3, .least = 0.3, .low_quality = true};
  EXPECT_TRUE(at::equal(assign(boxes, kTwoObjects, options).object, numbers_of({1, 2, 2, -1})));
  options.least = 0.45;
  EXPECT_TRUE(at::equal(assign(boxes, kTwoObjects, options).object, numbers_of({1, -1, -1, -1})));
  options.least = 0.3;
  options.low_quality = false;
  EXPECT_TRUE(at::equal(assign(boxes, kTwoObjects, options).object, numbers_of({1, -1, -1, -1})));
}

TEST(Assign, LowQualityTakesABoxFromABetterObject) {
  // The box is nearer to the first object, but the second has none that is nearer to it.
  const auto objects = boxes_of({0, 0, 10, 10, 0, 0, 10, 20});
  const auto boxes = boxes_of({0, 0, 10, 11});
  AssignOptions options{.positive = 0.5, .negative = 0.5, .least = 0.5};
  EXPECT_TRUE(at::equal(assign(boxes, objects, options).object, numbers_of({1})));
  options.low_quality = true;
  EXPECT_TRUE(at::equal(assign(boxes, objects, options).object, numbers_of({2})));
}

TEST(Assign, OfEqualObjectsTakesTheFirstOrByLowQualityTheLast) {
  const auto objects = at::cat({kTwoObjects, kTwoObjects, kTwoObjects});
  AssignOptions options{.positive = 0.5, .negative = 0.5, .least = 0.5};
  EXPECT_TRUE(at::equal(assign(kTwoObjects, objects, options).object, numbers_of({1, 2})));
  options.low_quality = true;
  EXPECT_TRUE(at::equal(assign(kTwoObjects, objects, options).object, numbers_of({5, 6})));
}

TEST(Assign, TakesNoBoxesAndNoObjects) {
  const auto background = assign(kTwoObjects, at::zeros({0, 4}), {.low_quality = true});
  EXPECT_TRUE(at::equal(background.object, numbers_of({0, 0})));
  EXPECT_TRUE(at::equal(background.overlap, at::zeros({2})));
  EXPECT_EQ(assign(at::zeros({0, 4}), kTwoObjects, {.low_quality = true}).object.numel(), 0);
  EXPECT_EQ(assign(at::zeros({0, 4}), at::zeros({0, 4}), {}).object.numel(), 0);
}

/// `positives` objects' boxes, as many of neither kind, then `negatives` of background.
TEST(Assign, ManyObjectsAreMatchedAsOneByOne) {
  // More overlaps than are made at once; whole coordinates, so that there are equal ones.
  constexpr std::int64_t kBoxes = 60000, kObjects = 150;
  at::manual_seed(3);
  const auto boxes_in = [](std::int64_t count, std::int64_t side, std::int64_t most) {
    const auto corner = at::randint(0, side, {count, 2}, at::kFloat);
    return at::cat({corner, corner + at::randint(1, most, {count, 2}, at::kFloat)}, 1);
  };
  const auto boxes = boxes_in(kBoxes, 300, 40), objects = boxes_in(kObjects, 300, 60);
  const AssignOptions options{.positive = 0.5, .negative = 0.3, .least = 0.2, .low_quality = true};
  const auto found = assign(boxes, objects, options);
  auto best = at::full({kBoxes}, -1.0), first = at::zeros({kBoxes}, at::kLong), last = at::zeros({kBoxes}, at::kLong);
  for (std::int64_t i = 0; i < kObjects; ++i) {
    const auto overlaps = box_iou(objects.narrow(0, i, 1), boxes)[0];
    first.masked_fill_(overlaps > best, i + 1);
    best = at::maximum(best, overlaps);
    const double own = overlaps.max().item<double>();
    if (own >= options.least) last.masked_fill_(overlaps == own, i + 1);
  }
  auto expected = at::full({kBoxes}, -1, at::kLong);
  expected.masked_fill_(best < options.negative, 0);
  expected = at::where(best >= options.positive, first, expected);
  expected = at::where(last > 0, last, expected);
  EXPECT_TRUE(at::equal(found.object, expected));
  EXPECT_TRUE(at::equal(found.overlap, best));
  EXPECT_GT((expected > 100).sum().item<std::int64_t>(), 0);
}

at::Tensor assigned(std::int64_t positives, std::int64_t negatives) {
  return at::cat(
      {at::full({positives}, 3, at::kLong), at::full({positives}, -1, at::kLong), at::zeros({negatives}, at::kLong)});
}

TEST(Draw, TakesAtMostItsShareOfPositivesAndFillsUpWithNegatives) {
  struct Expected {
    std::int64_t positives, negatives, drawn_positives, drawn_negatives;
  };
  for (const auto& [positives, negatives, drawn_positives, drawn_negatives] :
       {Expected{40, 200, 16, 48}, Expected{5, 200, 5, 59}, Expected{40, 10, 16, 10}, Expected{0, 200, 0, 64},
        Expected{40, 0, 16, 0}, Expected{0, 0, 0, 0}}) {
    Rng rng(1);
    const auto drawn = draw(assigned(positives, negatives), {.count = 64, .positive_part = 0.25}, rng);
    EXPECT_EQ(drawn.positive.numel(), drawn_positives);
    EXPECT_EQ(drawn.negative.numel(), drawn_negatives);
    EXPECT_TRUE((drawn.positive < positives).all().item<bool>());
    EXPECT_TRUE((drawn.negative >= 2 * positives).all().item<bool>());
    for (const auto& list : {drawn.positive, drawn.negative})
      EXPECT_TRUE((list.diff() > 0).all().item<bool>()) << "not rising, or one twice";
  }
}

TEST(Draw, GivesEachBoxTheSameChance) {
  constexpr int kDraws = 2000;
  Rng rng(2);
  auto positives = at::zeros({40}), negatives = at::zeros({200});
  for (int i = 0; i < kDraws; ++i) {
    const auto drawn = draw(assigned(40, 200), {.count = 60, .positive_part = 0.25}, rng);
    positives.index_add_(0, drawn.positive, at::ones_like(drawn.positive).to(at::kFloat));
    negatives.index_add_(0, drawn.negative - 80, at::ones_like(drawn.negative).to(at::kFloat));
  }
  // 15 of 40 and 45 of 200, within five standard deviations of a binomial count.
  const auto expect_about = [](const at::Tensor& counts, double chance) {
    const double mean = kDraws * chance, deviation = std::sqrt(mean * (1 - chance));
    EXPECT_LT((counts - mean).abs().max().item<double>(), 5 * deviation);
  };
  expect_about(positives, 15.0 / 40);
  expect_about(negatives, 45.0 / 200);
}

TEST(Draw, DependsOnTheSeedAlone) {
  const SampleOptions options{.count = 60, .positive_part = 0.25};
  const auto drawn_by = [&](std::uint64_t seed) {
    Rng rng(seed);
    const auto drawn = draw(assigned(40, 200), options, rng);
    return at::cat({drawn.positive, drawn.negative});
  };
  EXPECT_TRUE(at::equal(drawn_by(3), drawn_by(3)));
  EXPECT_FALSE(at::equal(drawn_by(3), drawn_by(4)));
}

}  // namespace
}  // namespace clipself::detection
