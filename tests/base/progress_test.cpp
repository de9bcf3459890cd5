#include "clipself/base/progress.h"

#include <gtest/gtest.h>

namespace clipself {
namespace {

TEST(FormatDuration, UsesTheUnitsThatFit) {
  EXPECT_EQ(format_duration(0.0), "0.0 s");
  EXPECT_EQ(format_duration(12.34), "12.3 s");
  EXPECT_EQ(format_duration(60.0), "1 min 00 s");
  EXPECT_EQ(format_duration(61.6), "1 min 02 s");
  EXPECT_EQ(format_duration(3599.4), "59 min 59 s");
  EXPECT_EQ(format_duration(3599.6), "1 h 00 min");
  EXPECT_EQ(format_duration(3600.0 * 25 + 60 * 7), "25 h 07 min");
}

TEST(FormatBytes, UsesDecimalUnits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1'500), "2 kB");
  EXPECT_EQ(format_bytes(448'000'000), "448 MB");
  EXPECT_EQ(format_bytes(1.1e9), "1.10 GB");
}

TEST(Progress, IsSilentWhereNobodyWatches) {
  testing::internal::CaptureStderr();
  {
    Progress progress("steps", 10);
    for (int i = 1; i <= 10; ++i) progress.update(i, "loss 1.0");
    progress.clear();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace clipself
