#include "clipself/scenes/single_things.h"

#include <gtest/gtest.h>

#include <set>

#include "clipself/datasets/transforms.h"
#include "clipself/scenes/contrastive.h"

namespace clipself::scenes {
namespace {

TEST(SingleThings, AreTheSameForTheSameNumbersAndShowManyClasses) {
  const auto first = single_things(1, Combinations::kSeen, 60, 48),
             again = single_things(1, Combinations::kSeen, 60, 48);
  EXPECT_TRUE(at::equal(first.images, again.images));
  EXPECT_TRUE(at::equal(first.labels, again.labels));
  EXPECT_EQ(first.images.sizes(), (std::vector<std::int64_t>{60, 3, 48, 48}));
  std::set<std::int64_t> classes;
  for (std::int64_t i = 0; i < 60; ++i) classes.insert(first.labels[i].item<std::int64_t>());
  EXPECT_GT(classes.size(), 25U);
  EXPECT_LT(*classes.rbegin(), kThings);
  const auto others = single_things(1, Combinations::kHeldOut, 60, 48);
  EXPECT_FALSE(at::equal(first.images, others.images));
}

// Class embeddings that are the pictures' own, and their opposites.
TEST(NamedRight, CountsThePicturesNearestToTheirOwnClass) {
  torch::manual_seed(1);
  models::ClipModel model(world_model_config());
  initialize_small_model(model, 1);
  auto pictures = single_things(1, Combinations::kSeen, 3, 48);
  const at::NoGradGuard no_grad;
  const auto own = model.encode_image(datasets::normalize(pictures.images, {}), true);
  pictures.labels = at::tensor({0, 1, 2}, at::kLong);
  EXPECT_DOUBLE_EQ(named_right(model, pictures, own), 1.0);
  EXPECT_DOUBLE_EQ(named_right(model, pictures, -own), 0.0);
}

}  // namespace
}  // namespace clipself::scenes
