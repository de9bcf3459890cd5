#include "clipself/distillation/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/distillation/methods.h"
#include "clipself/models/weights.h"
#include "clipself/training/optimizer.h"
#include "tests/distillation/cases.h"

namespace clipself::distillation {
namespace {

TEST(Ensemble, IsTheWeightedMeanAndRefusesOtherModels) {
  formats::TensorDict student, teacher;
  student.insert("a", at::full({2}, 10.0));
  teacher.insert("a", at::full({2}, 20.0));
  EXPECT_TRUE(at::allclose(ensemble(student, teacher, 0.7)["a"], at::full({2}, 13.0)));
  student.insert("b", at::ones({1}));
  EXPECT_THROW(ensemble(student, teacher, 0.5), Error);
}

TEST(MultiscaleSizes, AreThePublishedOnesAndMultiplesOfThePatch) {
  EXPECT_EQ(multiscale_sizes(1024, 16), (std::vector<int>{320, 640, 896, 1024}));
  EXPECT_EQ(multiscale_sizes(896, 14), (std::vector<int>{336, 448, 672, 896}));
  for (const int size : multiscale_sizes(144, 8)) EXPECT_EQ(size % 8, 0);
  EXPECT_EQ(multiscale_sizes(144, 8).back(), 144);
}

// Each of `to` pixels is a mean of the two of `from` that its centre falls between.
at::Tensor bilinear_weights(int from, int to) {
  auto weights = at::zeros({to, from});
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * from / to - 0.5;
    const int left = static_cast<int>(std::floor(centre));
    weights[i][std::max(left, 0)] += 1 - (centre - left);
    weights[i][std::min(left + 1, from - 1)] += centre - left;
  }
  return weights;
}

class ClipSelfTest : public testing::Test {
 protected:
  std::unique_ptr<RegionObjective> objective(MethodInputs inputs = {}) {
    inputs.frozen = teacher_;
    return make_objective(find_method("clipself"), student_, inputs);
  }
  std::shared_ptr<models::ClipModel> student_ = tiny_student(), teacher_ = tiny_frozen();
  datasets::Batch batch_ = random_batch();
  Rng rng_{0};
};

TEST_F(ClipSelfTest, LossIsOneMinusTheMeanCosineOfRegionsAndCrops) {
  const auto terms = objective({.crops_at_once = 2})->losses(batch_, rng_);
  ASSERT_EQ(terms.size(), 1U);
  EXPECT_EQ(terms[0].name, "loss_cosine");
  const models::PixelStatistics normalization;
  const at::NoGradGuard no_grad;
  const auto regions = student_->encode_boxes(datasets::normalize(batch_.images, normalization), batch_.boxes);
  const auto crops = teacher_->encode_image(datasets::normalize(batch_.crops, normalization));
  double mean = 0;
  for (int i = 0; i < 3; ++i) {
    const auto a = regions[i].to(at::kDouble), b = crops[i].to(at::kDouble);
    mean += (a.dot(b) / (a.norm() * b.norm())).item<double>() / 3;
  }
  EXPECT_NEAR(terms[0].value.item<double>(), 1 - mean, 1e-5);
}

TEST_F(ClipSelfTest, TrainsTheLastBlocksAndNothingElse) {
  objective()->losses(batch_, rng_).front().value.backward();
  for (const auto& item : student_->named_parameters()) {
    const bool unlocked = item.key().starts_with("visual.blocks.1.") || item.key().starts_with("visual.blocks.2.");
    EXPECT_EQ(item.value().requires_grad(), unlocked || item.key() == "logit_scale") << item.key();
    // The last block does not attend: its queries and keys get no gradient.
    const bool bypassed =
        item.key().starts_with("visual.blocks.2.attn.q") || item.key().starts_with("visual.blocks.2.attn.k");
    EXPECT_EQ(item.value().grad().defined(), unlocked && !bypassed) << item.key();
  }
  for (const auto& parameter : teacher_->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST_F(ClipSelfTest, PullsTheRegionsTowardsTheirCrops) {
  student_->lock_image_tower(3);
  const auto trained = objective();
  training::NamedParameters parameters = trained->parameters();
  training::AdamW optimizer(parameters, {.weight_decay = 0});
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    optimizer.zero_grad();
    const auto loss = trained->losses(batch_, rng_).front().value;
    loss.backward();
    optimizer.step(3e-3);
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  EXPECT_LT(last, 0.5 * first);
}

TEST_F(ClipSelfTest, ClampsTheLogitScaleOfClipAndNotOfSiglip) {
  const at::NoGradGuard no_grad;
  student_->logit_scale().fill_(7.0);
  objective()->after_step();
  EXPECT_NEAR(student_->logit_scale().item<double>(), std::log(100.0), 1e-6);

  const auto siglip = models::parse_config(
      R"({"embed_dim": 12, "vision_cfg": {"image_size": 32, "layers": 3, "width": 12, "head_width": 6,
        "patch_size": 8, "timm_model_name": "vit_custom_siglip"}})",
      "small");
  student_ = std::make_shared<models::ClipModel>(siglip);
  student_->logit_scale().fill_(4.7215);  // as published
  objective()->after_step();
  EXPECT_FLOAT_EQ(student_->logit_scale().item<float>(), 4.7215F);
}

TEST_F(ClipSelfTest, MultiscaleChoosesByTheStepsOwnRandomness) {
  const auto multiscale = objective({.multiscale = true});
  const auto loss = [&](std::uint64_t seed) {
    Rng rng(seed);
    return multiscale->losses(batch_, rng).front().value.item<double>();
  };
  EXPECT_EQ(loss(3), loss(3));
  std::set<double> different;
  for (std::uint64_t seed = 0; seed < 12; ++seed) different.insert(loss(seed));
  EXPECT_GT(different.size(), 1U);
  EXPECT_LE(different.size(), 4U);
}

TEST_F(ClipSelfTest, RetentionAddsATermAndLeavesTheOtherAsItWas) {
  const auto alone = objective()->losses(batch_, rng_);
  const auto both = objective({.retain_weight = 0.25})->losses(batch_, rng_);
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0].value.item<double>(), alone[0].value.item<double>());
  EXPECT_EQ(both[1].name, "loss_retain");
  // Images at the model's native 32 pixels: the definition, by other functions.
  const at::NoGradGuard no_grad;
  const auto weights = bilinear_weights(48, 32);
  const auto images = weights.matmul(datasets::normalize(batch_.images, {})).matmul(weights.t());
  const auto cosine = at::cosine_similarity(student_->encode_image(images), teacher_->encode_image(images), -1);
  EXPECT_NEAR(both[1].value.item<double>(), 0.25 * (1 - cosine.mean().item<double>()), 1e-5);
}

TEST(RetainLoss, IsZeroWithZeroGradientForEqualModels) {
  const auto student = tiny_student(3), original = tiny_frozen(1);
  const auto loss = retain_loss(*student, *original, at::rand({2, 3, 48, 48}));
  EXPECT_NEAR(loss.item<double>(), 0.0, 1e-6);
  loss.backward();
  double largest = 0;
  for (const auto& [name, parameter] : student->trainable())
    if (parameter.grad().defined()) largest = std::max(largest, parameter.grad().abs().max().item<double>());
  EXPECT_LT(largest, 1e-5);
  for (const auto& parameter : original->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST(RetainLoss, HasTheGradientOfFiniteDifferences) {
  const auto student = tiny_student(3), original = tiny_frozen(2);
  const auto images = at::rand({2, 3, 32, 32});
  retain_loss(*student, *original, images).backward();
  for (auto& [name, parameter] : student->trainable()) {
    if (name != "visual.blocks.1.mlp.w3.bias" && name != "visual.blocks.2.attn.q_bias") continue;
    const auto slope = parameter.grad().clone();
    const at::NoGradGuard no_grad;
    for (int i = 0; i < 4; ++i) {
      const auto loss_at = [&](float shift) {
        parameter[i] += shift;
        const double loss = retain_loss(*student, *original, images).item<double>();
        parameter[i] -= shift;
        return loss;
      };
      EXPECT_NEAR(slope[i].item<double>(), (loss_at(1e-2F) - loss_at(-1e-2F)) / 2e-2, 1e-3) << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace clipself::distillation
