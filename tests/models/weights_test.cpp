#include "clipself/models/weights.h"

#include <gtest/gtest.h>

#include <functional>

#include "clipself/base/error.h"
#include "tests/models/tiny_model.h"

namespace clipself::models {
namespace {

using formats::TensorDict;

TensorDict without(const TensorDict& tensors, const std::string& prefix) {
  TensorDict out;
  for (const auto& item : tensors) {
    if (!item.key().starts_with(prefix)) out.insert(item.key(), item.value());
  }
  return out;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(LoadWeights, CopiesEveryTensorByName) {
  auto from = tiny_model(1);
  auto to = tiny_model(2);
  const auto report = load_weights(*to, from->state(), "source");
  EXPECT_TRUE(report.resized.empty());
  EXPECT_FALSE(report.text_missing);
  const auto a = from->state(), b = to->state();
  ASSERT_EQ(a.size(), b.size());
  for (const auto& item : a) EXPECT_TRUE(at::equal(item.value(), b[item.key()])) << item.key();
}

TEST(LoadWeights, UnderstandsTheFlatLayoutWithTheTextTowerAtTopLevel) {
  auto from = tiny_model(1);
  TensorDict flat;
  for (const auto& item : from->state()) {
    const auto& name = item.key();
    flat.insert(name.starts_with("text.") ? name.substr(5) : name, item.value());
  }
  auto to = tiny_model(2);
  load_weights(*to, flat, "source");
  EXPECT_TRUE(at::equal(to->state()["text.ln_final.weight"], from->state()["text.ln_final.weight"]));
}

TEST(LoadWeights, LeavesTheTextTowerAloneWhenTheFileHasNone) {
  auto to = tiny_model(2);
  const auto before = to->state()["text.text_projection"].clone();
  const auto report = load_weights(*to, without(tiny_model(1)->state(), "text."), "source");
  EXPECT_TRUE(report.text_missing);
  EXPECT_TRUE(at::equal(to->state()["text.text_projection"], before));
}

TEST(LoadWeights, RefusesAMissingTensorByNameAndChangesNothing) {
  auto to = tiny_model(2);
  const auto before = to->state()["visual.cls_token"].clone();
  const auto message =
      message_of([&] { load_weights(*to, without(tiny_model(1)->state(), "visual.blocks.2.mlp.w3.bias"), "x.pt"); });
  EXPECT_NE(message.find("visual.blocks.2.mlp.w3.bias"), std::string::npos) << message;
  EXPECT_NE(message.find("x.pt"), std::string::npos) << message;
  EXPECT_TRUE(at::equal(to->state()["visual.cls_token"], before));
}

TEST(LoadWeights, RefusesALeftOverTensorByName) {
  auto tensors = tiny_model(1)->state();
  tensors.insert("visual.extra", at::ones({1}));
  auto to = tiny_model(2);
  EXPECT_NE(message_of([&] { load_weights(*to, tensors, "x.pt"); }).find("visual.extra"), std::string::npos);
}

TEST(LoadWeights, RefusesAnotherShapeAndTypesThatAreNoNumbersOfWeights) {
  auto to = tiny_model(2);
  auto tensors = tiny_model(1)->state();
  tensors["visual.head.weight"] = at::ones({13, 16});
  EXPECT_NE(message_of([&] { load_weights(*to, tensors, "x.pt"); }).find("visual.head.weight"), std::string::npos);
  tensors["visual.head.weight"] = at::ones({12, 16}, at::kLong);
  EXPECT_NE(message_of([&] { load_weights(*to, tensors, "x.pt"); }).find("Long"), std::string::npos);
}

TEST(LoadWeights, ResizesPositionEmbeddingAndPatchKernelToAnotherGrid) {
  auto config = tiny_config();
  config.vision.image_size = 48;
  ClipModel larger(config);
  const auto report = load_weights(larger, tiny_model(1)->state(), "source");
  ASSERT_EQ(report.resized.size(), 1U);
  EXPECT_NE(report.resized[0].find("4x4 to 6x6"), std::string::npos) << report.resized[0];
  // Bicubic resizing keeps a constant field constant.
  auto flat = tiny_model(1)->state();
  flat["visual.pos_embed"] = at::full({1, 17, 16}, 3.0);
  load_weights(larger, flat, "source");
  EXPECT_TRUE(at::allclose(larger.state()["visual.pos_embed"], at::full({1, 37, 16}, 3.0), 1e-6, 1e-6));
}

TEST(FittingModels, NamesThePublishedModelOfATower) {
  TensorDict tensors;
  tensors.insert("visual.pos_embed", at::empty({1, 577, 1024}));
  tensors.insert("visual.patch_embed.proj.weight", at::empty({1024, 3, 14, 14}));
  tensors.insert("visual.head.weight", at::empty({768, 1024}));
  tensors.insert("visual.blocks.23.norm1.weight", at::empty({1024}));
  EXPECT_EQ(fitting_models(tensors), (std::vector<std::string>{"EVA02-CLIP-L-14-336"}));
  tensors.insert("visual.blocks.24.norm1.weight", at::empty({1024}));
  EXPECT_TRUE(fitting_models(tensors).empty());
}

TEST(ModelConfig, SurvivesBeingWrittenAndReadAgain) {
  for (const auto& name : known_models()) {
    const auto config = model_config(name);
    EXPECT_EQ(config_json(parse_config(config_json(config), name)), config_json(config)) << name;
  }
}

TEST(ModelConfig, NamesTheKeyThatIsWrong) {
  const auto text = config_json(tiny_config());
  const auto swapped = [&](const std::string& from, const std::string& to) {
    auto copy = text;
    copy.replace(copy.find(from), from.size(), to);
    return message_of([&] { parse_config(copy, "m.json"); });
  };
  EXPECT_NE(swapped("\"width\": 16", "\"width\": \"16\"").find("vision_cfg.width"), std::string::npos);
  EXPECT_NE(swapped("\"layers\": 3", "\"layers\": -1").find("vision_cfg.layers"), std::string::npos);
  EXPECT_NE(swapped("\"embed_dim\"", "\"embed\"").find("embed_dim"), std::string::npos);
  EXPECT_NE(swapped("\"rope\": true", "\"rope\": false").find("vision_cfg.rope"), std::string::npos);
  EXPECT_NE(message_of([] { parse_config("{", "m.json"); }).find("not JSON"), std::string::npos);
  EXPECT_NE(message_of([] { model_config("EVA03"); }).find("EVA02-CLIP-B-16"), std::string::npos);
}

}  // namespace
}  // namespace clipself::models
