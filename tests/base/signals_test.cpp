#include "clipself/base/signals.h"

#include <gtest/gtest.h>

#include <csignal>

namespace clipself {
namespace {

TEST(StopRequest, IsZeroUntilASignalArrives) {
  const StopRequest stop;
  EXPECT_EQ(stop.signal(), 0);
  std::raise(SIGTERM);
  EXPECT_EQ(stop.signal(), SIGTERM);
}

TEST(StopRequest, TakesCtrlC) {
  const StopRequest stop;
  std::raise(SIGINT);
  EXPECT_EQ(stop.signal(), SIGINT);
}

TEST(StopRequest, ANewOneKnowsNothingOfAnEarlierSignal) {
  {
    const StopRequest stop;
    std::raise(SIGINT);
  }
  EXPECT_EQ(StopRequest().signal(), 0);
}

TEST(StopRequestDeathTest, ASecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        const StopRequest stop;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

TEST(StopRequestDeathTest, WithoutOneASignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        { const StopRequest stop; }
        std::raise(SIGTERM);
      },
      ::testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace clipself
