#include "clipself/base/error.h"

#include <gtest/gtest.h>

#include <string>

namespace clipself {
namespace {

std::string text(const ErrorParts& parts) {
  return Error(parts).what();
}

TEST(Error, ComposesAllPartsIntoOneSentence) {
  EXPECT_EQ(text({.doing = "reading checkpoint",
                  .where = "x.pt",
                  .found = "14 bytes",
                  .expected = "a torch archive",
                  .hint = "was the download cut off?"}),
            "reading checkpoint 'x.pt': found 14 bytes; expected a torch archive (hint: was the download cut off?)");
}

TEST(Error, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(text({.doing = "training"}), "training");
  EXPECT_EQ(text({.doing = "opening file", .where = "a.png"}), "opening file 'a.png'");
  EXPECT_EQ(text({.doing = "parsing --lr", .found = "'fast'"}), "parsing --lr: found 'fast'");
  EXPECT_EQ(text({.doing = "parsing --lr", .expected = "a number"}), "parsing --lr: expected a number");
  EXPECT_EQ(text({.doing = "saving", .hint = "free some space"}), "saving (hint: free some space)");
}

TEST(Error, StaysOneLineWhateverAFileNameHolds) {
  EXPECT_EQ(text({.doing = "reading", .where = "a\nb\tc\r\x7f\x1b[31m"}), "reading 'a b c   [31m'");
  EXPECT_STREQ(Error("two\nlines").what(), "two lines");
}

TEST(Error, KeepsTextThatIsNotAscii) {
  EXPECT_EQ(text({.doing = "reading", .where = "Übung/図.png"}), "reading 'Übung/図.png'");
}

}  // namespace
}  // namespace clipself
