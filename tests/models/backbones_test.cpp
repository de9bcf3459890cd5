// What holds for every backbone, whatever it computes.
#include <gtest/gtest.h>

#include <set>

#include "clipself/base/error.h"
#include "clipself/models/clip_model.h"
#include "clipself/models/transformer.h"
#include "clipself/models/weights.h"

namespace clipself::models {
namespace {

constexpr const char* kSmallModels[] = {
    R"({"embed_dim": 12, "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8,
      "mlp_ratio": 2.6667, "eva_model_name": "eva-clip-tiny", "rope": true, "intp_freq": true, "naiveswiglu": true,
      "subln": true}, "text_cfg": {"context_length": 10, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2}})",
    R"({"embed_dim": 12, "quick_gelu": true, "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8,
      "patch_size": 8}, "text_cfg": {"context_length": 10, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2}})",
    R"({"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8,
      "timm_model_name": "vit_custom_siglip"}, "text_cfg": {"context_length": 10, "vocab_size": 50, "width": 16, "heads": 2,
      "layers": 2, "no_causal_mask": true, "proj_bias": true, "pool_type": "last"}})"};

class EveryBackbone : public testing::TestWithParam<int> {
 protected:
  EveryBackbone() : config_(parse_config(kSmallModels[GetParam()], "small")) {
    torch::manual_seed(5);
    model_ = std::make_shared<ClipModel>(config_);
    const at::NoGradGuard no_grad;
    for (const auto& item : model_->named_parameters()) {
      if (item.value().dim() > 0) item.value().add_(at::randn_like(item.value()) * 0.1);
    }
    images_ = at::randn({2, 3, 32, 48});
  }
  ClipConfig config_;
  std::shared_ptr<ClipModel> model_;
  at::Tensor images_;
};

TEST_P(EveryBackbone, GivesMapsOfTheImagesShapeAtUnitLength) {
  const auto dense = model_->encode_dense(images_);
  EXPECT_EQ(dense.sizes(), (std::vector<std::int64_t>{2, config_.embed_dim, 4, 6}));
  EXPECT_TRUE(at::allclose(dense.norm(2, {1}), at::ones({2, 4, 6}), 1e-5, 1e-5));
  EXPECT_EQ(model_->encode_image(images_).sizes(), (std::vector<std::int64_t>{2, config_.embed_dim}));
  const auto maps = model_->visual().intermediate(images_, {0, 2});
  for (const auto& map : maps) EXPECT_EQ(map.sizes(), (std::vector<std::int64_t>{2, 16, 4, 6}));
}

TEST_P(EveryBackbone, GivesBothAtOnceAsApart) {
  const auto [dense, image] = model_->visual().encode_dense_and_image(images_);
  EXPECT_TRUE(at::allclose(dense, model_->encode_dense(images_), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(image, model_->encode_image(images_), 1e-5, 1e-6));
}

TEST_P(EveryBackbone, RecomputationChangesNoGradient) {
  model_->lock_image_tower(2);
  std::vector<at::Tensor> gradients[2];
  for (const bool again : {false, true}) {
    model_->visual().set_grad_checkpointing(again);
    for (auto& [name, parameter] : model_->trainable()) parameter.mutable_grad().reset();
    model_->encode_dense(images_).pow(3).sum().backward();
    for (auto& [name, parameter] : model_->trainable()) {
      if (parameter.grad().defined()) gradients[again ? 1 : 0].push_back(parameter.grad().clone());
    }
  }
  ASSERT_EQ(gradients[0].size(), gradients[1].size());
  ASSERT_FALSE(gradients[0].empty());
  for (std::size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_TRUE(at::allclose(gradients[0][i], gradients[1][i], 1e-5, 1e-7));
}

TEST_P(EveryBackbone, UnlocksItsLastBlocksFirst) {
  model_->lock_image_tower(0);
  EXPECT_EQ(model_->trainable().size(), 1U);  // the logit scale
  model_->lock_image_tower(1);
  for (const auto& [name, parameter] : model_->trainable())
    EXPECT_TRUE(name == "logit_scale" || name.find("blocks.2.") != std::string::npos) << name;
  model_->lock_image_tower(1000);
  const auto all = model_->trainable().size();
  model_->lock_image_tower(3);
  EXPECT_LE(model_->trainable().size(), all);
}

TEST_P(EveryBackbone, ReadsItsOwnWeightsAlsoForAnotherImageSize) {
  ClipModel copy(config_);
  EXPECT_TRUE(load_weights(copy, model_->state(), "itself").resized.empty());
  EXPECT_TRUE(at::equal(copy.encode_image(images_), model_->encode_image(images_)));
  auto larger = config_;
  larger.vision.image_size = 64;
  ClipModel other(larger);
  EXPECT_EQ(load_weights(other, model_->state(), "itself").resized.size(), 1U);
  auto deeper = config_;
  deeper.vision.layers = 4;
  ClipModel refused(deeper);
  EXPECT_THROW(load_weights(refused, model_->state(), "itself"), Error);
}

TEST_P(EveryBackbone, InBfloat16StaysCloseToFloat32) {
  const at::NoGradGuard no_grad;
  const auto exact = model_->encode_dense(images_);
  ClipModel rounded(config_);
  load_weights(rounded, model_->state(), "itself");
  rounded.freeze(at::kBFloat16);
  const auto cosine = (exact * rounded.encode_dense(images_).to(at::kFloat)).sum(1);
  EXPECT_GT(cosine.min().item<float>(), 0.995);
}

TEST_P(EveryBackbone, RefusesTokensOfAnotherVocabulary) {
  EXPECT_NO_THROW(model_->encode_text(at::full({1, 10}, 49, at::kLong)));
  EXPECT_THROW(model_->encode_text(at::full({1, 10}, 50, at::kLong)), Error);
  EXPECT_THROW(model_->encode_text(at::full({1, 11}, 1, at::kLong)), Error);
}

std::string backbone_name(const testing::TestParamInfo<int>& which) {
  return parse_config(kSmallModels[which.param], "small").vision.backbone;
}
INSTANTIATE_TEST_SUITE_P(Backbones, EveryBackbone, testing::Range(0, 3), backbone_name);

TEST(MaskAttention, OfTheWholePictureIsTheImagesOwnEmbedding) {
  // A query that starts as the class token and looks where the class token looks ends as it does.
  ClipModel model(parse_config(kSmallModels[1], "small"));
  const auto images = at::randn({2, 3, 32, 32});
  const std::vector<at::Tensor> masks{at::ones({1, 4, 4}, at::kBool), at::ones({2, 4, 4}, at::kBool)};
  const auto features = model.visual().encode_masks_attn(images, masks);
  const auto image = model.encode_image(images);
  EXPECT_TRUE(at::allclose(features, at::stack({image[0], image[1], image[1]}), 1e-4, 1e-5));
}

// Operations that the backward pass of `result` goes through.
std::size_t graph_size(const at::Tensor& result) {
  std::set<torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> waiting{result.grad_fn().get()};
  while (!waiting.empty()) {
    auto* const node = waiting.back();
    waiting.pop_back();
    if (node == nullptr || !seen.insert(node).second) continue;
    for (const auto& edge : node->next_edges()) waiting.push_back(edge.function.get());
  }
  return seen.size();
}

TEST(MaskAttention, IsComputedAgainInTheBackwardPassWhenAskedFor) {
  torch::manual_seed(6);
  ClipModel model(parse_config(kSmallModels[1], "small"));
  model.lock_image_tower(3);
  const auto images = at::randn({2, 3, 32, 32});
  const std::vector<at::Tensor> masks{at::rand({2, 4, 4}) > 0.5, at::rand({1, 4, 4}) > 0.5};
  std::vector<at::Tensor> gradients[2];
  std::size_t size[2];
  for (const bool again : {false, true}) {
    model.visual().set_grad_checkpointing(again);
    for (auto& [name, parameter] : model.trainable()) parameter.mutable_grad().reset();
    const auto features = model.visual().encode_masks_attn(images, masks);
    size[again ? 1 : 0] = graph_size(features);
    features.pow(3).sum().backward();
    for (auto& [name, parameter] : model.trainable()) {
      if (parameter.grad().defined()) gradients[again ? 1 : 0].push_back(parameter.grad().clone());
    }
  }
  EXPECT_LT(2 * size[1], size[0]) << "the blocks' own operations are still kept";
  ASSERT_EQ(gradients[0].size(), gradients[1].size());
  for (std::size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_TRUE(at::allclose(gradients[0][i], gradients[1][i], 1e-5, 1e-7));
}

TEST(ResidualBlock, TheFirstTokenAloneIsThatOfTheWhole) {
  at::manual_seed(7);
  ResidualBlock block({.width = 32, .heads = 4, .layers = 2, .mlp_width = 48});
  const auto x = at::randn({2, 19, 32});
  const auto both = [&](const auto& forward) {
    auto input = x.clone().set_requires_grad(true);
    const at::Tensor token = forward(input);
    EXPECT_EQ(token.sizes(), (std::vector<std::int64_t>{2, 1, 32}));
    std::vector<at::Tensor> inputs = block.parameters();
    inputs.push_back(input);
    auto results = torch::autograd::grad({token.pow(2).sum()}, inputs);
    results.push_back(token.detach());
    return results;
  };
  const auto whole = both([&](auto& input) { return block.forward(input, /*causal=*/false).slice(1, 0, 1); });
  const auto alone = both([&](auto& input) { return block.forward_first(input); });
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(at::allclose(alone[i], whole[i], 1e-4, 1e-5)) << i;
}

TEST(MaskAttention, IsRefusedByTowersWithoutIt) {
  ClipModel model(parse_config(kSmallModels[0], "small"));
  EXPECT_THROW(model.visual().encode_masks_attn(at::randn({1, 3, 32, 32}), {at::ones({1, 4, 4}, at::kBool)}), Error);
}

}  // namespace
}  // namespace clipself::models
