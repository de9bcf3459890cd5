#include "clipself/distillation/clipself.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/models/weights.h"
#include "clipself/training/optimizer.h"
#include "tests/models/tiny_model.h"

namespace clipself::distillation {
namespace {

using models::tiny_model;

datasets::Batch random_batch() {
  torch::manual_seed(7);
  datasets::Batch batch;
  batch.image_ids = {1, 2};
  batch.images = at::randint(256, {2, 3, 48, 48}, at::kByte);
  batch.boxes = {at::tensor({0.0, 0.0, 0.5, 0.4, 0.2, 0.3, 0.9, 1.0}, at::kFloat).reshape({2, 4}),
                 at::tensor({0.1, 0.1, 0.7, 0.6}, at::kFloat).reshape({1, 4})};
  batch.crops = at::randint(256, {3, 3, 32, 32}, at::kByte);
  return batch;
}

TEST(CosineLoss, IsZeroForParallelTwoForOppositeOneForOrthogonalRows) {
  const auto a = at::tensor({1.0, 0.0, 0.0, 2.0}, at::kFloat).reshape({2, 2});
  EXPECT_NEAR(cosine_loss(a, a * 3).item<double>(), 0.0, 1e-6);
  EXPECT_NEAR(cosine_loss(a, -a).item<double>(), 2.0, 1e-6);
  EXPECT_NEAR(cosine_loss(a, a.flip(0)).item<double>(), 1.0, 1e-6);
  EXPECT_TRUE(std::isfinite(cosine_loss(at::zeros({1, 2}), a.slice(0, 0, 1)).item<double>()));
}

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

class ClipSelfTest : public testing::Test {
 protected:
  ClipSelfTest() {
    student_->lock_image_tower(2);
    teacher_->freeze(at::kFloat);
  }
  std::shared_ptr<models::ClipModel> student_ = tiny_model(1), teacher_ = tiny_model(2);
  datasets::Batch batch_ = random_batch();
  Rng rng_{0};
};

TEST_F(ClipSelfTest, LossIsOneMinusTheMeanCosineOfRegionsAndCrops) {
  ClipSelf objective(student_, teacher_, {.teacher_batch = 2});
  const auto loss = objective.losses(batch_, rng_).front().second.item<double>();
  const datasets::Normalization normalization;
  const at::NoGradGuard no_grad;
  const auto regions = student_->encode_boxes(datasets::normalize(batch_.images, normalization), batch_.boxes);
  const auto crops = teacher_->encode_image(datasets::normalize(batch_.crops, normalization));
  double mean = 0;
  for (int i = 0; i < 3; ++i) {
    const auto a = regions[i].to(at::kDouble), b = crops[i].to(at::kDouble);
    mean += (a.dot(b) / (a.norm() * b.norm())).item<double>() / 3;
  }
  EXPECT_NEAR(loss, 1 - mean, 1e-5);
}

TEST_F(ClipSelfTest, TrainsTheLastBlocksAndNothingElse) {
  ClipSelf objective(student_, teacher_, {});
  objective.losses(batch_, rng_).front().second.backward();
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
  ClipSelf objective(student_, teacher_, {});
  training::NamedParameters parameters = objective.parameters();
  training::AdamW optimizer(parameters, {.weight_decay = 0});
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    optimizer.zero_grad();
    const auto loss = objective.losses(batch_, rng_).front().second;
    loss.backward();
    optimizer.step(3e-3);
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  EXPECT_LT(last, 0.5 * first);
}

TEST_F(ClipSelfTest, ClampsTheLogitScale) {
  ClipSelf objective(student_, teacher_, {});
  const at::NoGradGuard no_grad;
  student_->logit_scale().fill_(7.0);
  objective.after_step();
  EXPECT_NEAR(student_->logit_scale().item<double>(), std::log(100.0), 1e-6);
}

TEST_F(ClipSelfTest, MultiscaleChoosesByTheStepsOwnRandomness) {
  ClipSelf objective(student_, teacher_, {.multiscale = true});
  const auto loss = [&](std::uint64_t seed) {
    Rng rng(seed);
    return objective.losses(batch_, rng).front().second.item<double>();
  };
  EXPECT_EQ(loss(3), loss(3));
  std::set<double> different;
  for (std::uint64_t seed = 0; seed < 12; ++seed) different.insert(loss(seed));
  EXPECT_GT(different.size(), 1U);
  EXPECT_LE(different.size(), 4U);
}

}  // namespace
}  // namespace clipself::distillation
