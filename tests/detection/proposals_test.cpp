#include "clipself/detection/proposals.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/detection/tiny_detector.h"

namespace clipself::detection {
namespace {

/// Square anchors as large as their stride: those of a level only touch.
DetectorConfig tile_settings(std::vector<double> ratios = {1.0}) {
  auto config = tiny_settings();
  config.anchor_scale = 1;
  config.anchor_ratios = std::move(ratios);
  return config;
}

constexpr PictureSize kPicture{.content = {64, 64}, .padded = {64, 64}};

/// Scores of (h, w) places, each lower than the one before, from `best` down to half of it.
at::Tensor falling(std::int64_t side, double best) {
  return at::linspace(best, best / 2, side * side).to(at::kFloat).reshape({1, 1, side, side});
}

TEST(ProposalSelect, GivesTheBestAnchorsWithinThePicture) {
  const ProposalNetwork rpn(tile_settings(), {16});
  const ProposalNetwork::Output output{{at::logit(falling(4, 0.9))}, {at::zeros({1, 4, 4, 4})}};
  const auto found = rpn.select(output, {kPicture}, {.before_nms = 100, .count = 6, .iou_threshold = 0.7}).at(0);
  // The first row of anchors and the beginning of the second; half of the outer ones is cut off.
  const auto expected = boxes_of({0, 0, 8, 8, 8, 0, 24, 8, 24, 0, 40, 8, 40, 0, 56, 8, 0, 8, 8, 24, 8, 8, 24, 24});
  EXPECT_TRUE(at::allclose(found.boxes, expected)) << found.boxes;
  EXPECT_TRUE(at::allclose(found.scores, falling(4, 0.9).flatten().slice(0, 0, 6)));
}

TEST(ProposalSelect, TakesOnlySoManyOfEachLevelBefore) {
  const ProposalNetwork rpn(tile_settings(), {16, 32});
  // All of the first level is better than all of the second.
  const ProposalNetwork::Output output{{at::logit(falling(4, 0.9)), at::logit(falling(2, 0.4))},
                                       {at::zeros({1, 4, 4, 4}), at::zeros({1, 4, 2, 2})}};
  const auto found = rpn.select(output, {kPicture}, {.before_nms = 3, .count = 100, .iou_threshold = 0.7}).at(0);
  const auto expected = at::cat({falling(4, 0.9).flatten().slice(0, 0, 3), falling(2, 0.4).flatten().slice(0, 0, 3)});
  EXPECT_TRUE(at::allclose(found.scores, expected)) << found.scores;
}

TEST(ProposalSelect, SuppressesWithinALevelAlone) {
  // Two equal anchors a place, and a second level whose boxes are those of the first by their offsets.
  const ProposalNetwork rpn(tile_settings({1.0, 1.0}), {32, 64});
  const auto first = at::tensor({0.3, 0.8, 0.6, 0.5}).to(at::kFloat).reshape({1, 2, 1, 2});
  const auto second = at::tensor({0.7, 0.1}).to(at::kFloat).reshape({1, 2, 1, 1});
  auto offsets = at::zeros({1, 8, 1, 1});
  offsets.slice(1, 2, 4).fill_(-std::log(2.0));
  offsets.slice(1, 6, 8).fill_(-std::log(2.0));
  const ProposalNetwork::Output output{{at::logit(first), at::logit(second)}, {at::zeros({1, 8, 1, 2}), offsets}};
  const auto found = rpn.select(output, {kPicture}, {.before_nms = 100, .count = 100, .iou_threshold = 0.7}).at(0);
  // Place (0, 0) has 0.3 and 0.6, place (0, 1) 0.8 and 0.5; the second level 0.7 and 0.1.
  EXPECT_TRUE(at::allclose(found.scores, at::tensor({0.8, 0.7, 0.6}).to(at::kFloat))) << found.scores;
  EXPECT_TRUE(at::allclose(found.boxes, boxes_of({16, 0, 48, 16, 0, 0, 16, 16, 0, 0, 16, 16}), 1e-5, 1e-4))
      << found.boxes;
}

TEST(ProposalSelect, LeavesOutBoxesWithoutASide) {
  const ProposalNetwork rpn(tile_settings(), {16});
  const ProposalNetwork::Output output{{at::logit(falling(4, 0.9)).expand({2, 1, 4, 4})}, {at::zeros({2, 4, 4, 4})}};
  const ProposalSelection selection{.before_nms = 100, .count = 100, .iou_threshold = 0.7};
  // A picture of 10 x 30 pixels shows parts of one row, then of a second of anchors about 16.
  const auto found = rpn.select(output, {{.content = {30, 10}, .padded = {64, 64}}, kPicture}, selection);
  EXPECT_TRUE(at::allclose(found.at(0).boxes, boxes_of({0, 0,  8, 8,  8, 0,  10, 8, 0, 8, 8, 24, 8, 8, 10, 24,  //
                                                        0, 24, 8, 30, 8, 24, 10, 30})))
      << found.at(0).boxes;
  EXPECT_EQ(found.at(1).boxes.size(0), 16);
  const auto none = rpn.select(output, {kPicture, kPicture}, {.before_nms = 100, .count = 0, .iou_threshold = 0.7});
  EXPECT_EQ(none.at(0).boxes.sizes(), (at::IntArrayRef{0, 4}));
}

/// One level of 4 x 4 places, of which the padded picture takes 4 x 3.
struct TrainedAnchors {
  ProposalNetwork rpn{tile_settings(), {16}};
  PictureSize picture{.content = {64, 40}, .padded = {64, 48}};
  ProposalNetwork::Anchors anchors = rpn.anchors({{4, 4}}, picture);
};

TEST(ProposalTargets, AreOfAnchorsWithinThePadding) {
  const TrainedAnchors t;
  EXPECT_EQ(t.anchors.all.sizes(), (at::IntArrayRef{16, 4}));
  EXPECT_TRUE(
      at::equal(t.anchors.inside.reshape({4, 4}).to(at::kLong), at::tensor({1, 1, 1, 0}, at::kLong).expand({4, 4})));
  // The object is the second anchor of the second row: the fifth of those inside.
  const auto object = boxes_of({8, 8, 24, 24});
  const auto assigned = t.rpn.assign_anchors(t.anchors, object);
  EXPECT_EQ(assigned.object.numel(), 12);
  EXPECT_EQ(assigned.object.argmax().item<std::int64_t>(), 4);
  const Drawn drawn{at::tensor({4}, at::kLong), at::tensor({0, 3, 11}, at::kLong)};
  const auto targets = t.rpn.targets({t.anchors}, {object + 4}, {assigned}, {drawn});
  EXPECT_EQ(targets.normaliser, 4);
  auto labels = at::ones({16}, at::kLong), weights = at::zeros({16}, at::kLong);
  labels[5] = 0;
  for (const std::int64_t i : {0, 4, 5, 14}) weights[i] = 1;
  EXPECT_TRUE(at::equal(targets.labels[0], labels));
  EXPECT_TRUE(at::equal(targets.label_weights[0].to(at::kLong), weights)) << targets.label_weights;
  // Moved by a quarter of its size.
  EXPECT_TRUE(at::allclose(targets.deltas[0][5], boxes_of({0.25, 0.25, 0, 0})[0]));
  EXPECT_EQ(targets.deltas.abs().sum().item<double>(), 0.5);
  EXPECT_EQ(targets.delta_weights.sum().item<double>(), 4);
}

TEST(ProposalLosses, AreCrossEntropyAndL1OverTheNumberDrawn) {
  const TrainedAnchors t;
  const auto object = boxes_of({8, 8, 24, 24});
  const auto assigned = t.rpn.assign_anchors(t.anchors, object);
  const Drawn drawn{at::tensor({4}, at::kLong), at::tensor({0, 3, 11}, at::kLong)};
  const auto targets = t.rpn.targets({t.anchors}, {object + 4}, {assigned}, {drawn});
  auto scores = at::full({1, 1, 4, 4}, 9.0);  // what is not drawn does not count
  scores[0][0][1][1] = 2;
  scores[0][0][0][0] = -1;
  scores[0][0][1][0] = 0;
  scores[0][0][3][2] = 0.5;
  auto deltas = at::full({1, 4, 4, 4}, 9.0);
  for (std::int64_t k = 0; k < 4; ++k) deltas[0][k][1][1] = 1.0;
  const auto losses = t.rpn.losses({{scores}, {deltas}}, targets);
  const auto softplus = [](double x) { return std::log1p(std::exp(x)); };
  EXPECT_NEAR(losses.scores.item<double>(), (softplus(-2) + softplus(-1) + softplus(0) + softplus(0.5)) / 4, 1e-5);
  EXPECT_NEAR(losses.deltas.item<double>(), (0.75 + 0.75 + 1 + 1) / 4, 1e-5);
}

TEST(ProposalLosses, OfAPictureWithoutObjectsAreOfBackgroundAlone) {
  const TrainedAnchors t;
  const auto none = at::zeros({0, 4});
  const auto assigned = t.rpn.assign_anchors(t.anchors, none);
  EXPECT_TRUE(at::equal(assigned.object, at::zeros({12}, at::kLong)));
  Rng rng(1);
  const auto drawn = draw(assigned.object, {.count = 8, .positive_part = 0.5}, rng);
  EXPECT_EQ(drawn.negative.numel(), 8);
  const auto targets = t.rpn.targets({t.anchors}, {none}, {assigned}, {drawn});
  EXPECT_EQ(targets.normaliser, 9);  // none counts as one
  const auto losses = t.rpn.losses({{at::zeros({1, 1, 4, 4})}, {at::rand({1, 4, 4, 4})}}, targets);
  EXPECT_NEAR(losses.scores.item<double>(), 8 * std::log(2.0) / 9, 1e-5);
  EXPECT_EQ(losses.deltas.item<double>(), 0);
}

TEST(ProposalNetwork, GivesAScoreAndFourOffsetsAnAnchorOfEveryLevel) {
  auto config = tiny_settings();
  ProposalNetwork rpn(config, {8, 16});
  const std::vector<at::Tensor> levels{at::randn({2, 8, 6, 4}), at::randn({2, 8, 3, 2})};
  const auto output = rpn.forward(levels);
  EXPECT_EQ(output.scores.at(0).sizes(), (at::IntArrayRef{2, 3, 6, 4}));
  EXPECT_EQ(output.deltas.at(1).sizes(), (at::IntArrayRef{2, 12, 3, 2}));
  EXPECT_EQ(ProposalNetwork::extents(levels).at(1), (Extent{3, 2}));
}

}  // namespace
}  // namespace clipself::detection
