#include "clipself/evaluation/zero_shot.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/image.h"
#include "clipself/formats/npy.h"
#include "clipself/formats/safetensors.h"
#include "clipself/models/weights.h"

namespace clipself::evaluation {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = fs::path(CLIPSELF_SOURCE_DIR) / "tests/reference/cases";

at::Tensor hits(std::initializer_list<int> values, std::int64_t columns) {
  std::vector<std::int64_t> list(values.begin(), values.end());
  return at::tensor(list, at::kLong).view({-1, columns}).to(at::kBool);
}

// Two pictures of 64 x 64, their segments drawn as rectangles, and a small model with random weights.
class SmallSet : public ::testing::Test {
 protected:
  struct Segment {
    int id, category, x, y, width, height;
  };

  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("zero_shot_test_" + std::to_string(::getpid()) + "_" +
                                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    torch::manual_seed(3);
    auto config = models::model_config((kCases / "eva_b_like/config.json").string());
    model_ = std::make_unique<models::ClipModel>(config, /*with_text=*/false);
    model_->freeze(at::kFloat);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Categories: 1 thing, 2 thing, 3 stuff.
  datasets::PanopticDataset data(const std::vector<std::vector<Segment>>& images) {
    nlohmann::json document;
    document["categories"] = {{{"id", 1}, {"name", "cup"}, {"isthing", 1}},
                              {{"id", 2}, {"name", "cat"}, {"isthing", 1}},
                              {{"id", 3}, {"name", "sky"}, {"isthing", 0}}};
    for (std::size_t i = 0; i < images.size(); ++i) {
      const auto name = std::to_string(i) + ".png";
      formats::Image picture{.width = 64, .height = 64, .pixels = std::vector<std::uint8_t>(64 * 64 * 3)};
      for (std::size_t p = 0; p < picture.pixels.size(); ++p)
        picture.pixels[p] = static_cast<std::uint8_t>((p * 7 + p / 64 * 13 + i * 41) % 251);
      formats::Image ids{.width = 64, .height = 64, .pixels = std::vector<std::uint8_t>(64 * 64 * 3)};
      auto segments = nlohmann::json::array();
      for (const auto& s : images[i]) {
        for (int y = s.y; y < s.y + s.height; ++y)
          for (int x = s.x; x < s.x + s.width; ++x)
            ids.pixels[static_cast<std::size_t>(3 * (64 * y + x))] = static_cast<std::uint8_t>(s.id);
        segments.push_back({{"id", s.id},
                            {"category_id", s.category},
                            {"bbox", {s.x, s.y, s.width, s.height}},
                            {"area", s.width * s.height},
                            {"iscrowd", 0}});
      }
      formats::write_png(folder_ / "images" / name, picture);
      formats::write_png(folder_ / "panoptic" / name, ids);
      document["images"].push_back({{"id", i}, {"file_name", name}, {"width", 64}, {"height", 64}});
      document["annotations"].push_back({{"image_id", i}, {"file_name", name}, {"segments_info", segments}});
    }
    write_text(folder_ / "panoptic.json", document.dump());
    datasets::PanopticOptions options;
    options.image_size = 64;
    options.crop_size = 64;
    return {datasets::read_coco_panoptic(folder_ / "panoptic.json"), folder_ / "images", folder_ / "panoptic", options};
  }

  datasets::PanopticDataset usual() {
    return data({{{1, 1, 4, 4, 30, 40}, {2, 3, 36, 0, 28, 60}}, {{9, 2, 10, 12, 44, 32}, {7, 1, 0, 48, 64, 16}}});
  }
  static at::Tensor embeddings(std::int64_t classes = 3) {
    return at::sin(at::arange(classes * 48, at::kFloat)).view({classes, 48});
  }

  fs::path folder_;
  std::unique_ptr<models::ClipModel> model_;
};

TEST(MeanClassAccuracy, WeighsEveryClassTheSameWhateverItsCount) {
  // Class 4: 2 of 3 hit; class 9: none of 1. All rows together would give 2/4.
  const auto labels = at::tensor({4, 4, 9, 4}, at::kLong);
  EXPECT_DOUBLE_EQ(mean_class_accuracy(hits({1, 1, 0, 0}, 1), labels, 1), (2.0 / 3.0 + 0.0) / 2.0);
}

TEST(MeanClassAccuracy, LooksAtTheFirstKRanksOnly) {
  const auto correct = hits({0, 0, 1, /**/ 1, 0, 0, /**/ 0, 1, 0}, 3);
  const auto labels = at::tensor({0, 0, 1}, at::kLong);
  EXPECT_DOUBLE_EQ(mean_class_accuracy(correct, labels, 1), (0.5 + 0.0) / 2);
  EXPECT_DOUBLE_EQ(mean_class_accuracy(correct, labels, 2), (0.5 + 1.0) / 2);
  EXPECT_DOUBLE_EQ(mean_class_accuracy(correct, labels, 5), 1.0) << "there are only three ranks";
}

TEST(MeanClassAccuracy, RoundsEachClassToFloat16OnlyWhenAsked) {
  const auto labels = at::zeros({3}, at::kLong);
  const auto correct = hits({1, 1, 0}, 1);
  EXPECT_DOUBLE_EQ(mean_class_accuracy(correct, labels, 1, false), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(mean_class_accuracy(correct, labels, 1, true), 0.66650390625);  // 1365 / 2048
}

TEST_F(SmallSet, FeaturesAreOfUnitLengthAndLogitsAreCosines) {
  const auto result = evaluate_zero_shot(*model_, usual(), 7.0 * embeddings());
  ASSERT_EQ(result.labels.numel(), 4);
  for (const char* kind : {"rois", "crops", "maskpool"}) {
    const auto& scores = result.features.at(kind);
    EXPECT_LT((scores.features.norm(2, 1) - 1).abs().max().item<double>(), 1e-5) << kind;
    const auto cosine = at::cosine_similarity(scores.features.unsqueeze(1), embeddings().unsqueeze(0), 2);
    EXPECT_LT((scores.logits - cosine).abs().max().item<double>(), 1e-5) << kind;
    EXPECT_TRUE(scores.top5.select(1, 0).equal(scores.logits.argmax(1))) << kind;
    EXPECT_EQ(scores.top5.size(1), 3) << "there are only three classes to rank";
  }
  EXPECT_TRUE(result.labels.equal(at::tensor({0, 2, 1, 0}, at::kLong)));
  EXPECT_DOUBLE_EQ(result.metrics.at("rois.stuff.macc5"), 1.0) << "three classes are all among the first five";
}

TEST_F(SmallSet, TheClassNamedByItsOwnFeatureIsFound) {
  const auto set = data({{{1, 1, 0, 0, 64, 64}}});
  const auto sample = set.get(0);
  const torch::NoGradGuard no_grad;
  const auto crop = model_->encode_image(datasets::normalize(sample.crops, {}), true);
  const auto classes = at::cat({crop, -crop, embeddings(1)});
  EXPECT_DOUBLE_EQ(evaluate_zero_shot(*model_, set, classes).metrics.at("crops.thing.macc1"), 1.0);
  EXPECT_DOUBLE_EQ(evaluate_zero_shot(*model_, set, classes.flip(0)).metrics.at("crops.thing.macc1"), 0.0);
}

TEST_F(SmallSet, AMaskWithoutATokenIsCountedAndLeftOutOfTheMasksMeans) {
  // Two columns at the picture's edge: the 4 x 4 grid samples around columns 7.5, 23.5, ... and never sees them.
  const auto set = data({{{1, 1, 4, 4, 40, 40}, {2, 3, 62, 0, 2, 50}, {3, 1, 0, 0, 2, 60}}});
  const auto result = evaluate_zero_shot(*model_, set, embeddings());
  // The stuff segment is two pixels wide, which is one without the last column: 49 pixels, too small to count.
  ASSERT_TRUE(result.empty_masks.equal(at::tensor({0, 1}, at::kLong).to(at::kBool)));
  const auto& masks = result.features.at("maskpool");
  EXPECT_FALSE(masks.correct[1].any().item<bool>());
  const double first = masks.correct[0][0].item<bool>() ? 1.0 : 0.0;
  EXPECT_DOUBLE_EQ(result.metrics.at("maskpool.thing.macc1"), first) << "the empty mask must not halve it";
  EXPECT_DOUBLE_EQ(result.metrics.at("maskpool.thing.macc5"), 1.0);
  EXPECT_FALSE(result.metrics.contains("maskpool.stuff.macc1"));
  ASSERT_EQ(result.classes.size(), 1U);
  EXPECT_EQ(result.classes[0].count, 2);
  EXPECT_DOUBLE_EQ(result.classes[0].accuracy.at("maskpool")[1], 1.0);
  EXPECT_NE(report_table(result, false).find("1 with no token"), std::string::npos);
}

TEST_F(SmallSet, NumberOfThreadsChangesNothing) {
  const auto set = usual();
  const auto alone = evaluate_zero_shot(*model_, set, embeddings(), {.workers = 0});
  const auto three = evaluate_zero_shot(*model_, set, embeddings(), {.workers = 3});
  for (const auto& [kind, scores] : alone.features)
    EXPECT_TRUE(scores.logits.equal(three.features.at(kind).logits)) << kind;
}

TEST_F(SmallSet, CropBatchesReachOverImagesAndChangeNothing) {
  const auto set = usual();
  const auto together =
      evaluate_zero_shot(*model_, set, embeddings(), {.crop_batch = 64}).features.at("crops").features;
  for (const int batch : {1, 3}) {
    const auto parts =
        evaluate_zero_shot(*model_, set, embeddings(), {.crop_batch = batch}).features.at("crops").features;
    EXPECT_LT((together - parts).abs().max().item<double>(), 1e-5) << batch;
  }
}

TEST_F(SmallSet, ProgressIsToldAfterEachImage) {
  std::vector<std::int64_t> seen;
  evaluate_zero_shot(*model_, usual(), embeddings(), {.progress = [&](std::int64_t done, std::int64_t total) {
    seen.insert(seen.end(), {done, total});
  }});
  EXPECT_EQ(seen, (std::vector<std::int64_t>{1, 2, 2, 2}));
}

TEST_F(SmallSet, Bfloat16StaysNearFloat32) {
  const auto set = usual();
  const auto full = evaluate_zero_shot(*model_, set, embeddings());
  model_->freeze(at::kBFloat16);
  const auto half = evaluate_zero_shot(*model_, set, embeddings());
  for (const auto& [kind, scores] : full.features) {
    EXPECT_EQ(half.features.at(kind).logits.scalar_type(), at::kFloat);
    EXPECT_LT((scores.logits - half.features.at(kind).logits).abs().max().item<double>(), 0.03) << kind;
  }
}

TEST_F(SmallSet, EmbeddingsOfAnotherWidthAreRefused) {
  EXPECT_THROW(evaluate_zero_shot(*model_, usual(), at::ones({3, 32})), Error);
  EXPECT_THROW(evaluate_zero_shot(*model_, usual(), at::ones({48})), Error);
}

TEST_F(SmallSet, FewerEmbeddingsThanCategoriesAreRefused) {
  EXPECT_THROW(evaluate_zero_shot(*model_, usual(), embeddings(2)), Error);
}

TEST_F(SmallSet, ASetWithoutAnyUsableSegmentIsRefused) {
  const auto set = data({{{1, 1, 0, 0, 3, 3}}});
  EXPECT_THROW(evaluate_zero_shot(*model_, set, embeddings()), Error);
}

TEST_F(SmallSet, JsonReportHoldsMetricsAndClasses) {
  const auto result = evaluate_zero_shot(*model_, usual(), embeddings());
  const auto report = nlohmann::json::parse(report_json(result));
  EXPECT_EQ(report.at("segments"), 4);
  EXPECT_EQ(report.at("empty_masks"), 0);
  EXPECT_EQ(report.at("metrics").size(), 12U);
  EXPECT_DOUBLE_EQ(report.at("metrics").at("crops.thing.macc1"), result.metrics.at("crops.thing.macc1"));
  ASSERT_EQ(report.at("classes").size(), 3U);
  EXPECT_EQ(report.at("classes")[2].at("name"), "sky");
  EXPECT_EQ(report.at("classes")[2].at("kind"), "stuff");
  EXPECT_EQ(report.at("classes")[0].at("count"), 2);
}

TEST_F(SmallSet, TablesHaveOneAlignedRowAClass) {
  auto result = evaluate_zero_shot(*model_, usual(), embeddings());
  result.classes[0].name = "k\xC3\xA4se";  // two bytes, one column
  const auto text = report_table(result, true);
  std::vector<std::string> lines;
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(text.substr(at, end - at));
  ASSERT_EQ(lines.size(), 11U) << text;
  const auto column = [&](const std::string& line, const char* word) {
    const auto at = line.find(word);
    return at == std::string::npos ? -1
                                   : std::count_if(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(at),
                                                   [](char c) { return (c & 0xC0) != 0x80; });
  };
  const auto kind = column(lines[7], "kind");
  EXPECT_EQ(column(lines[8], "thing"), kind) << text;
  EXPECT_EQ(column(lines[9], "thing"), kind) << text;
  EXPECT_EQ(column(lines[10], "stuff"), kind) << text;
}

TEST(ReferenceSet, MetricsAreThoseOfTheOriginal) {
  const auto facts = nlohmann::json::parse(read_text(kCases / "evaluation/expected.json"));
  models::ClipModel model(models::model_config((kCases / "eva_b_like/config.json").string()));
  models::load_checkpoint(model, kCases / "eva_b_like/model.pt");
  model.freeze(at::kFloat);
  datasets::PanopticOptions options;
  options.image_size = facts.at("det_image_size");
  options.crop_size = facts.at("crop_size");
  const datasets::PanopticDataset set(datasets::read_coco_panoptic(kCases / "evaluation/panoptic.json"),
                                      kCases / "evaluation/images", kCases / "evaluation/panoptic", options);
  const auto embeddings = formats::read_npy(kCases / "evaluation/embeddings.npy");

  const auto rounded = evaluate_zero_shot(model, set, embeddings, {.half_precision_means = true});
  for (const auto& [key, value] : facts.at("metrics").items())
    EXPECT_NEAR(rounded.metrics.at(key), value.get<double>(), 1e-12) << key;
  const auto expected = formats::read_safetensors(kCases / "evaluation/expected.safetensors").tensors;
  for (const char* kind : {"rois", "crops", "maskpool"}) {
    const auto& scores = rounded.features.at(kind);
    EXPECT_LT((scores.logits - expected[std::string("logits_") + kind]).abs().max().item<double>(), 1e-4) << kind;
    EXPECT_TRUE(scores.top5.equal(expected[std::string("top5_") + kind])) << kind;
  }

  // Unrounded means differ by no more than float16 can tell, and here they do differ.
  const auto exact = evaluate_zero_shot(model, set, embeddings);
  double difference = 0;
  for (const auto& [key, value] : exact.metrics)
    difference = std::max(difference, std::abs(value - rounded.metrics.at(key)));
  EXPECT_GT(difference, 0);
  EXPECT_LT(difference, 5e-4);
}

}  // namespace
}  // namespace clipself::evaluation
