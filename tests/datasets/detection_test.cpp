#include "clipself/datasets/detection.h"

#include <fmt/format.h>

#include <set>

#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

at::Tensor box_rows(std::initializer_list<std::array<float, 4>> boxes) {
  at::Tensor out = at::empty({static_cast<std::int64_t>(boxes.size()), 4}, at::kFloat);
  auto* to = out.mutable_data_ptr<float>();
  for (const auto& box : boxes) to = std::copy(box.begin(), box.end(), to);
  return out;
}

/// Red counts columns, green rows; blue is 200.
formats::Image ruled_picture(int width, int height) {
  auto image = formats::blank_image(formats::ImageMode::kRGB, width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      std::uint8_t* pixel = image.row(y) + 3 * x;
      pixel[0] = static_cast<std::uint8_t>(x);
      pixel[1] = static_cast<std::uint8_t>(y);
      pixel[2] = 200;
    }
  }
  return image;
}

DetectionObjects objects_of(const at::Tensor& boxes) {
  return {boxes, at::arange(boxes.size(0), at::kLong), box_rows({})};
}

TEST(CategoryLabels, AreTheNamedCategoriesInTheOrderOfTheFile) {
  AnnotationIndex index;
  index.categories = {{7, "cat"}, {2, "dog"}, {5, "cow"}};
  const CategoryLabels named(index, {"cow", "cat", "elk"});
  ASSERT_EQ(named.categories().size(), 2U);
  EXPECT_EQ(named.label(7), 0);
  EXPECT_EQ(named.label(5), 1);
  EXPECT_EQ(named.label(2), std::nullopt);
  EXPECT_EQ(CategoryLabels(index, {}).label(5), 2);
  expect_contains(error_of([&] { CategoryLabels(index, {"elk"}); }), "3 categories, none of the classes");
}

constexpr const char* kObjectsJson = R"({
  "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
  "categories": [{"id": 3, "name": "a"}, {"id": 1, "name": "b"}, {"id": 2, "name": "c"}],
  "annotations": [
    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [-4.5, 30, 20, 30], "area": 50},
    {"id": 2, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "ignore": 1},
    {"id": 3, "image_id": 1, "category_id": 3, "bbox": [60, 2, 3, 4], "area": 12},
    {"id": 4, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 0},
    {"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 0.9, 4], "area": 12},
    {"id": 6, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 0.9], "area": 12},
    {"id": 7, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 12},
    {"id": 8, "image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 4], "area": 12, "iscrowd": 1},
    {"id": 9, "image_id": 1, "category_id": 3, "bbox": [0.1, 2.2, 1, 1], "area": 0.5}]})";

TEST(DetectionObjects, LeavesOutWhatTheOriginalDoes) {
  const TemporaryFolder folder;
  const auto index = read_coco(folder.write("gt.json", kObjectsJson));
  const auto objects = detection_objects(index, 0, CategoryLabels(index, {"a", "b"}));
  EXPECT_TRUE(at::equal(objects.labels, at::tensor({1, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(
      objects.boxes,
      box_rows({{-4.5F, 30, 15.5F, 60}, {0.1F, 2.2F, static_cast<float>(0.1 + 1), static_cast<float>(2.2 + 1)}})));
  EXPECT_TRUE(at::equal(objects.crowds, box_rows({{1, 2, 31, 6}})));
}

TEST(Augment, AtRatioOnePadsThePictureAndKeepsItsBoxes) {
  const auto image = ruled_picture(32, 20);
  const auto sample = augment(image, objects_of(box_rows({{3, 4, 10, 12}, {30, 0, 40, 25}})), {}, 32);
  ASSERT_TRUE(sample.has_value());
  EXPECT_EQ(sample->content, (std::array<int, 2>{20, 32}));
  EXPECT_EQ(sample->image.sizes(), at::IntArrayRef({3, 32, 32}));
  EXPECT_EQ(sample->image[0][19][31].item<int>(), 31);
  EXPECT_EQ(sample->image[1][19][31].item<int>(), 19);
  EXPECT_EQ(sample->image.slice(1, 20).abs().sum().item<int>(), 0);
  EXPECT_TRUE(at::equal(sample->boxes, box_rows({{3, 4, 10, 12}, {30, 0, 32, 20}})));
  EXPECT_TRUE(at::equal(sample->labels, at::tensor({0, 1}, at::kLong)));
  EXPECT_FALSE(sample->masks.defined());
}

TEST(Augment, FlipMirrorsWithinThePictureNotThePadding) {
  const auto image = ruled_picture(16, 32);
  const auto boxes = objects_of(box_rows({{3, 4, 10, 12}}));
  const auto sample = augment(image, boxes, {.flip = true}, 32);
  EXPECT_EQ(sample->image[0][5][0].item<int>(), 15);
  EXPECT_EQ(sample->image[0][5][15].item<int>(), 0);
  EXPECT_EQ(sample->image[2].slice(1, 16).abs().sum().item<int>(), 0);
  EXPECT_TRUE(at::equal(sample->boxes, box_rows({{6, 4, 13, 12}})));
}

TEST(Augment, CropsWhatIsEnlargedAndMovesBoxes) {
  const auto image = ruled_picture(32, 20);  // to 64 x 40, of which 32 x 32 are shown
  const auto boxes = objects_of(box_rows({{0, 0, 4, 4}, {10, 10, 20, 19}, {5, 3, 6, 20}}));
  const auto sample = augment(image, boxes, {.ratio = 2, .crop_x = 10, .crop_y = 8}, 32);
  EXPECT_EQ(sample->content, (std::array<int, 2>{32, 32}));
  EXPECT_TRUE(at::equal(sample->labels, at::tensor({1, 2}, at::kLong)));
  EXPECT_TRUE(at::equal(sample->boxes, box_rows({{10, 12, 30, 30}, {0, 0, 2, 32}})));
  const auto none = augment(image, objects_of(box_rows({{0, 0, 4, 4}})), {.ratio = 2, .crop_x = 10, .crop_y = 8}, 32);
  ASSERT_TRUE(none.has_value()) << "emptied by the crop: kept";
  EXPECT_EQ(none->boxes.sizes(), at::IntArrayRef({0, 4}));
  EXPECT_EQ(none->labels.sizes(), at::IntArrayRef({0}));
}

TEST(Augment, BoxesFollowTheMasksAndWhatIsTooThinIsLost) {
  const auto image = ruled_picture(32, 20);
  auto objects = objects_of(box_rows({{0, 0, 32, 20}, {0, 0, 32, 20}}));
  objects.mask = [](std::int64_t i) {
    at::Tensor mask = at::zeros({20, 32}, at::kByte);
    if (i == 0) mask.slice(0, 5, 9).slice(1, 20, 27).fill_(1);
    return mask;
  };
  const auto sample = augment(image, objects, {.flip = true}, 32);
  EXPECT_TRUE(at::equal(sample->boxes, box_rows({{5, 5, 12, 9}})));
  EXPECT_TRUE(at::equal(sample->labels, at::tensor({0}, at::kLong)));
  at::Tensor expected = at::zeros({1, 32, 32}, at::kByte);
  expected.slice(1, 5, 9).slice(2, 5, 12).fill_(1);
  EXPECT_TRUE(at::equal(sample->masks, expected));
  objects.boxes = objects.boxes.slice(0, 1);
  objects.labels = objects.labels.slice(0, 1);
  objects.mask = [](std::int64_t) { return at::zeros({20, 32}, at::kByte); };
  EXPECT_FALSE(augment(image, objects, {}, 32).has_value()) << "lost to filtering: another picture is to be taken";
  objects.mask = [](std::int64_t) { return at::zeros({21, 32}, at::kByte); };
  expect_contains(error_of([&] { augment(image, objects, {}, 32); }), "the picture's 32 x 20");
}

TEST(DrawAugmentation, StaysInItsRangesAndReachesTheirEnds) {
  const DetectionOptions options{.image_size = 100, .flip_probability = 0.25, .class_names = {}};
  double least = 9, most = 0;
  int flips = 0, right_most = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng(1, 0, static_cast<std::uint64_t>(i));
    const auto drawn = draw_augmentation(50, 40, options, rng);
    const auto [width, height] = augmented_size(50, 40, 100, drawn.ratio);
    least = std::min(least, drawn.ratio);
    most = std::max(most, drawn.ratio);
    flips += drawn.flip;
    ASSERT_GE(drawn.crop_x, 0);
    ASSERT_GE(drawn.crop_y, 0);
    ASSERT_LE(drawn.crop_x, std::max(width - 100, 0));
    ASSERT_LE(drawn.crop_y, std::max(height - 100, 0));
    right_most += width > 100 && drawn.crop_x == width - 100;
  }
  EXPECT_GE(least, 0.1);
  EXPECT_LT(least, 0.11);
  EXPECT_LT(most, 2.0);
  EXPECT_GT(most, 1.99);
  EXPECT_NEAR(flips, kDraws / 4, 100);
  EXPECT_GT(right_most, 0);
}

/// Pictures of 40 x 50, 60 x 40 and so on in turn, each with one thing.
class DetectionFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string images, annotations;
    for (int i = 0; i < 6; ++i) {
      const int width = i % 2 == 0 ? 40 : 60, height = i % 2 == 0 ? 50 : 40;
      formats::write_png(folder_.path() / fmt::format("{}.png", i), ruled_picture(width, height));
      const char* comma = i > 0 ? "," : "";
      images += fmt::format(R"({}{{"id": {}, "file_name": "{}.png", "width": {}, "height": {}}})", comma, 10 + i, i,
                            width, height);
      annotations += fmt::format(
          R"({}{{"id": {}, "image_id": {}, "category_id": {}, "bbox": [2, 3, 20, 30], "area": 600,
              "segmentation": [[2, 3, 22, 3, 22, 33, 2, 33]]}})",
          comma, i, 10 + i, i < 5 ? 1 : 2);
    }
    json_ = fmt::format(R"({{"images": [{}], "annotations": [{}],
      "categories": [{{"id": 1, "name": "thing"}}, {{"id": 2, "name": "other"}}]}})",
                        images, annotations);
  }
  AnnotationIndex index() { return read_coco(folder_.write("gt.json", json_), {.segmentations = true}); }
  void replace(const std::string& from, const std::string& to) {
    const auto at = json_.find(from);
    ASSERT_NE(at, std::string::npos);
    json_.replace(at, from.size(), to);
  }
  TemporaryFolder folder_;
  std::string json_;
};

TEST_F(DetectionFolderTest, ASampleDependsOnItsGeneratorAlone) {
  const DetectionDataset dataset(index(), folder_.path(), {.image_size = 64, .masks = true, .class_names = {"thing"}});
  EXPECT_EQ(dataset.size(), 5);
  std::set<std::array<int, 2>> sizes;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    Rng rng(3, 1, static_cast<std::uint64_t>(i)), again(3, 1, static_cast<std::uint64_t>(i)), other(3, 2, 0);
    const Sample sample = dataset.get(i, rng), same = dataset.get(i, again);
    EXPECT_EQ(sample.image_id, 10 + i);
    EXPECT_TRUE(at::equal(sample.image, same.image) && at::equal(sample.boxes, same.boxes));
    EXPECT_TRUE(at::equal(sample.masks, same.masks));
    EXPECT_EQ(sample.masks.size(0), sample.boxes.size(0));
    EXPECT_FALSE(at::equal(sample.image, dataset.get(i, other).image));
    EXPECT_EQ(dataset.group(i), i % 2);
    sizes.insert(sample.content);
  }
  EXPECT_GT(sizes.size(), 2U);
}

TEST_F(DetectionFolderTest, SmallImagesAndThoseOfOtherClassesAreLeftOut) {
  replace("\"height\": 50", "\"height\": 31");
  const DetectionDataset dataset(index(), folder_.path(), {.class_names = {"other", "thing"}});
  EXPECT_EQ(dataset.size(), 5);
  EXPECT_EQ(dataset.position(0), 1U);
  EXPECT_EQ(DetectionDataset(index(), folder_.path(), {.class_names = {"other"}}).position(0), 5U);
}

TEST_F(DetectionFolderTest, APictureThatLosesItsThingsGivesWayToAnotherOfItsGroup) {
  // The first picture's only polygon covers no pixel.
  replace("[[2, 3, 22, 3, 22, 33, 2, 33]]", "[[2.1, 3.1, 2.2, 3.1, 2.2, 3.2]]");
  const DetectionDataset dataset(index(), folder_.path(), {.image_size = 64, .masks = true, .class_names = {}});
  std::set<std::int64_t> seen;
  for (std::uint64_t i = 0; i < 40; ++i) {
    Rng rng(i);
    const Sample sample = dataset.get(0, rng);
    if (sample.boxes.size(0) > 0) seen.insert(sample.image_id);
  }
  EXPECT_EQ(seen, (std::set<std::int64_t>{12, 14}));
}

TEST_F(DetectionFolderTest, WrongDataAreErrors) {
  const auto refusal = [&](DetectionOptions options) {
    return error_of([&] { DetectionDataset(index(), folder_.path(), options); });
  };
  expect_contains(refusal({.image_size = 0, .class_names = {}}), "image size");
  expect_contains(refusal({.min_ratio = 0, .class_names = {}}), "ratio range");
  expect_contains(refusal({.flip_probability = 1.5, .class_names = {}}), "flip probability");
  expect_contains(refusal({.class_names = {"elk"}}), "none of the classes");
  expect_contains(refusal({.class_names = {}, .min_side = 51}), "sides of at least 51");
  replace("\"width\": 40, ", "");
  expect_contains(refusal({.class_names = {}}), "image 10 without width and height");
  replace("\"height\": 50", "\"height\": 50, \"width\": 40");
  replace("\"bbox\": [2, 3, 20, 30], ", "");
  expect_contains(refusal({.class_names = {}}), "annotation 0 of image 10 without a bbox");
}

TEST_F(DetectionFolderTest, BoxesWithoutAnAreaAreNoTrainingData) {
  for (int i = 0; i < 6; ++i) replace("\"area\"", "\"size\"");
  expect_contains(error_of([&] { DetectionDataset(index(), folder_.path(), {.class_names = {}}); }), "an area above 0");
}

TEST_F(DetectionFolderTest, APictureOfAnotherSizeThanItsAnnotationsSayIsAnError) {
  replace("\"width\": 40", "\"width\": 41");
  const DetectionDataset training(index(), folder_.path(), {.image_size = 64, .class_names = {}});
  const DetectionTestDataset testing(std::make_shared<AnnotationIndex>(index()), folder_.path(), 64);
  Rng rng(1);
  for (const auto& error : {error_of([&] { training.get(0, rng); }), error_of([&] { testing.get(0); })}) {
    expect_contains(error, "0.png");
    expect_contains(error, "40 x 50 pixels");
    expect_contains(error, "41 x 50");
  }
}

TEST_F(DetectionFolderTest, APhotoIsTurnedAsItsAnnotationsSee) {
  const auto photo = reference("images/exif_6.jpg");  // to be turned by a quarter
  const auto stored = formats::read_image(photo);
  ASSERT_NE(stored.width, stored.height);
  std::filesystem::copy_file(photo, folder_.path() / "photo.jpg");
  replace("0.png", "photo.jpg");
  const auto original = [&](int width, int height) {
    auto data = index();
    data.images[0].width = width;
    data.images[0].height = height;
    return DetectionTestDataset(std::make_shared<AnnotationIndex>(data), folder_.path(), 64).get(0).original;
  };
  const std::array<int, 2> as_stored{stored.height, stored.width}, upright{stored.width, stored.height};
  EXPECT_EQ(original(stored.width, stored.height), as_stored);
  EXPECT_EQ(original(stored.height, stored.width), upright);
  EXPECT_EQ(original(0, 0), upright) << "a size that is not known";
}

TEST_F(DetectionFolderTest, TestingTakesEveryImageAsItIs) {
  const DetectionTestDataset dataset(std::make_shared<AnnotationIndex>(index()), folder_.path(), 64);
  EXPECT_EQ(dataset.size(), 6);
  const auto image = dataset.get(1);
  EXPECT_EQ(image.image_id, 11);
  EXPECT_EQ(image.original, (std::array<int, 2>{40, 60}));
  EXPECT_EQ(image.content, (std::array<int, 2>{43, 64}));
  EXPECT_EQ(image.scale_factor, (std::array<float, 4>{64.0F / 60, 43.0F / 40, 64.0F / 60, 43.0F / 40}));
  EXPECT_EQ(image.image.sizes(), at::IntArrayRef({3, 64, 64}));
  EXPECT_EQ(image.image.slice(1, 43).sum().item<int>(), 0);
  EXPECT_EQ(image.image[2].slice(0, 0, 43).min().item<int>(), 200);
}

}  // namespace
}  // namespace clipself::datasets
