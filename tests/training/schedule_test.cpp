#include "clipself/training/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clipself/base/error.h"

namespace clipself::training {
namespace {

TEST(Schedule, WarmsUpLinearlyToTheBaseRate) {
  const Schedule schedule{.base_lr = 0.4, .warmup_steps = 4, .total_steps = 20};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.1);
  EXPECT_DOUBLE_EQ(schedule.at(3), 0.4);
}

TEST(Schedule, CosineIsHalfwayInTheMiddleAndZeroAtTheEnd) {
  const Schedule schedule{.base_lr = 2.0, .warmup_steps = 10, .total_steps = 110};
  EXPECT_DOUBLE_EQ(schedule.at(10), 2.0);
  EXPECT_NEAR(schedule.at(60), 1.0, 1e-15);
  EXPECT_NEAR(schedule.at(35), 1.0 + std::sqrt(0.5), 1e-12);
  EXPECT_NEAR(schedule.at(110), 0.0, 1e-15);
  EXPECT_NEAR(schedule.at(500), 0.0, 1e-15);
}

TEST(Schedule, ConstStaysAndCooldownFallsByItsPower) {
  Schedule schedule{.kind = ScheduleKind::kConst, .base_lr = 1.0, .total_steps = 100};
  EXPECT_EQ(schedule.at(99), 1.0);
  schedule.kind = ScheduleKind::kConstCooldown;
  schedule.cooldown_steps = 20;
  schedule.cooldown_power = 2.0;
  schedule.cooldown_end_lr = 0.1;
  EXPECT_EQ(schedule.at(79), 1.0);
  EXPECT_NEAR(schedule.at(90), 0.25 * 0.9 + 0.1, 1e-15);
  EXPECT_NEAR(schedule.at(100), 0.1, 1e-15);
}

TEST(Schedule, OfStepsFallsAtEachMilestone) {
  Schedule schedule{.kind = ScheduleKind::kSteps, .base_lr = 2.0, .total_steps = 100, .milestones = {40, 70}};
  EXPECT_DOUBLE_EQ(schedule.at(0), 2.0);
  EXPECT_DOUBLE_EQ(schedule.at(39), 2.0);
  EXPECT_DOUBLE_EQ(schedule.at(40), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(69), 0.2);
  EXPECT_NEAR(schedule.at(70), 0.02, 1e-15);
  EXPECT_NEAR(schedule.at(1000), 0.02, 1e-15);
  schedule.gamma = 0.5;
  EXPECT_DOUBLE_EQ(schedule.at(70), 0.5);
  schedule.milestones.clear();
  EXPECT_DOUBLE_EQ(schedule.at(99), 2.0);
}

TEST(Schedule, OfStepsWarmsUpFromItsRatio) {
  Schedule schedule{.kind = ScheduleKind::kSteps, .base_lr = 2.0, .warmup_steps = 10, .total_steps = 100};
  schedule.warmup_ratio = 0.1;
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(5), 1.1);
  EXPECT_DOUBLE_EQ(schedule.at(9), 1.82);
  EXPECT_DOUBLE_EQ(schedule.at(10), 2.0);
  // A milestone within the warm-up lowers what is warmed up to.
  schedule.milestones = {5};
  EXPECT_DOUBLE_EQ(schedule.at(4), 0.92);
  EXPECT_DOUBLE_EQ(schedule.at(5), 0.11);
  EXPECT_DOUBLE_EQ(schedule.at(10), 0.2);
}

TEST(ScaledRate, IsInProportionToTheBatch) {
  EXPECT_DOUBLE_EQ(scaled_lr(1e-4, 64, 64), 1e-4);
  EXPECT_DOUBLE_EQ(scaled_lr(1e-4, 16, 64), 2.5e-5);
  EXPECT_DOUBLE_EQ(scaled_lr(1e-4, 128, 64), 2e-4);
}

TEST(Schedule, NamesTheKnownKindsForAnUnknownOne) {
  EXPECT_EQ(schedule_kind("const-cooldown"), ScheduleKind::kConstCooldown);
  try {
    schedule_kind("linear");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("const-cooldown"), std::string::npos);
  }
}

}  // namespace
}  // namespace clipself::training
