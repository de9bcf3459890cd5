#include "clipself/training/loss_trend.h"

#include <gtest/gtest.h>

#include <cmath>

namespace clipself::training {
namespace {

// A loss that falls from 2 towards 1, with a ripple.
double usual(int step) {
  return 1 + std::exp(-step / 40.0) + 0.05 * std::sin(1.7 * step);
}

TEST(LossTrend, TellsALeapOnceTheLossHasSettled) {
  LossTrend trend;
  for (int step = 0; step < 300; ++step) ASSERT_FALSE(trend.leaps(usual(step))) << step;
  EXPECT_NEAR(trend.mean(), 1.0, 0.05);
  EXPECT_FALSE(trend.leaps(1.2));
  EXPECT_TRUE(trend.leaps(3.0));
  EXPECT_FALSE(trend.leaps(0.1)) << "a fall is no leap";
}

TEST(LossTrend, SaysNothingOfTheFirstSteps) {
  LossTrend trend;
  for (int step = 0; step < 49; ++step) EXPECT_FALSE(trend.leaps(step % 7 == 6 ? 100 : 1));
}

TEST(LossTrend, BeginsWithThePlainMean) {
  LossTrend trend;
  for (const double loss : {4.0, 2.0, 6.0}) trend.leaps(loss);
  EXPECT_DOUBLE_EQ(trend.mean(), 4.0);
}

}  // namespace
}  // namespace clipself::training
