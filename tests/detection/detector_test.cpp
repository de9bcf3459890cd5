#include "clipself/detection/detector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "clipself/base/error.h"
#include "tests/detection/tiny_detector.h"

namespace clipself::detection {
namespace {

DetectorConfig with_masks() {
  auto config = tiny_settings();
  config.masks = true;
  return config;
}

at::Tensor random_images(std::int64_t count) {
  torch::manual_seed(21);
  return at::randn({count, 3, 64, 64});
}

at::Tensor total(const TrainingPass& pass) {
  auto sum = at::zeros({});
  for (const auto& [name, term, count] : pass.terms())
    if (name != "acc") sum = sum + term;
  return sum;
}

/// Of parameters whose names begin with `prefix`.
double largest_gradient(Detector& detector, const std::string& prefix) {
  double largest = 0;
  for (const auto& [name, parameter] : detector.trainable())
    if (name.starts_with(prefix) && parameter.grad().defined())
      largest = std::max(largest, parameter.grad().abs().max().item<double>());
  return largest;
}

bool same_state(const formats::TensorDict& a, const formats::TensorDict& b) {
  if (a.size() != b.size()) return false;
  for (const auto& item : a) {
    const auto* other = b.find(item.key());
    if (other == nullptr || !at::equal(item.value(), *other)) return false;
  }
  return true;
}

formats::TensorDict copy_of(const formats::TensorDict& tensors) {
  formats::TensorDict copy;
  for (const auto& item : tensors) copy.insert(item.key(), item.value().clone());
  return copy;
}

formats::TensorDict without(const formats::TensorDict& tensors, const std::string& prefix) {
  formats::TensorDict rest;
  for (const auto& item : tensors)
    if (!item.key().starts_with(prefix)) rest.insert(item.key(), item.value());
  return rest;
}

/// Draws that no weight changes: some anchors of the finer levels and nearly all of the coarse ones, who are few; and
/// of the rois the objects' own boxes, one of them as background.
Drawn fixed_anchors(std::size_t /*image*/, const Assignment& assignment) {
  const auto of = [&](const at::Tensor& which) { return which.nonzero().squeeze(1); };
  const auto background = of(assignment.object == 0);
  return {of(assignment.object > 0), at::cat({background.slice(0, 0, -200, 40), background.slice(0, -200)})};
}
Drawn own_boxes(std::size_t /*image*/, const Assignment& /*assignment*/) {
  return {at::tensor({0, 1}, at::kLong), at::tensor({2}, at::kLong)};
}

TEST(DetectorTraining, OfPicturesWithoutObjectsHasFiniteLossesAndTrainsTheHeads) {
  auto detector = tiny_detector(with_masks());
  detector->train(true);
  std::array two{Rng(1), Rng(2)};
  const auto pass =
      detector->train_pass(random_images(2), {kWholePicture, kWholePicture}, {no_objects(), no_objects()}, two);
  for (const auto& [name, term, count] : pass.terms()) EXPECT_TRUE(term.isfinite().item<bool>()) << name;
  EXPECT_GT(pass.box_losses.classes.item<double>(), 0);
  EXPECT_EQ(pass.box_losses.boxes.item<double>(), 0);
  EXPECT_EQ(pass.proposal_losses.deltas.sum().item<double>(), 0);
  EXPECT_EQ(pass.mask_loss.item<double>(), 0);
  total(pass).backward();
  for (const auto& [name, parameter] : detector->trainable()) {
    const auto& gradient = parameter.grad();
    EXPECT_TRUE(!gradient.defined() || gradient.isfinite().all().item<bool>()) << name;
  }
  const auto after = detector->state();  // the mask head's batch norms have seen no rows
  for (const auto& item : after) EXPECT_TRUE(item.value().isfinite().all().item<bool>()) << item.key();
  for (const char* learns : {"backbone.interpolate1", "neck.", "rpn_head.rpn_cls", "roi_head.bbox_head.cls_fcs",
                             "roi_head.bbox_head.detect_temperature"})
    EXPECT_GT(largest_gradient(*detector, learns), 0) << learns;
  for (const char* rests : {"rpn_head.rpn_reg", "roi_head.bbox_head.fc_reg", "roi_head.mask_head"})
    EXPECT_EQ(largest_gradient(*detector, rests), 0) << rests;
}

TEST(DetectorTraining, TrainsAllButTheTower) {
  auto detector = tiny_detector(with_masks());
  detector->train(true);
  EXPECT_FALSE(detector->tower().is_training());
  const auto before = copy_of(detector->state());
  const auto pass =
      detector->train_pass(random_images(1), {kWholePicture}, {three_objects()}, fixed_anchors, own_boxes);
  total(pass).backward();
  for (const auto& item : detector->named_parameters()) {
    const auto& gradient = item.value().grad();
    if (item.key().starts_with("backbone.visual.")) {
      EXPECT_FALSE(item.value().requires_grad()) << item.key();
      EXPECT_FALSE(gradient.defined()) << item.key();
    } else {
      ASSERT_TRUE(gradient.defined()) << item.key();
      EXPECT_GT(gradient.abs().max().item<double>(), 0) << item.key();
    }
  }
  for (const auto& [name, parameter] : detector->trainable())
    EXPECT_FALSE(name.starts_with("backbone.visual.")) << name;
  // Batch norms have seen one batch, those of the RoI heads too; nothing of the tower has moved.
  const auto after = detector->state();
  for (const auto& item : after) {
    if (item.key().ends_with("num_batches_tracked")) {
      EXPECT_EQ(item.value().item<std::int64_t>(), 1) << item.key();
    } else if (item.key().starts_with("backbone.visual.")) {
      EXPECT_TRUE(at::equal(item.value(), *before.find(item.key()))) << item.key();
    }
  }
}

TEST(DetectorTraining, DrawsByTheSeedAlone) {
  auto detector = tiny_detector(tiny_settings());
  const auto loss = [&](std::uint64_t seed) {
    Rng rng(seed);
    return total(detector->train_pass(random_images(1), {kWholePicture}, {three_objects()}, {&rng, 1})).item<double>();
  };
  EXPECT_EQ(loss(1), loss(1));
  EXPECT_NE(loss(1), loss(2));
}

TEST(DetectorTraining, CountsTheObjectsOwnBoxesAmongTheRois) {
  auto detector = tiny_detector(tiny_settings());
  Rng rng(1);
  const auto pass = detector->train_pass(random_images(1), {kWholePicture}, {three_objects()}, {&rng, 1});
  const auto& rois = pass.rois.at(0);
  EXPECT_EQ(rois.object.numel(), 3 + pass.proposals.at(0).boxes.size(0));
  EXPECT_TRUE(at::equal(rois.object.slice(0, 0, 3), at::tensor({1, 2, 3}, at::kLong)));
  EXPECT_EQ(pass.labels.size(0), pass.targets.size(0));
}

TEST(DetectorTraining, RefusesAsManyPicturesAsThereAreNot) {
  auto detector = tiny_detector(tiny_settings());
  Rng rng(1);
  EXPECT_THROW(detector->train_pass(random_images(2), {kWholePicture}, {no_objects(), no_objects()}, {&rng, 1}), Error);
  EXPECT_THROW(detector->train_pass(random_images(1), {kWholePicture}, {}, {&rng, 1}), Error);
}

// Losses are float32 throughout: the difference is central and asks for a change of 2e-4 of the loss, or what a step of
// 0.01 a weight gives. What is left are rounding, third derivatives, and the bends of ReLU, L1 and max-pooling.
TEST(DetectorTraining, GradientsEqualFiniteDifferences) {
  constexpr double kChange = 2e-4, kRounding = 5e-6;
  at::set_num_threads(1);  // maps so small keep no second thread busy, but waiting
  auto config = with_masks();
  config.rpn_assign.positive = 0.3;  // so that the L1 loss of anchors is of many
  auto detector = tiny_detector(config);
  detector->train(true);
  const auto images = random_images(1);
  const auto loss = [&](const std::string& name) {
    const auto terms =
        detector->train_pass(images, {kWholePicture}, {three_objects()}, fixed_anchors, own_boxes).terms();
    return std::find_if(terms.begin(), terms.end(), [&](const auto& term) { return term.name == name; })->value;
  };
  const auto parameters = detector->trainable();
  std::set<std::string> compared;
  for (const std::string term : {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"}) {
    for (const auto& [name, parameter] : parameters) parameter.mutable_grad() = at::Tensor();
    const auto value = loss(term);
    value.backward();
    const double size = std::max(value.item<double>(), 0.1);
    const double bends = term == "loss_rpn_bbox" ? 0.2 : 0.05;  // L1 of many anchors has many
    torch::manual_seed(22);
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : parameters) {
      const auto gradient = parameter.grad();
      if (!gradient.defined()) continue;
      // Along the gradient, where the loss changes most, and somewhat aside.
      const auto direction = gradient + at::randn_like(gradient) * gradient.square().mean().sqrt() * 0.5;
      const double slope = (gradient * direction).sum().item<double>();
      if (slope == 0) continue;
      const double step = std::min(kChange / 2 * size / slope, 0.01 / direction.square().mean().sqrt().item<double>());
      parameter.add_(direction, step);
      const double above = loss(term).item<double>();
      parameter.add_(direction, -2 * step);
      const double below = loss(term).item<double>();
      parameter.add_(direction, step);
      const double expected = 2 * step * slope;
      EXPECT_NEAR(above - below, expected, bends * expected + kRounding * size) << term << " of " << name;
      if (expected > 5 * kRounding * size) compared.insert(term.substr(5) + " " + name);
    }
  }
  // Each loss trains the pyramid and its own head, and with the others all weights; but batch norms take away what some
  // biases add.
  const auto reaches = [&](const std::string& prefix) {
    return std::any_of(compared.begin(), compared.end(), [&](const auto& name) { return name.starts_with(prefix); });
  };
  for (const char* path : {"rpn_cls rpn_head", "rpn_bbox rpn_head", "cls roi_head.bbox_head", "bbox roi_head.bbox_head",
                           "mask roi_head.mask_head"}) {
    EXPECT_TRUE(reaches(path)) << path;
    const std::string term(path, std::string_view(path).find(' '));
    EXPECT_TRUE(reaches(term + " neck.lateral_convs")) << term;
    EXPECT_TRUE(reaches(term + " backbone.interpolate1")) << term;
  }
  for (const auto& [name, parameter] : parameters) {
    const bool silent =
        name.starts_with("backbone.interpolate") && (name.ends_with(".0.bias") || name.ends_with(".3.bias"));
    const bool seen =
        std::any_of(compared.begin(), compared.end(), [&](const auto& path) { return path.ends_with(" " + name); });
    EXPECT_NE(seen, silent) << name;
  }
}

TEST(DetectorDetect, FindsTheSameOnThePicturesOwnScale) {
  auto detector = tiny_detector(with_masks());
  const auto images = random_images(1);
  const Picture plain{.size = kWholePicture, .original = {64, 64}};
  const Picture halved{.size = kWholePicture, .original = {32, 16}, .scale = {4, 2, 4, 2}};
  const auto found = detector->detect(images, {plain}).at(0), small = detector->detect(images, {halved}).at(0);
  const auto count = found.boxes.size(0);
  ASSERT_GT(count, 5);
  EXPECT_EQ(found.masks.sizes(), (at::IntArrayRef{count, 64, 64}));
  EXPECT_TRUE((found.scores.diff() <= 0).all().item<bool>());
  EXPECT_TRUE((found.labels < 3).all().item<bool>());
  EXPECT_TRUE((found.boxes >= 0).logical_and(found.boxes <= 64).all().item<bool>());
  // Overlaps are the same on any scale but for rounding.
  ASSERT_EQ(small.boxes.sizes(), found.boxes.sizes());
  EXPECT_EQ(small.masks.sizes(), (at::IntArrayRef{count, 32, 16}));
  EXPECT_TRUE(at::allclose(small.boxes * boxes_of({4, 2, 4, 2}), found.boxes, 1e-5, 1e-4));
  EXPECT_TRUE(at::equal(small.labels, found.labels));
}

TEST(DetectorDetect, FindsTheSameInABatchAsAlone) {
  auto detector = tiny_detector(tiny_settings());
  const auto images = random_images(2);
  const Picture picture{.size = kWholePicture, .original = {64, 64}};
  const auto both = detector->detect(images, {picture, picture});
  for (std::int64_t i = 0; i < 2; ++i) {
    const auto alone = detector->detect(images.narrow(0, i, 1), {picture}).at(0);
    const auto& found = both.at(static_cast<std::size_t>(i));
    ASSERT_EQ(found.boxes.sizes(), alone.boxes.sizes());
    EXPECT_TRUE(at::allclose(found.boxes, alone.boxes, 1e-3, 1e-3));
    EXPECT_TRUE(at::equal(found.labels, alone.labels));
  }
}

TEST(DetectorDetect, TakesNoProposals) {
  auto config = with_masks();
  config.proposals.count = 0;
  auto detector = tiny_detector(config);
  const auto found = detector->detect(random_images(1), {{.size = kWholePicture, .original = {30, 40}}}).at(0);
  EXPECT_EQ(found.boxes.sizes(), (at::IntArrayRef{0, 4}));
  EXPECT_EQ(found.masks.sizes(), (at::IntArrayRef{0, 30, 40}));
  detector->train(true);
  Rng rng(1);
  for (const auto& objects : {no_objects(), three_objects()}) {
    const auto pass = detector->train_pass(random_images(1), {kWholePicture}, {objects}, {&rng, 1});
    for (const auto& [name, term, count] : pass.terms()) EXPECT_TRUE(term.isfinite().item<bool>()) << name;
    EXPECT_EQ(pass.labels.numel(), objects.labels.numel());
    total(pass).backward();
  }
}

TEST(DetectorBuild, RefusesWhatDoesNotFit) {
  EXPECT_THROW(tiny_detector(tiny_settings(), 1, three_classes(7)), Error);
  auto config = tiny_settings();
  config.taps = {0, 1, 2};
  EXPECT_THROW(tiny_detector(config), Error);
  EXPECT_THROW(tiny_detector(tiny_settings())->mask_head(), Error);
}

TEST(DetectorState, GivesTheSameDetectorAgain) {
  auto detector = tiny_detector(with_masks(), 1), other = tiny_detector(with_masks(), 2);
  // Statistics of batch norms are a part of it.
  detector->train(true);
  Rng rng(1);
  detector->train_pass(random_images(1), {kWholePicture}, {three_objects()}, {&rng, 1});
  detector->train(false);
  ASSERT_FALSE(same_state(detector->state(), other->state()));
  const auto report = load_detector(*other, copy_of(detector->state()), "file", false);
  EXPECT_TRUE(report.left_out.empty());
  EXPECT_TRUE(report.other_shape.empty());
  EXPECT_TRUE(same_state(detector->state(), other->state()));
  const Picture picture{.size = kWholePicture, .original = {64, 64}};
  const auto a = detector->detect(random_images(1), {picture}).at(0),
             b = other->detect(random_images(1), {picture}).at(0);
  EXPECT_TRUE(at::equal(a.boxes, b.boxes));
  EXPECT_TRUE(at::equal(a.scores, b.scores));
  EXPECT_TRUE(at::equal(a.masks, b.masks));
}

TEST(DetectorState, PassesOverWhatNeverMatters) {
  auto detector = tiny_detector(tiny_settings(), 1), other = tiny_detector(tiny_settings(), 2);
  formats::TensorDict tensors;
  const auto own = detector->state();
  for (const auto& item : own)
    if (item.key().find(".rope.") == std::string::npos) tensors.insert(item.key(), item.value());
  ASSERT_LT(tensors.size(), own.size());
  tensors.insert("backbone.visual.rope.freqs_cos", at::ones({3}));
  tensors.insert("roi_head.bbox_head.fc_cls.weight", at::ones({3}));
  EXPECT_TRUE(load_detector(*other, tensors, "file", false).left_out.empty());
  EXPECT_TRUE(same_state(detector->state(), other->state()));
}

TEST(DetectorState, IsTransferredToAnotherVocabulary) {
  auto trained = tiny_detector(with_masks(), 1);
  auto config = tiny_settings();
  config.fixed_temperature = true;
  torch::manual_seed(31);
  const DetectionClasses two{.names = {"a", "b"},
                             .is_base = {true, true},
                             .embeddings = models::unit_length(at::randn({3, models::tiny_config().embed_dim}))};
  auto detector = tiny_detector(config, 2, two);
  const auto tensors = copy_of(trained->state());
  EXPECT_EQ(vocabulary_of(tensors), 3);
  EXPECT_THROW(load_detector(*detector, tensors, "file", false), Error);
  const auto report = load_detector(*detector, tensors, "file", true);
  EXPECT_EQ(report.other_shape, (std::vector<std::string>{"roi_head.bbox_head.all_embeddings"}));
  std::size_t left_out = 1;
  for (const auto& item : tensors) left_out += item.key().starts_with("roi_head.mask_head.") ? 1 : 0;
  EXPECT_EQ(report.left_out.size(), left_out);
  EXPECT_NE(std::find(report.left_out.begin(), report.left_out.end(), "roi_head.bbox_head.detect_temperature"),
            report.left_out.end());
  EXPECT_TRUE(at::equal(detector->box_head().embeddings(), two.embeddings.t()));
  EXPECT_TRUE(same_state(without(detector->state(), "roi_head.bbox_head.all_embeddings"),
                         without(without(without(tensors, "roi_head.mask_head."), "roi_head.bbox_head.all_embeddings"),
                                 "roi_head.bbox_head.detect_temperature")));
  const auto found = detector->detect(random_images(1), {{.size = kWholePicture, .original = {64, 64}}}).at(0);
  EXPECT_TRUE((found.labels < 2).all().item<bool>());
}

TEST(DetectorState, OfATransferKeepsItsOwnEmbeddingsEvenOfTheSameNumber) {
  auto config = tiny_settings();
  config.fixed_temperature = true;
  auto classes = three_classes(models::tiny_config().embed_dim);
  classes.embeddings = classes.embeddings.flip(0);
  auto detector = tiny_detector(config, 2, classes);
  const auto report = load_detector(*detector, copy_of(tiny_detector(tiny_settings())->state()), "file", true);
  EXPECT_TRUE(report.other_shape.empty());
  EXPECT_TRUE(at::equal(detector->box_head().embeddings(), classes.embeddings.t()));
}

void expect_refused(const formats::TensorDict& tensors, bool transfer, const std::string& says) {
  auto detector = tiny_detector(tiny_settings(), 2);
  const auto before = copy_of(detector->state());
  try {
    load_detector(*detector, tensors, "some.pth", transfer);
    ADD_FAILURE() << "no error for: " << says;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("some.pth"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(same_state(detector->state(), before)) << says;
}

TEST(DetectorState, IsRefusedWholeWhenATensorIsMissingLeftOverOrOfAnotherShape) {
  const auto tensors = copy_of(tiny_detector(tiny_settings(), 1)->state());
  for (const bool transfer : {false, true}) {
    expect_refused(without(tensors, "rpn_head.rpn_reg.bias"), transfer, "rpn_head.rpn_reg.bias");
    expect_refused(without(tensors, "neck.fpn_convs.3.bn.running_var"), transfer, "neck.fpn_convs.3.bn.running_var");
    auto more = copy_of(tensors);
    more.insert("neck.extra.weight", at::zeros({1}));
    expect_refused(more, transfer, "neck.extra.weight");
    auto other = without(tensors, "roi_head.bbox_head.fc_reg.weight");
    other.insert("roi_head.bbox_head.fc_reg.weight", at::zeros({4, 13}));
    expect_refused(other, transfer, "[4, 13]");
  }
  expect_refused(formats::TensorDict(), false, "is this the checkpoint of a detector?");
  auto masks = copy_of(tiny_detector(with_masks(), 1)->state());
  expect_refused(masks, false, "roi_head.mask_head.");
  auto vocabulary = without(tensors, "roi_head.bbox_head.all_embeddings");
  vocabulary.insert("roi_head.bbox_head.all_embeddings", at::zeros({12, 9}));
  expect_refused(vocabulary, false, "another vocabulary is a transfer");
  EXPECT_EQ(vocabulary_of(vocabulary), 8);
  EXPECT_EQ(vocabulary_of(formats::TensorDict()), 0);
}

}  // namespace
}  // namespace clipself::detection
