// Checkpoints as their publishers' own tools write them (tests/reference/README.md says which wrote what), against
// features that those tools computed.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/state_dict.h"
#include "clipself/models/weights.h"

namespace clipself::models {
namespace {

std::filesystem::path published(const std::string& name) {
  return std::filesystem::path(CLIPSELF_SOURCE_DIR) / "tests/reference/checkpoints/published" / name;
}

std::shared_ptr<ClipModel> load_published(const std::string& config, const std::string& weights) {
  auto model = std::make_shared<ClipModel>(model_config(published(config).string()));
  load_checkpoint(*model, published(weights));
  model->eval();
  return model;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class HuggingFace : public testing::TestWithParam<const char*> {};

TEST_P(HuggingFace, ModelsComputeTheTransformersLibrarysFeatures) {
  const at::NoGradGuard no_grad;
  const std::string folder = GetParam();
  const auto model = load_published(folder + "/config.json", folder + "/model.safetensors");
  const auto expected = formats::read_safetensors(published(folder + "/expected.safetensors")).tensors;
  EXPECT_LE(difference(model->encode_image(expected["images"]), expected["image_features"]), 2e-5);
  EXPECT_LE(difference(model->encode_text(expected["tokens"]), expected["text_features"]), 2e-5);
  if (expected.contains("dense")) {
    EXPECT_LE(difference(model->encode_dense(expected["images"]).flatten(2).transpose(1, 2), expected["dense"]), 2e-5);
    EXPECT_EQ(model->logit_scale().item<float>(), expected["logit_scale"].item<float>());
    EXPECT_EQ(model->logit_bias().item<float>(), expected["logit_bias"].item<float>());
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, HuggingFace, testing::Values("hf_clip", "hf_siglip"),
                         [](const auto& name) { return std::string(name.param); });

TEST(Published, OneModelInEveryLayoutOfPlainClipIsTheSame) {
  const auto reference = load_published("hf_clip/config.json", "hf_clip/model.safetensors");
  const auto wanted = reference->state();
  for (const char* file :
       {"plain/open_clip_model.safetensors", "plain/open_clip_pytorch_model.bin", "plain/epoch_3.pt"}) {
    const auto state = load_published("hf_clip/config.json", file)->state();
    ASSERT_EQ(state.size(), wanted.size());
    for (const auto& item : wanted)
      EXPECT_TRUE(at::equal(state[item.key()], item.value())) << file << " " << item.key();
  }
}

TEST(Published, OpenAiArchivesAreReadWithoutRunningTheirProgram) {
  const auto wanted = load_published("hf_clip/config.json", "hf_clip/model.safetensors")->state();
  const auto state = load_published("hf_clip/config.json", "plain/openai.pt")->state();
  for (const auto& item : wanted) {
    // Published in half precision, vectors excepted.
    const auto stored = item.value().dim() > 1 ? item.value().to(at::kHalf).to(at::kFloat) : item.value();
    EXPECT_TRUE(at::equal(state[item.key()], stored)) << item.key();
  }
}

TEST(Published, OpenAisWeightsAreRefusedByAModelWithoutQuickGelu) {
  auto config = model_config(published("hf_clip/config.json").string());
  config.vision.activation = config.text->activation = Activation::kGelu;
  ClipModel model(config);
  try {
    load_checkpoint(model, published("plain/openai.pt"));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("QuickGELU"), std::string::npos) << error.what();
  }
}

TEST(Published, WritesOfficialNames) {
  const auto state = load_published("hf_clip/config.json", "hf_clip/model.safetensors")->state();
  const auto official = formats::read_state_dict(published("plain/open_clip_model.safetensors")).tensors;
  EXPECT_EQ(state.size(), official.size());
  for (const auto& item : official) EXPECT_TRUE(state.contains(item.key())) << item.key();
}

TEST(Published, AMissingProjectionIsNamed) {
  auto tensors = formats::read_state_dict(published("hf_clip/model.safetensors")).tensors;
  formats::TensorDict without;
  for (const auto& item : tensors) {
    if (item.key() != "vision_model.encoder.layers.1.self_attn.k_proj.weight") without.insert(item.key(), item.value());
  }
  ClipModel model(model_config(published("hf_clip/config.json").string()));
  try {
    load_weights(model, without, "file");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("visual.transformer.resblocks.1.attn.in_proj_weight"), std::string::npos)
        << error.what();
  }
}

TEST(Config, OfEveryBuiltInModelIsReadBackAsWritten) {
  for (const auto& name : known_models()) {
    const auto config = model_config(name);
    const auto text = config_json(config);
    EXPECT_EQ(config_json(parse_config(text, name)), text) << name;
    EXPECT_EQ(parse_config(text, name).pixels.mean, config.pixels.mean) << name;
  }
}

TEST(Config, OfSiglipVisionTowersHasTimmsActivation) {
  // timm's vision_transformer.py: act_layer='gelu_tanh' in these of the models that open_clip names, in no other.
  const std::set<std::string> tanh{"ViT-L-16-SigLIP2-512", "ViT-SO400M-16-SigLIP2-256", "ViT-SO400M-16-SigLIP2-384",
                                   "ViT-SO400M-16-SigLIP2-512"};
  for (const auto& name : known_models()) {
    const auto config = model_config(name);
    if (config.vision.backbone != "siglip") continue;
    EXPECT_EQ(config.vision.activation, tanh.contains(name) ? Activation::kTanhGelu : Activation::kGelu) << name;
  }
}

TEST(Config, NamesTheKeyOfWhatItCannotBuild) {
  const auto message = [](const std::string& json) {
    try {
      parse_config(json, "x");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const auto has = [&](const std::string& json, const std::string& part) {
    const auto text = message(json);
    EXPECT_NE(text.find(part), std::string::npos) << json << " gives: " << text;
  };
  has(R"({"embed_dim": 8, "vision_cfg": {"layers": 1, "width": 8, "head_width": 4, "timm_model_name": "convnext_base"}})",
      "timm_model_name");
  has(R"({"embed_dim": 8, "vision_cfg": {"layers": 1, "width": 8, "head_width": 3}})", "head_width");
  has(R"({"embed_dim": 8, "vision_cfg": {"layers": 1, "width": 8, "head_width": 4, "ls_init_value": 1e-5}})",
      "ls_init_value");
  has(R"({"embed_dim": 4294967312, "vision_cfg": {"layers": 1, "width": 8, "head_width": 4}})", "embed_dim");
  has(R"({"embed_dim": 8, "vision_cfg": {"layers": 1, "width": 8, "head_width": 4}, "text_cfg": {"hf_model_name": "roberta"}})",
      "hf_model_name");
  has(R"({"model_type": "blip", "vision_config": {}})", "model_type");
  has(R"({"embed_dim": 16, "vision_cfg": {"timm_model_name": "vit_custom_siglip", "layers": 1, "width": 8, "head_width": 4}})",
      "width");
}

}  // namespace
}  // namespace clipself::models
