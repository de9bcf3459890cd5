#include "clipself/distillation/methods.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/distillation/losses.h"
#include "tests/distillation/cases.h"

namespace clipself::distillation {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Methods, AnswerAnUnknownNameWithTheKnownOnes) {
  EXPECT_EQ(find_method("regionclip").name, "regionclip");
  const auto message = message_of([] { find_method("selfclip"); });
  for (const char* part : {"selfclip", "clipself", "regionclip"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_NE(message_of([] { find_feature("v9"); }).find("v2"), std::string::npos);
}

TEST(Methods, SayWhatTheyLack) {
  EXPECT_NE(message_of([] { make_objective(find_method("clipself"), tiny_student(), {}); }).find("frozen"),
            std::string::npos);
  EXPECT_NE(message_of([] { make_objective(find_method("regionclip"), tiny_student(), {}); }).find("noun"),
            std::string::npos);
  MethodInputs inputs{.nouns = random_nouns(), .retain_weight = 1};
  EXPECT_NE(message_of([&] { make_objective(find_method("regionclip"), tiny_student(), inputs); }).find("frozen"),
            std::string::npos);
}

TEST(Methods, EveryTeacherWorksWithEveryLossAndRetention) {
  const auto batch = random_batch();
  for (const auto& teacher : teachers())
    for (const auto& loss : losses())
      for (const double retain : {0.0, 0.5}) {
        const auto student = tiny_student();
        const Method method{"of this test", "", datasets::RegionKind::kLabelled, teacher, loss};
        const auto objective = make_objective(
            method, student, {.frozen = tiny_frozen(), .nouns = random_nouns(), .retain_weight = retain});
        Rng rng(1);
        const auto terms = objective->losses(batch, rng);
        const std::string label = std::string(teacher.name) + " x " + std::string(loss.name);
        ASSERT_EQ(terms.size(), retain > 0 ? 2U : 1U) << label;
        EXPECT_EQ(terms[0].name, loss.term) << label;
        at::Tensor total = terms[0].value;
        if (retain > 0) total = total + terms[1].value;
        EXPECT_TRUE(std::isfinite(total.item<double>())) << label;
        total.backward();
        const auto grad = student->named_parameters()["visual.blocks.1.mlp.w3.weight"].grad();
        ASSERT_TRUE(grad.defined()) << label;
        EXPECT_GT(grad.abs().max().item<double>(), 0.0) << label;
        EXPECT_FALSE(student->logit_scale().grad().defined()) << label;
      }
}

TEST(RegionClip, IsTheFederatedLossOfLabelledBoxesTimesItsWeight) {
  const auto student = tiny_student();
  const auto objective = make_objective(find_method("regionclip"), student,
                                        {.nouns = random_nouns(), .contrast_weight = 0.5, .num_sample_classes = 4});
  const auto batch = random_batch();
  Rng rng(9), again(9);
  const auto terms = objective->losses(batch, rng);
  ASSERT_EQ(terms.size(), 1U);
  EXPECT_EQ(terms[0].name, "loss_contrast");
  const RegionTargets targets{random_nouns(), at::tensor({4, 1, 4}, at::kLong)};
  const auto classes = federated_classes(targets.index, 7, 4, again);
  const auto features = student->encode_boxes(datasets::model_input(*student, batch.images), batch.boxes);
  const auto expected = federated_bce(features, targets, classes, student->logit_scale().exp());
  EXPECT_NEAR(terms[0].value.item<double>(), 0.5 * expected.item<double>(), 1e-4);
}

TEST(NounTeacher, RefusesRegionsWithoutLabelsAndLabelsWithoutNouns) {
  const auto teacher = noun_teacher(random_nouns(), at::kCPU);
  auto batch = random_batch();
  batch.labels[1] = at::tensor({7}, at::kLong);
  EXPECT_NE(message_of([&] { teacher(batch); }).find("labels up to 7"), std::string::npos);
  batch.labels[1] = at::Tensor();
  EXPECT_NE(message_of([&] { teacher(batch); }).find("without labels"), std::string::npos);
  EXPECT_THROW(noun_teacher(at::zeros({4}), at::kCPU), Error);
}

}  // namespace
}  // namespace clipself::distillation
