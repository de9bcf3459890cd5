#include "clipself/datasets/dataset.h"

#include <numeric>

#include "clipself/datasets/transforms.h"
#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

constexpr int kImageSize = 128;
constexpr int kCropSize = 32;
constexpr int kMaxBoxes = 20;

AnnotationIndex instances() {
  return read_coco(reference("training_samples/instances.json"));
}

formats::Image picture(const AnnotationIndex& index, std::size_t i) {
  return formats::read_image(reference("training_samples/" + index.images[i].file_name));
}

std::vector<int> order(int n, bool reversed) {
  std::vector<int> numbers(static_cast<std::size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  if (reversed) std::reverse(numbers.begin(), numbers.end());
  return numbers;
}

void expect_sample(const Sample& sample, const std::string& name) {
  EXPECT_LE(largest_difference(sample.boxes, tensor(cases(), name + ".boxes")), 1e-6) << name;
  if (const auto* crops = cases().tensors.find(name + ".valid_crops")) {
    EXPECT_TRUE(at::equal(sample.crops, *crops)) << name;
  }
}

TEST(MakeSample, GridSamplesAreTheOriginals) {
  const auto index = instances();
  const struct {
    const char* name;
    GridChoice choice;
    double crop_scale;
    bool reversed;
  } items[] = {{"grid.item.3x4.scale1.0", {3, 4}, 1.0, false},
               {"grid.item.5x6.scale1.5.reversed", {5, 6}, 1.5, true},
               {"grid.item.6x6.scale1.0", {6, 6}, 1.0, false}};
  for (const auto& item : items) {
    for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
      const auto image = picture(index, i);
      const auto regions = grid_regions(image.width, image.height, item.choice, item.crop_scale, kMaxBoxes,
                                        order(item.choice.rows * item.choice.columns, item.reversed));
      const Sample sample = make_sample(image, regions, kMaxBoxes, kImageSize, kCropSize);
      const std::string name = "image" + std::to_string(i);
      EXPECT_TRUE(at::equal(sample.image, tensor(cases(), "grid." + name)));
      expect_sample(sample, std::string(item.name) + "." + name);
    }
  }
}

TEST(MakeSample, ProposalSamplesAreTheOriginals) {
  const auto index = instances();
  const auto check = [&](std::size_t i, const ProposalOptions& options, bool reversed, const std::string& name) {
    const auto image = picture(index, i);
    const auto annotations = index.annotations_of(i);
    const auto regions = proposal_regions(image.width, image.height, annotations, options,
                                          order(static_cast<int>(annotations.size()), reversed));
    expect_sample(make_sample(image, regions, kMaxBoxes, kImageSize, kCropSize), name);
  };
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
    check(i, {}, false, "proposals.image" + std::to_string(i));
  }
  check(0, {}, true, "proposals.image0.reversed");
  check(0, {.min_size = 20, .max_size = 40}, false, "proposals.min20max40.image0");
}

TEST(DistillDataset, LabelledSamplesAreTheOriginals) {
  const DistillOptions options{.regions = RegionKind::kLabelled, .image_size = kImageSize, .crop_size = kCropSize};
  const DistillDataset dataset(read_coco(reference("training_samples/region_text.json")), reference("training_samples"),
                               options);
  ASSERT_EQ(dataset.size(), 3);
  const std::vector<std::int64_t> original_order{101, 303, 202};
  for (std::int64_t i = 0; i < 3; ++i) {
    Rng rng(0);
    const Sample sample = dataset.get(i, rng);
    const auto item = std::find(original_order.begin(), original_order.end(), sample.image_id) - original_order.begin();
    const auto expected = tensor(cases(), "regionclip.item" + std::to_string(item) + ".boxes");
    EXPECT_LE(largest_difference(sample.boxes, expected), 1e-6) << sample.image_id;
    EXPECT_EQ(sample.crops.size(0), 0);
  }
}

TEST(DistillDataset, LabelledSamplesHaveTheCropsOfProposalsWhenAskedFor) {
  const auto index = read_coco(reference("training_samples/region_text.json"));
  DistillOptions options{
      .regions = RegionKind::kLabelled, .image_size = kImageSize, .crop_size = kCropSize, .crops_of_labelled = true};
  const DistillDataset labelled(index, reference("training_samples"), options);
  Rng rng(0);
  const Sample sample = labelled.get(0, rng);
  const auto boxes = index.annotations_of(0);
  ASSERT_GT(boxes.size(), 0U);
  EXPECT_EQ(sample.boxes.size(1), 6);
  ASSERT_EQ(sample.crops.size(0), static_cast<std::int64_t>(sample.boxes.select(1, 5).sum().item<float>()));
  // Each crop by its own definition: 1.5 times the box, clipped.
  const auto image = formats::read_image(reference("training_samples") / index.images[0].file_name);
  for (std::size_t i = 0; i < boxes.size() && static_cast<std::int64_t>(i) < sample.crops.size(0); ++i) {
    const auto [x, y, w, h] = boxes[i].bbox;
    const ops::Box crop{std::max(x - 0.25 * w, 0.0), std::max(y - 0.25 * h, 0.0),
                        std::min(x + 1.25 * w, static_cast<double>(image.width)),
                        std::min(y + 1.25 * h, static_cast<double>(image.height))};
    EXPECT_TRUE(
        at::equal(sample.crops[static_cast<std::int64_t>(i)], to_tensor(crop_and_resize(image, crop, kCropSize))))
        << i;
  }
}

TEST(DistillDataset, ASampleDependsOnItsGeneratorAlone) {
  const DistillDataset dataset(instances(), reference("training_samples"),
                               {.image_size = kImageSize, .crop_size = kCropSize});
  ASSERT_EQ(dataset.size(), 3);
  int different = 0;
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    Rng first(7, epoch, 0);
    Rng again(7, epoch, 0);
    Rng other(8, epoch, 0);
    const Sample a = dataset.get(0, first);
    const Sample b = dataset.get(0, again);
    EXPECT_EQ(a.image_id, 101);
    EXPECT_TRUE(at::equal(a.boxes, b.boxes));
    EXPECT_TRUE(at::equal(a.crops, b.crops));
    EXPECT_EQ(a.crops.size(0), static_cast<std::int64_t>(a.boxes.select(1, 4).sum().item<float>()));
    if (!at::equal(a.boxes, dataset.get(0, other).boxes)) ++different;
  }
  EXPECT_GT(different, 0);
}

TEST(DistillDataset, TrainRatioKeepsASeededPart) {
  const TemporaryFolder folder;
  for (int i = 0; i < 40; ++i) folder.write(std::to_string(i) + ".jpg", "x");
  const auto index = read_image_folder(folder.path());
  const auto count = [&](double ratio) {
    return DistillDataset(index, folder.path(), {.train_ratio = ratio, .seed = 3}).size();
  };
  EXPECT_EQ(count(1.0), 40);
  EXPECT_EQ(count(0.26), 10);
  EXPECT_EQ(count(0.001), 1);
  EXPECT_THROW(count(0), Error);
  EXPECT_THROW(count(1.5), Error);
}

TEST(DistillDataset, RefusesRegionsThatTheAnnotationsDoNotHave) {
  const TemporaryFolder folder;
  const auto without_box = folder.write(
      "a.json", R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 9, "image_id": 1}]})");
  EXPECT_NO_THROW(DistillDataset(read_coco(without_box), "/", {}));
  expect_contains(error_of([&] { DistillDataset(read_coco(without_box), "/", {.regions = RegionKind::kProposals}); }),
                  "annotation 9 of image 1");
  const auto no_category = folder.write(
      "b.json",
      R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 6}]})");
  EXPECT_NO_THROW(DistillDataset(read_coco(no_category), "/", {.regions = RegionKind::kProposals}));
  expect_contains(error_of([&] { DistillDataset(read_coco(no_category), "/", {.regions = RegionKind::kLabelled}); }),
                  "id 6");
}

TEST(DistillDataset, UnreadableTinyAndEscapingImagesAreErrors) {
  const TemporaryFolder folder;
  formats::write_png(folder.path() / "tiny.png", formats::blank_image(formats::ImageMode::kRGB, 9, 40));
  folder.write("text.jpg", "not a picture");
  const auto list =
      folder.write("list.json", R"({"images": [{"id": 1, "file_name": "tiny.png"}, {"id": 2, "file_name": "text.jpg"},
      {"id": 3, "file_name": "absent.jpg"}, {"id": 4, "file_name": "../tiny.png"}, {"id": 5, "file_name": "/etc/passwd"}]})");
  const DistillDataset dataset(read_coco(list), folder.path(), {});
  const char* const parts[] = {"9 x 40", "JPEG or PNG", "absent.jpg", "without '..'", "without '..'"};
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    Rng rng(0);
    expect_contains(error_of([&] { dataset.get(i, rng); }), parts[i]);
  }
}

TEST(Collate, KeepsTheValidRowsOfEachImage) {
  Sample first;
  first.image_id = 4;
  first.image = at::full({3, 8, 8}, 1, at::kByte);
  first.boxes = at::tensor({0.1F, 0.2F, 0.3F, 0.4F, 2.0F, 1.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.5F, 0.6F, 0.7F,
                            0.8F, 3.0F, 1.0F})
                    .view({3, 6});
  first.crops = at::full({2, 3, 4, 4}, 5, at::kByte);
  Sample second;
  second.image_id = 9;
  second.image = at::full({3, 8, 8}, 2, at::kByte);
  second.boxes = at::tensor({0.0F, 0.0F, 1.0F, 1.0F, 7.0F, 1.0F}).view({1, 6});
  second.crops = at::full({1, 3, 4, 4}, 6, at::kByte);
  const Batch batch = collate({first, second});
  EXPECT_EQ(batch.image_ids, (std::vector<std::int64_t>{4, 9}));
  EXPECT_TRUE(at::equal(batch.images, at::stack({first.image, second.image})));
  EXPECT_TRUE(at::equal(batch.crops, at::cat({first.crops, second.crops})));
  EXPECT_TRUE(at::equal(batch.boxes[0], at::tensor({0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F, 0.7F, 0.8F}).view({2, 4})));
  EXPECT_TRUE(at::equal(batch.labels[0], at::tensor({2, 3}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.labels[1], at::tensor({7}, at::kLong)));
}

Sample detection_sample(std::int64_t id, std::int64_t boxes, bool with_masks) {
  Sample sample;
  sample.image_id = id;
  sample.image = at::full({3, 8, 8}, id, at::kByte);
  sample.boxes = at::arange(boxes * 4, at::kFloat).view({boxes, 4});
  sample.labels = at::arange(boxes, at::kLong) + id;
  if (with_masks) sample.masks = at::full({boxes, 8, 8}, id % 2, at::kByte);
  sample.content = {static_cast<int>(id), 8};
  return sample;
}

TEST(Collate, DetectionKeepsBoxesInPixelsLabelsMasksAndSizes) {
  for (const bool with_masks : {true, false}) {
    std::vector<Sample> samples;
    for (const std::int64_t boxes : {2, 0, 1}) samples.push_back(detection_sample(boxes + 3, boxes, with_masks));
    const Batch batch = collate(samples);
    EXPECT_EQ(batch.image_ids, (std::vector<std::int64_t>{5, 3, 4}));
    EXPECT_EQ(batch.images.sizes(), at::IntArrayRef({3, 3, 8, 8}));
    EXPECT_EQ(batch.content[1], (std::array<int, 2>{3, 8}));
    EXPECT_EQ(batch.crops.numel(), 0);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      EXPECT_TRUE(at::equal(batch.boxes[i], samples[i].boxes));
      EXPECT_TRUE(at::equal(batch.labels[i], samples[i].labels));
      EXPECT_EQ(batch.masks[i].defined(), with_masks);
      if (with_masks) {
        EXPECT_TRUE(at::equal(batch.masks[i], samples[i].masks));
      }
    }
  }
}

}  // namespace
}  // namespace clipself::datasets
