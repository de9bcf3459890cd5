#include "clipself/models/eva_vision_tower.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "clipself/base/error.h"
#include "tests/models/tiny_model.h"

namespace clipself::models {
namespace {

class EvaTower : public testing::Test {
 protected:
  std::shared_ptr<ClipModel> model_ = tiny_model();
  EvaVisionTower& tower_ = dynamic_cast<EvaVisionTower&>(model_->visual());
};

TEST_F(EvaTower, GivesOneEmbeddingAnImageAndOneAPatchOnAnyGrid) {
  const auto images = at::randn({2, 3, 24, 56});
  EXPECT_EQ(tower_.encode_image(images).sizes(), (at::IntArrayRef{2, 12}));
  const auto dense = tower_.encode_dense(images);
  EXPECT_EQ(dense.sizes(), (at::IntArrayRef{2, 12, 3, 7}));
  EXPECT_TRUE(at::allclose(dense.norm(2, 1), at::ones({2, 3, 7}), 1e-5, 1e-5));
}

TEST_F(EvaTower, TreatsTheImagesOfABatchAlone) {
  const auto images = at::randn({3, 3, 32, 32});
  const auto together = tower_.encode_dense(images);
  const auto alone = tower_.encode_dense(images.slice(0, 1, 2));
  EXPECT_TRUE(at::allclose(together.slice(0, 1, 2), alone, 1e-5, 1e-5));
}

TEST_F(EvaTower, DenseMapOfOneBlockIsItsValuePathAlone) {
  // With one block nothing attends: a patch's feature must not depend on any other patch.
  auto config = tiny_config();
  config.vision.layers = 1;
  ClipModel shallow(config, false);
  auto images = at::randn({1, 3, 32, 32});
  const auto before = shallow.encode_dense(images);
  images.slice(3, 8, 32).normal_();
  const auto after = shallow.encode_dense(images);
  EXPECT_TRUE(at::allclose(before.slice(3, 0, 1), after.slice(3, 0, 1), 1e-5, 1e-6));
  EXPECT_FALSE(at::allclose(before.slice(3, 1, 4), after.slice(3, 1, 4), 1e-2, 1e-2));
}

TEST_F(EvaTower, IntermediateMapsEndInTheDenseMap) {
  const auto images = at::randn({1, 3, 32, 48});
  const auto maps = tower_.intermediate(images, {0, 2});
  ASSERT_EQ(maps.size(), 2U);
  EXPECT_EQ(maps[0].sizes(), (at::IntArrayRef{1, 16, 4, 6}));
  const auto first = tower_.block(0).forward(tower_.input_tokens(images), tower_.rotary(4, 6));
  EXPECT_TRUE(at::allclose(maps[0].flatten(2).transpose(1, 2), first.slice(1, 1), 1e-5, 1e-5));
  EXPECT_THROW(tower_.intermediate(images, {3}), Error);
}

TEST_F(EvaTower, TheClassTokenAloneIsThatOfTheWholeBlock) {
  at::manual_seed(2);
  for (const auto& [name, parameter] : model_->trainable())
    if (name.rfind("visual.blocks.2", 0) == 0) parameter.detach().normal_(0.0, 0.3);
  const auto x = at::randn({2, 1 + 4 * 6, 16});
  auto& block = tower_.block(2);
  const auto both = [&](const auto& forward) {
    auto input = x.clone().set_requires_grad(true);
    const at::Tensor token = forward(input);
    std::vector<at::Tensor> inputs = block.parameters();
    inputs.push_back(input);
    auto results = torch::autograd::grad({token.pow(2).sum()}, inputs);
    results.push_back(token.detach());
    return results;
  };
  const auto whole = both([&](auto& input) { return block.forward(input, tower_.rotary(4, 6)).slice(1, 0, 1); });
  const auto alone = both([&](auto& input) { return block.forward_class(input, tower_.rotary(4, 6)); });
  for (std::size_t i = 0; i < whole.size(); ++i)
    EXPECT_TRUE(at::allclose(alone[i], whole[i], 1e-4, 1e-4 * whole[i].abs().max().item<double>())) << i;
}

TEST_F(EvaTower, KeepsTheNativePositionEmbeddingAndTheClassTokensOnOtherGrids) {
  EXPECT_TRUE(at::equal(tower_.position_embedding(4, 4), model_->state()["visual.pos_embed"]));
  const auto wide = tower_.position_embedding(2, 8);
  EXPECT_EQ(wide.sizes(), (at::IntArrayRef{1, 17, 16}));
  EXPECT_TRUE(at::equal(wide[0][0], model_->state()["visual.pos_embed"][0][0]));
}

TEST_F(EvaTower, RefusesImagesThatAreNoMultipleOfThePatch) {
  EXPECT_THROW(tower_.encode_dense(at::randn({1, 3, 30, 32})), Error);
  EXPECT_THROW(tower_.encode_image(at::randn({1, 1, 32, 32})), Error);
}

TEST_F(EvaTower, LocksAllButTheLastBlocks) {
  const auto trained = [&] {
    std::set<std::string> names;
    for (const auto& [name, tensor] : model_->trainable())
      names.insert(name.substr(0, std::string("visual.blocks.0").size()));
    return names;
  };
  model_->lock_image_tower(0);
  EXPECT_EQ(trained(), (std::set<std::string>{"logit_scale"}));
  model_->lock_image_tower(2);
  EXPECT_EQ(trained(), (std::set<std::string>{"logit_scale", "visual.blocks.1", "visual.blocks.2"}));
  model_->lock_image_tower(99);
  EXPECT_EQ(trained().size(), 4U);
}

TEST_F(EvaTower, RecomputingGivesTheSameGradients) {
  const auto images = at::randn({2, 3, 32, 32});
  const auto target = at::randn({2, 12, 4, 4});
  const auto gradients = [&](bool checkpointing) {
    model_->lock_image_tower(2);
    tower_.set_grad_checkpointing(checkpointing);
    (tower_.encode_dense(images) * target).sum().backward();
    std::vector<at::Tensor> result;
    for (auto& [name, parameter] : model_->trainable()) {
      result.push_back(parameter.grad().defined() ? parameter.grad().clone() : at::Tensor());
      parameter.mutable_grad().reset();
    }
    return result;
  };
  const auto plain = gradients(false);
  const auto recomputed = gradients(true);
  ASSERT_EQ(plain.size(), recomputed.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    ASSERT_EQ(plain[i].defined(), recomputed[i].defined());
    if (!plain[i].defined()) continue;
    EXPECT_TRUE(at::allclose(plain[i], recomputed[i], 1e-5, 1e-6));
  }
}

TEST_F(EvaTower, GradientEqualsFiniteDifferences) {
  const auto images = at::randn({1, 3, 16, 24});
  const auto target = at::randn({1, 12, 2, 3});
  const auto value = [&] { return (tower_.encode_dense(images) * target).sum(); };
  model_->lock_image_tower(3);
  value().backward();
  const at::NoGradGuard no_grad;
  for (auto& [name, parameter] : model_->trainable()) {
    if (!parameter.grad().defined()) continue;
    const auto direction = at::randn_like(parameter);
    constexpr double kStep = 2e-3;
    parameter.add_(direction, kStep);
    const double up = value().item<double>();
    parameter.add_(direction, -2 * kStep);
    const double down = value().item<double>();
    parameter.add_(direction, kStep);
    const double expected = (up - down) / (2 * kStep);
    const double got = (parameter.grad() * direction).sum().item<double>();
    EXPECT_NEAR(got, expected, 0.02 * std::abs(expected) + 0.02) << name;
  }
}

TEST_F(EvaTower, InBfloat16StaysCloseToFloat32) {
  const auto images = at::randn({2, 3, 32, 32});
  const at::NoGradGuard no_grad;
  const auto exact = tower_.encode_dense(images);
  tower_.set_compute_type(at::kBFloat16);
  const auto rounded = tower_.encode_dense(images).to(at::kFloat);
  // The bound stated in docs/numerics.md: cosine at least 0.995 at every position.
  EXPECT_GT((exact * rounded).sum(1).min().item<double>(), 0.995);
  EXPECT_GT((exact - rounded).abs().max().item<double>(), 0.0);
}

TEST_F(EvaTower, FrozenModelsKeepNothingForABackwardPass) {
  model_->freeze(at::kBFloat16);
  EXPECT_FALSE(tower_.encode_dense(at::randn({1, 3, 32, 32})).requires_grad());
  EXPECT_EQ(model_->state()["visual.blocks.0.attn.q_proj.weight"].scalar_type(), at::kBFloat16);
  EXPECT_TRUE(model_->trainable().empty());
}

TEST(ClipModel, PoolsMasksByTheirMeanAndEmptyMasksToZero) {
  torch::manual_seed(5);
  const auto dense = at::randn({1, 4, 2, 3});
  auto masks = at::zeros({2, 2, 3}, at::kBool);
  masks[0][0][1] = true;
  masks[0][1][2] = true;
  const auto pooled = pool_masks(dense, {masks});
  const auto mean = (dense.index({0, at::indexing::Slice(), 0, 1}) + dense.index({0, at::indexing::Slice(), 1, 2})) / 2;
  EXPECT_TRUE(at::allclose(pooled[0], mean, 1e-6, 1e-6));
  EXPECT_EQ(pooled[1].abs().sum().item<float>(), 0.0F);
  EXPECT_THROW(pool_masks(dense, {at::zeros({1, 3, 3})}), Error);
}

TEST(ClipModel, ReadsTheTextFeatureAtTheFirstHighestToken) {
  auto model = tiny_model();
  auto tokens = at::tensor({48, 3, 4, 49, 0, 0, 48, 7, 49, 0, 0, 0}, at::kLong).reshape({2, 6});
  const auto features = model->encode_text(tokens);
  EXPECT_EQ(features.sizes(), (at::IntArrayRef{2, 12}));
  // Causal: what follows the end token changes nothing.
  tokens[1][4] = 11;
  EXPECT_TRUE(at::allclose(model->encode_text(tokens)[1], features[1], 1e-5, 1e-6));
  EXPECT_THROW(model->encode_text(at::zeros({1, 11}, at::kLong)), Error);
}

}  // namespace
}  // namespace clipself::models
