#include "clipself/evaluation/average_precision.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/datasets/annotations_builder.h"
#include "clipself/ops/masks.h"

namespace clipself::evaluation {
namespace {

// Two images of 100 x 100 pixels and three classes; squares of 10 pixels side by side.
class Scene {
 public:
  Scene() {
    for (const std::int64_t id : {5, 2})
      builder_.add_image({.id = id,
                          .file_name = "a",
                          .width = 100,
                          .height = 100,
                          .segmentation_file = {},
                          .negative_categories = {3}});
    for (const std::int64_t id : {1, 2, 3})
      builder_.add_category({.id = id, .name = "class " + std::to_string(id), .frequency = "rcf"[id - 1]});
  }
  static std::array<double, 4> square(double place) { return {place * 10, 0, 10, 10}; }
  datasets::Annotation& truth(std::int64_t image, std::int64_t category, double place) {
    datasets::Annotation annotation{.id = ++last_, .category_id = category, .bbox = square(place), .area = 100};
    const auto& box = annotation.bbox;
    annotation.segmentation = builder_.segmentations().add(ops::box_mask(box, 100, 100));
    truths_.emplace_back(image, annotation);
    return truths_.back().second;
  }
  void found(std::int64_t image, std::int64_t category, double place, double score) {
    Detection detection{.image_id = image, .category_id = category, .score = score, .bbox = square(place)};
    detection.segmentation = detections.segmentations.add(ops::box_mask(detection.bbox, 100, 100));
    detections.list.push_back(detection);
  }
  datasets::AnnotationIndex index() {
    for (const auto& [image, annotation] : truths_) builder_.add_annotation(image, annotation);
    return std::move(builder_).finish("scene");
  }
  Detections detections;

 private:
  datasets::AnnotationIndexBuilder builder_;
  std::vector<std::pair<std::int64_t, datasets::Annotation>> truths_;
  std::int64_t last_ = 0;
};

TEST(CocoAp, IsOneForThePerfectAndZeroForTheBlind) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.truth(2, 2, 0);
  scene.found(5, 1, 0, 0.9);
  scene.found(2, 2, 5, 0.9);
  const auto index = scene.index();
  for (const auto kind : {RegionKind::kBoxes, RegionKind::kMasks}) {
    const auto result = evaluate_coco(index, scene.detections, {.regions = kind});
    EXPECT_NEAR(result.classes[0].ap, 1, 1e-12);
    EXPECT_EQ(result.classes[1].ap, 0);
    EXPECT_TRUE(std::isnan(result.classes[2].ap)) << "no true regions";
    EXPECT_NEAR(result.metric("AP"), 0.5, 1e-12);
    EXPECT_NEAR(result.metric("APs"), 0.5, 1e-12) << "100 pixels are small";
    EXPECT_EQ(result.metric("APl"), -1);
    EXPECT_NEAR(result.metric("AR@1"), 0.5, 1e-12);
    ASSERT_EQ(result.metrics.size(), 12U);
  }
}

TEST(CocoAp, FallsWithTheOverlapThatIsAskedFor) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.found(5, 1, 0.2, 0.9);  // 8 of 12 pixels a row: IoU 2/3, which reaches 0.50, 0.55, 0.60 and 0.65
  const auto result = evaluate_coco(scene.index(), scene.detections, {});
  EXPECT_NEAR(result.metric("AP"), 0.4, 1e-12);
  EXPECT_NEAR(result.metric("AP50"), 1, 1e-12);
  EXPECT_EQ(result.metric("AP75"), 0);
}

TEST(CocoAp, TakesPrecisionBelowTheBestRecall) {
  Scene scene;
  for (const double place : {0., 1., 2., 3.}) scene.truth(5, 1, place);
  scene.found(5, 1, 0, 0.9);
  scene.found(5, 1, 8, 0.8);
  scene.found(5, 1, 1, 0.7);
  const auto result = evaluate_coco(scene.index(), scene.detections, {});
  // Precision 1 up to recall 1/4 (26 of the 101 points), 2/3 up to 1/2 (25 points), 0 beyond.
  EXPECT_NEAR(result.metric("AP50"), (26 + 25 * 2. / 3) / 101, 1e-12);
  EXPECT_NEAR(result.metric("AR@1"), 0.25, 1e-12);
  EXPECT_NEAR(result.metric("AR@100"), 0.5, 1e-12);
}

TEST(CocoAp, TakesTheFirstOfEqualScores) {
  for (const bool hit_first : {true, false}) {
    Scene scene;
    scene.truth(5, 1, 0);
    scene.found(5, 1, hit_first ? 0 : 5, 0.5);
    scene.found(5, 1, hit_first ? 5 : 0, 0.5);
    EXPECT_NEAR(evaluate_coco(scene.index(), scene.detections, {}).metric("AP"), hit_first ? 1 : 0.5, 1e-12);
    Scene images;  // of different images the one of the smaller id comes first, whatever the order of the lists
    images.truth(hit_first ? 2 : 5, 1, 0);
    images.found(5, 1, 0, 0.5);
    images.found(2, 1, 0, 0.5);
    EXPECT_NEAR(evaluate_coco(images.index(), images.detections, {}).metric("AP"), hit_first ? 1 : 0.5, 1e-12);
  }
}

TEST(CocoAp, ForgivesWhatCrowdsHold) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.truth(5, 1, 1).is_crowd = true;
  scene.found(5, 1, 1, 0.9);
  scene.found(5, 1, 1.2, 0.8);
  scene.found(5, 1, 0, 0.7);
  const auto result = evaluate_coco(scene.index(), scene.detections, {});
  EXPECT_NEAR(result.metric("AP50"), 1, 1e-12);
  EXPECT_EQ(result.classes[0].truths, 1);
}

TEST(CocoAp, OfProposalsLooksAtNoClass) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.truth(5, 2, 1);
  scene.found(5, 3, 0, 0.9);
  scene.found(5, 3, 1, 0.8);
  const auto result =
      evaluate_coco(scene.index(), scene.detections, {.max_detections = {1, 2, 300}, .by_class = false});
  EXPECT_NEAR(result.metric("AR@1"), 0.5, 1e-12);
  EXPECT_NEAR(result.metric("AR@300"), 1, 1e-12);
  EXPECT_NEAR(result.metric("AP"), 1, 1e-12) << "by the last limit, as 100 is none of them";
}

TEST(CocoAp, OfBaseAndNovelClassesIsTheMeanOfThose) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.truth(5, 2, 1);
  scene.found(5, 1, 0, 0.9);
  const auto result = evaluate_coco(scene.index(), scene.detections, {});
  const auto split = split_ap(result, {"class 1", "class 3"}, {"class 2"});
  EXPECT_NEAR(split.base, 1, 1e-12);
  EXPECT_EQ(split.novel, 0);
  EXPECT_NEAR(split.all, 0.5, 1e-12);
  EXPECT_TRUE(std::isnan(split_ap(result, {"class 3"}, {}).base));
}

TEST(CocoAp, RefusesDetectionsOfAnotherWorld) {
  for (const auto& [image, category] : {std::pair{7, 1}, {5, 9}}) {
    Scene scene;
    scene.truth(5, 1, 0);
    scene.found(image, category, 0, 0.9);
    EXPECT_THROW(evaluate_coco(scene.index(), scene.detections, {}), Error);
  }
  Scene scene;
  scene.truth(5, 1, 0).segmentation = datasets::kNoSegmentation;
  const auto index = scene.index();
  EXPECT_NO_THROW(evaluate_coco(index, {}, {}));
  EXPECT_THROW(evaluate_coco(index, {}, {.regions = RegionKind::kMasks}), Error);
  EXPECT_THROW(evaluate_coco(index, {}, {.image_ids = {77}}), Error);
}

TEST(LvisAp, JudgesOnlyWhatWasLookedFor) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.found(2, 1, 0, 0.95);  // nobody looked for class 1 in image 2
  scene.found(5, 1, 0, 0.9);
  scene.truth(5, 3, 4);
  scene.found(2, 3, 0, 0.95);  // known to be absent
  scene.found(5, 3, 4, 0.9);
  const auto result = evaluate_lvis(scene.index(), scene.detections, {.max_detections = {300}});
  EXPECT_NEAR(result.metric("APr"), 1, 1e-12);
  EXPECT_NEAR(result.metric("APf"), 0.5, 1e-12);
  EXPECT_EQ(result.metric("APc"), -1);
  EXPECT_NEAR(result.metric("AP"), 0.75, 1e-12);
  EXPECT_NEAR(result.metric("AR@300"), 1, 1e-12);
}

TEST(LvisAp, TakesTheBestOfAnImageOverAllClasses) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.truth(5, 2, 1);
  scene.found(5, 1, 0, 0.8);
  scene.found(5, 2, 1, 0.9);
  const auto result = evaluate_lvis(scene.index(), scene.detections, {.max_detections = {1}});
  EXPECT_EQ(result.metric("APr"), 0);
  EXPECT_NEAR(result.metric("APc"), 1, 1e-12);
}

TEST(VocAp, IsByElevenPointsOrByArea) {
  const auto measure = [](bool eleven) {
    Scene scene;
    for (const double place : {0., 1., 2., 3.}) scene.truth(5, 1, place);
    scene.truth(5, 1, 4).ignore = true;
    scene.found(5, 1, 4, 0.95);  // difficult
    scene.found(5, 1, 0, 0.9);
    scene.found(5, 1, 8, 0.8);
    scene.found(5, 1, 1, 0.7);
    scene.found(5, 1, 1, 0.6);  // found twice
    return evaluate_voc(scene.index(), scene.detections, {.eleven_points = eleven, .legacy_pixels = false});
  };
  // Precision 1 at recalls 0, 0.1, 0.2; 2/3 at 0.3, 0.4, 0.5.
  EXPECT_NEAR(measure(true).metric("mAP"), (3 + 3 * 2. / 3) / 11, 1e-12);
  EXPECT_NEAR(measure(false).metric("mAP"), 0.25 + 0.25 * 2 / 3, 1e-12);
  EXPECT_EQ(measure(true).classes[0].truths, 4);
}

TEST(ApReport, SaysAbsentNumbersAsNull) {
  Scene scene;
  scene.truth(5, 1, 0);
  scene.found(5, 1, 0, 0.9);
  auto result = evaluate_coco(scene.index(), scene.detections, {});
  result.split = split_ap(result, {"class 1"}, {"class 2"});
  const auto json = nlohmann::json::parse(report_json(result));
  EXPECT_TRUE(json["metrics"]["APl"].is_null());
  EXPECT_TRUE(json["ap50"]["novel"].is_null());
  EXPECT_NEAR(json["metrics"]["AP"].get<double>(), 1, 1e-12);
  EXPECT_EQ(json["classes"].size(), 3U);
  const auto table = report_table(result, true);
  EXPECT_NE(table.find("class 2"), std::string::npos);
  EXPECT_NE(table.find("AP50 of base classes 100.0, novel -, all 100.0"), std::string::npos) << table;
}

}  // namespace
}  // namespace clipself::evaluation
