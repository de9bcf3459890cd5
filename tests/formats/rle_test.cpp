#include "clipself/formats/rle.h"

#include <gtest/gtest.h>

namespace clipself::formats {
namespace {

std::string refusal(const std::function<void()>& read) {
  try {
    read();
  } catch (const RleError& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(RleText, IsWhatTheReferenceWrites) {
  // An empty 37 x 53 mask, and one with a rectangle, as COCO's tools encode them.
  EXPECT_EQ(rle_text({.height = 37, .width = 53, .counts = {37 * 53}}), "Ym1");
  EXPECT_EQ(read_rle("Ym1", 37, 53).counts, (std::vector<std::uint32_t>{1961}));
  // By hand: 1 = 00001 -> '1'; 2 -> '2'; 3 -> '3'; then differences 4-2 = 2 and 2-3 = -1 = 11111 -> 'O'.
  EXPECT_EQ(rle_text({.height = 3, .width = 4, .counts = {1, 2, 3, 4, 2}}), "1232O");
}

TEST(RleText, ComesBackForRunsOfEverySize) {
  std::vector<std::uint32_t> counts;
  std::int64_t sum = 0;
  for (std::uint32_t count = 0; count < 1'000'000; count = 3 * count + 1) {
    for (const std::uint32_t run : {count, std::uint32_t{1}, 2 * count + 1}) {
      counts.push_back(run);
      sum += run;
    }
  }
  const Rle rle{.height = 1, .width = sum, .counts = counts};
  EXPECT_EQ(read_rle(rle_text(rle), 1, sum), rle);
  const Rle large{.height = 65535, .width = 65537, .counts = {0, 4294967295U}};
  EXPECT_EQ(read_rle(rle_text(large), 65535, 65537), large);
}

TEST(RleText, RefusesWhatIsNoMask) {
  const auto text = [](std::string_view counts) { return refusal([&] { read_rle(counts, 3, 4); }); };
  EXPECT_NE(text("12").find("9 pixels less"), std::string::npos) << text("12");
  EXPECT_NE(text("").find("12 pixels less"), std::string::npos);
  EXPECT_NE(text("1<").find("more pixels"), std::string::npos);
  EXPECT_NE(text("1232O ").find("code 32 at position 5"), std::string::npos);
  EXPECT_NE(text("1\xC3\xA9").find("code 195"), std::string::npos);
  EXPECT_NE(text("1P").find("end inside"), std::string::npos);
  EXPECT_NE(text("O").find("a run of -1"), std::string::npos);
  EXPECT_NE(text("PPPPPPPPPPPPPPPP0").find("too many"), std::string::npos);
  EXPECT_NE(refusal([] { read_rle("0", 0, 4); }).find("[0, 4]"), std::string::npos);
  EXPECT_NE(refusal([] { read_rle("0", 1 << 20, 1 << 20); }).find("2^32"), std::string::npos);
  const std::vector<std::int64_t> negative{13, -1};
  EXPECT_NE(refusal([&] { read_rle(negative, 3, 4); }).find("more pixels"), std::string::npos);
  const std::vector<std::int64_t> good{0, 5, 7};
  EXPECT_EQ(read_rle(good, 3, 4).counts, (std::vector<std::uint32_t>{0, 5, 7}));
}

}  // namespace
}  // namespace clipself::formats
