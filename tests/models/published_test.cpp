// Checkpoints as their publishers' own tools write them (tests/reference/README.md says which wrote what), against
// features that those tools computed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/state_dict.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/models/config_beside.h"
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

std::string loading(const ClipConfig& config, const std::filesystem::path& weights) {
  ClipModel model(config);
  try {
    load_checkpoint(model, weights);
  } catch (const Error& error) {
    return error.what();
  }
  return "loaded";
}

TEST(Published, WeightsWhoseConfigurationDisagreesOnQuickGeluAreRefused) {
  auto config = model_config(published("hf_clip/config.json").string());
  EXPECT_EQ(loading(config, published("hf_clip/model.safetensors")), "loaded");
  config.vision.activation = config.text->activation = Activation::kGelu;
  const auto message = loading(config, published("hf_clip/model.safetensors"));
  EXPECT_NE(message.find("weights trained with QuickGELU"), std::string::npos) << message;
  EXPECT_NE(message.find("hf_clip/config.json"), std::string::npos) << message;
}

class BesideWeights : public testing::Test {
 protected:
  BesideWeights() {
    std::string name = (std::filesystem::temp_directory_path() / "clipself_beside.XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~BesideWeights() override { std::filesystem::remove_all(folder_); }
  static std::string plain(bool quick, int width = 16) {
    return R"({"embed_dim": 12, "quick_gelu": )" + std::string(quick ? "true" : "false") +
           R"(, "vision_cfg": {"image_size": 32, "layers": 2, "head_width": 8, "patch_size": 8, "width": )" +
           std::to_string(width) + "}}";
  }
  std::filesystem::path folder_;
};

TEST_F(BesideWeights, TheRunThatWroteThemTellsTheirActivation) {
  using formats::Value;
  const auto quick = parse_config(plain(true), "quick"), usual = parse_config(plain(false), "usual");
  write_text(folder_ / "quick.json", plain(true));
  formats::Dict tensors;
  for (const auto& item : ClipModel(quick).state()) tensors.emplace_back(item.key(), item.value());
  const auto file = folder_ / "epoch_1.pt";
  formats::write_torch_archive(
      file, Value::dict({{"state_dict", Value::dict(tensors)},
                         {"clipself", Value::dict({{"settings", R"({"model": ")" + (folder_ / "quick.json").string() +
                                                                    R"(", "lr": "1"})"}})}}));
  EXPECT_EQ(loading(quick, file), "loaded");
  EXPECT_NE(loading(usual, file).find("with QuickGELU (the run that wrote them"), std::string::npos)
      << loading(usual, file);
  std::filesystem::remove(folder_ / "quick.json");
  EXPECT_EQ(loading(usual, file), "loaded") << "nobody knows";
  write_text(folder_ / "open_clip_config.json", plain(true));
  EXPECT_NE(loading(usual, file), "loaded");
  write_text(folder_ / "open_clip_config.json", plain(true, 32));  // of another model
  EXPECT_EQ(loading(usual, file), "loaded");
}

TEST_F(BesideWeights, TellHowImagesArePrepared) {
  auto config = parse_config(plain(false), "usual");
  const auto unchanged = config_json(config);
  const auto weights = folder_ / "model.safetensors";
  const auto say = [&](int width, const std::string& preprocessing) {
    write_text(folder_ / "open_clip_config.json", R"({"model_cfg": )" + plain(false, width) + preprocessing + "}");
  };
  const std::string half = R"(, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]})";
  EXPECT_FALSE(take_preprocessing(config, weights));
  say(32, half);
  EXPECT_FALSE(take_preprocessing(config, weights)) << "another model's";
  say(16, "");
  EXPECT_FALSE(take_preprocessing(config, weights));
  EXPECT_EQ(config_json(config), unchanged);
  say(16, half);
  EXPECT_EQ(take_preprocessing(config, weights), folder_ / "open_clip_config.json");
  EXPECT_EQ(config.pixels.mean[0], 0.5F);
  EXPECT_FALSE(config.squash);
  EXPECT_FALSE(take_preprocessing(config, weights)) << "nothing new";
  // What a training run saves beside its checkpoints.
  write_text(folder_ / "open_clip_config.json", config_json(config));
  auto again = parse_config(plain(false), "usual");
  EXPECT_TRUE(take_preprocessing(again, weights));
  EXPECT_EQ(again.pixels.std, config.pixels.std);
}

TEST(Config, OfThe378PixelModelsStretchesImages) {
  for (const auto& name : known_models()) {
    const auto config = model_config(name);
    if (config.vision.backbone != "vit") continue;
    EXPECT_EQ(config.squash, name.find("-378") != std::string::npos) << name;  // open_clip's pretrained.py
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
