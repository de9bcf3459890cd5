#include "clipself/detection/classes.h"

#include <gtest/gtest.h>

#include "clipself/base/error.h"

namespace clipself::detection {
namespace {

models::ClassEmbeddings four_embeddings() {
  return {.rows = at::tensor({3.0, 4.0, 0.0, 2.0, 1.0, 0.0, 0.0, -5.0}, at::kDouble).reshape({4, 2}),
          .names = {"owl", "background", "cat", "dog"},
          .model = {}};
}

void expect_refused(const models::ClassEmbeddings& embeddings, const std::vector<std::string>& names,
                    const std::vector<std::string>& base, const std::string& says) {
  try {
    make_classes(embeddings, names, base, "some.npy");
    FAIL() << "no error for: " << says;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("some.npy"), std::string::npos) << error.what();
  }
}

TEST(DetectionClasses, AreRowsOfUnitLengthInTheirOrderWithBackgroundLast) {
  const auto classes = make_classes(four_embeddings(), {"dog", "owl"}, {"dog"}, "some.npy");
  EXPECT_EQ(classes.count(), 2);
  EXPECT_EQ(classes.names, (std::vector<std::string>{"dog", "owl"}));
  EXPECT_EQ(classes.is_base, (std::vector<bool>{true, false}));
  const auto expected = at::tensor({0.0, -1.0, 0.6, 0.8, 0.0, 1.0}).to(at::kFloat).reshape({3, 2});
  EXPECT_EQ(classes.embeddings.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(classes.embeddings, expected)) << classes.embeddings;
}

TEST(DetectionClasses, AreAllBaseWhenNoneAreNamed) {
  EXPECT_EQ(make_classes(four_embeddings(), {"cat", "dog", "owl"}, {}, "some.npy").is_base,
            (std::vector<bool>{true, true, true}));
}

TEST(DetectionClasses, AreRefusedWithTheNameThatIsMissing) {
  expect_refused(four_embeddings(), {"cat", "unicorn"}, {}, "unicorn");
  expect_refused(four_embeddings(), {"cat", "dog"}, {"owl"}, "owl");
  expect_refused(four_embeddings(), {}, {}, "no class names");
  auto embeddings = four_embeddings();
  embeddings.names[1] = "ground";
  expect_refused(embeddings, {"cat"}, {}, "--background");
  embeddings.names.clear();
  expect_refused(embeddings, {"cat"}, {}, "names");
}

}  // namespace
}  // namespace clipself::detection
