// Ranks and recalls against matrices whose answers can be counted by hand.
#include "clipself/evaluation/image_level.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/evaluation/prefetch.h"
#include "clipself/evaluation/retrieval.h"
#include "tests/models/tiny_model.h"

namespace clipself::evaluation {
namespace {

// Row vectors that give these cosines with the unit vectors of a space: the last dimension makes up the length.
at::Tensor with_cosines(const std::vector<std::vector<float>>& rows) {
  const auto width = static_cast<std::int64_t>(rows[0].size());
  at::Tensor result = at::zeros({static_cast<std::int64_t>(rows.size()), width + 1});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    float rest = 1;
    for (std::size_t j = 0; j < rows[i].size(); ++j) {
      result[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(j)] = rows[i][j];
      rest -= rows[i][j] * rows[i][j];
    }
    result[static_cast<std::int64_t>(i)][width] = std::sqrt(rest);
  }
  return result;
}

at::Tensor axes(std::int64_t count) {
  return at::eye(count, count + 1);
}

at::Tensor ints(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong);
}

TEST(FirstRanks, CountsWhatIsBetterAndTheEarlierOfEquals) {
  // Targets 0, 1, 2, 3 belong to groups 0, 1, 1, 0.
  const at::Tensor queries = with_cosines({{0.1F, 0.5F, 0.3F, 0.2F},    // group 0: best own is target 3, behind 1 and 2
                                           {0.1F, 0.2F, 0.3F, 0.0F},    // group 1: target 2 is first
                                           {0.3F, 0.3F, 0.1F, 0.3F},    // group 1: target 1, after its equal 0
                                           {0.3F, 0.3F, 0.3F, 0.3F}});  // group 2: nothing belongs to it
  const at::Tensor ranks = first_ranks(queries, axes(4), ints({0, 1, 1, 2}), ints({0, 1, 1, 0}));
  EXPECT_TRUE(at::equal(ranks, ints({2, 0, 1, 4})));
  EXPECT_DOUBLE_EQ(recall_at(ranks, 1), 0.25);
  EXPECT_DOUBLE_EQ(recall_at(ranks, 3), 0.75);
}

TEST(FirstRanks, AreThoseOfASortHoweverManyTargets) {
  torch::manual_seed(1);
  const std::int64_t n = 40, m = 600'000;  // rows in several parts
  const at::Tensor queries = at::randn({n, 3}), targets = at::randn({m, 3});
  const at::Tensor answer = at::randint(m, {n}, at::kLong);
  const at::Tensor ranks = first_ranks(queries, targets, answer, at::arange(m, at::kLong));
  for (const std::int64_t i : {0, 17, 39}) {
    const at::Tensor cosine = targets.matmul(queries[i]);
    EXPECT_NEAR(ranks[i].item<double>(), (cosine > cosine[answer[i]]).sum().item<double>(), 2);
  }
}

TEST(Classification, CountsHitsOverImagesAndClasses) {
  // Seven classes; class 1 has three images, class 4 one.
  const at::Tensor features = with_cosines({{0.1F, 0.6F, 0, 0, 0, 0, 0},                       // rank 0
                                            {0.5F, 0.4F, 0, 0, 0, 0, 0},                       // rank 1
                                            {0.4F, 0, 0.3F, 0.3F, 0.3F, 0.3F, 0.2F},           // rank 6
                                            {0.4F, 0.39F, 0.38F, 0.37F, 0.36F, 0.1F, 0.1F}});  // rank 4
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f", "g"};
  const auto result = score_classification(features, axes(7), ints({1, 1, 1, 4}), names);
  EXPECT_DOUBLE_EQ(result.top1, 1.0 / 4);
  EXPECT_DOUBLE_EQ(result.top5, 3.0 / 4);
  EXPECT_DOUBLE_EQ(result.mean_top1, 1.0 / 6);
  EXPECT_DOUBLE_EQ(result.mean_top5, (2.0 / 3 + 1) / 2);
  ASSERT_EQ(result.classes.size(), 2U);
  EXPECT_EQ(result.classes[0].name, "b");
  EXPECT_EQ(result.classes[0].count, 3);
  const auto json = nlohmann::json::parse(classification_json(result));
  EXPECT_DOUBLE_EQ(json["metrics"]["mean_per_class_top5"], result.mean_top5);
  EXPECT_NE(classification_table(result, true).find("16.7"), std::string::npos);
}

TEST(Retrieval, CountsInBothDirections) {
  // Two images, captions 0 and 1 of the first, 2 of the second. Cosines image x caption:
  //   0.2 0.6 0.3
  //   0.5 0.1 0.4
  const at::Tensor captions = with_cosines({{0.2F, 0.5F}, {0.6F, 0.1F}, {0.3F, 0.4F}});
  const auto result = score_retrieval(axes(2), captions, ints({0, 0, 1}));
  // Image 0 finds caption 1 first; image 1 finds caption 0 before its own.
  EXPECT_DOUBLE_EQ(result.image_to_text.recall[0], 0.5);
  EXPECT_DOUBLE_EQ(result.image_to_text.recall[1], 1);
  EXPECT_DOUBLE_EQ(result.image_to_text.mean_rank, 1.5);
  EXPECT_DOUBLE_EQ(result.image_to_text.median_rank, 1.5);
  // Caption 0 finds image 1 before its own; the others their own.
  EXPECT_DOUBLE_EQ(result.text_to_image.recall[0], 2.0 / 3);
  EXPECT_DOUBLE_EQ(result.text_to_image.median_rank, 1);
  EXPECT_DOUBLE_EQ(result.text_to_image.mean_rank, 4.0 / 3);
  const auto json = nlohmann::json::parse(retrieval_json(result));
  EXPECT_DOUBLE_EQ(json["metrics"]["image_to_text"]["recall@5"], 1);
  EXPECT_NE(retrieval_table(result).find("66.7"), std::string::npos);
}

TEST(Retrieval, OfPerfectFeaturesIsPerfect) {
  std::vector<std::int64_t> image_of;
  for (std::int64_t i = 0; i < 60; ++i) image_of.push_back(i / 5);
  const at::Tensor images = axes(12);
  const auto result = score_retrieval(images, images.index_select(0, ints(image_of)), ints(image_of));
  for (const auto& scores : {result.image_to_text, result.text_to_image}) {
    EXPECT_EQ(scores.recall, (std::array<double, 3>{1, 1, 1}));
    EXPECT_DOUBLE_EQ(scores.mean_rank, 1);
  }
  EXPECT_THROW(score_retrieval(axes(0), axes(1), ints({})), Error);
}

TEST(EncodeImages, GivesTheSameInAnyBatchesAndThreads) {
  const auto folder = std::filesystem::temp_directory_path() / ("image_level_test_" + std::to_string(::getpid()));
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < 5; ++i) {
    formats::Image image = formats::blank_image(formats::ImageMode::kRGB, 40 + 7 * i, 60 - 3 * i);
    for (std::size_t p = 0; p < image.pixels.size(); ++p)
      image.pixels[p] = static_cast<std::uint8_t>((p * 31 + static_cast<std::size_t>(i) * 57) % 253);
    files.push_back(folder / (std::to_string(i) + ".png"));
    formats::write_png(files.back(), image);
  }
  const auto model = models::tiny_model();
  model->freeze(at::kFloat);
  std::int64_t last = 0;
  const auto features =
      encode_images(*model, files, {.workers = 0, .batch_size = 2, .progress = [&](auto done, auto) { last = done; }});
  EXPECT_EQ(last, 5);
  EXPECT_TRUE(at::allclose(features, encode_images(*model, files, {.workers = 3, .batch_size = 5}), 1e-5, 1e-6));
  // Against the model by itself.
  const auto image = datasets::resize_shortest_and_crop(formats::read_image(files[3]), 32);
  const auto alone = model->encode_image(datasets::normalize(datasets::to_tensor(image).unsqueeze(0), {}), true);
  EXPECT_TRUE(at::allclose(features[3], alone[0], 1e-5, 1e-6));
  std::filesystem::remove_all(folder);
}

TEST(EncodeImages, AndCaptionsRefuseFeaturesThatAreNotFinite) {
  // Nothing ranks before NaN: every query would find its answer first.
  const auto folder = std::filesystem::temp_directory_path() / ("image_level_nan_" + std::to_string(::getpid()));
  formats::write_png(folder / "a.png", formats::blank_image(formats::ImageMode::kRGB, 40, 40));
  const std::vector<datasets::CaptionedImage> data{{.file_name = "a.png", .captions = {"x"}}};
  const std::vector<std::filesystem::path> files{folder / "a.png"};
  const auto tokenizer = models::parse_tokenizer_json(
      R"({"model": {"type": "WordLevel", "vocab": {"x": 0, "<start_of_text>": 48, "<end_of_text>": 49}}})", "here");
  const auto message = [](const auto& body) {
    try {
      body();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const auto with_nan = [](const std::string& name) {
    const auto model = models::tiny_model();
    const at::NoGradGuard no_grad;
    model->state()[name].fill_(NAN);
    model->freeze(at::kFloat);
    return model;
  };
  const auto blind = with_nan("visual.norm.bias"), mute = with_nan("text.text_projection");
  EXPECT_NE(message([&] { encode_images(*blind, files); }).find("encoding images: found features that are not finite"),
            std::string::npos);
  EXPECT_NE(message([&] {
              evaluate_retrieval(*mute, *tokenizer, data, folder, {.image = {.workers = 0}});
            }).find("encoding captions: found features that are not finite"),
            std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(Prefetch, KeepsTheOrderAndPassesErrorsOn) {
  Prefetch<std::int64_t> squares(50, 3, [](std::int64_t i) {
    if (i == 40) throw Error("the fortieth");
    return i * i;
  });
  for (std::int64_t i = 0; i < 40; ++i) EXPECT_EQ(squares.next(), i * i);
  EXPECT_THROW(squares.next(), Error);
}

}  // namespace
}  // namespace clipself::evaluation
