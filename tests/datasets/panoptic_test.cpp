#include "clipself/datasets/panoptic.h"

#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

PanopticOptions small_options() {
  return {.image_size = 160, .crop_size = 64, .downsample_factor = 16, .masked_crops = true};
}

TEST(PanopticDataset, SamplesAreTheOriginals) {
  const auto cases = formats::read_safetensors(reference("panoptic/expected.safetensors"));
  const PanopticDataset dataset(read_coco_panoptic(reference("panoptic/panoptic.json")), reference("panoptic/images"),
                                reference("panoptic/panoptic"), small_options());
  ASSERT_EQ(dataset.size(), 6);
  std::int64_t segments = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const std::string name = "item" + std::to_string(i);
    const PanopticSample sample = dataset.get(i);
    const auto expected = tensor(cases, name + ".boxes");
    // The original's table has rows of zeros where a segment does not count.
    const auto rows = expected.select(1, 5).nonzero().flatten();
    const auto valid = expected.index_select(0, rows);
    ASSERT_EQ(sample.boxes.size(0), rows.numel()) << name;
    segments += rows.numel();
    for (std::int64_t k = 0; k < rows.numel(); ++k)
      EXPECT_EQ(sample.rows[static_cast<std::size_t>(k)], rows[k].item<int>());
    EXPECT_LE(largest_difference(sample.boxes, valid.slice(1, 0, 4)), 1e-6) << name;
    EXPECT_TRUE(at::equal(sample.labels, valid.select(1, 4).to(at::kLong))) << name;
    EXPECT_LE(largest_difference(sample.sizes, valid.select(1, 6)), 1e-3) << name;
    EXPECT_TRUE(at::equal(sample.is_thing, valid.select(1, 7) > 0)) << name;
    EXPECT_TRUE(at::equal(sample.masks, tensor(cases, name + ".masks").index_select(0, rows).to(at::kBool))) << name;
    if (const auto* crops = cases.tensors.find(name + ".crops")) {
      EXPECT_TRUE(at::equal(sample.crops.slice(0, 0, crops->size(0)), *crops)) << name;
    }
    if (const auto* crops = cases.tensors.find(name + ".masked_crops")) {
      EXPECT_TRUE(at::equal(sample.masked_crops.slice(0, 0, crops->size(0)), *crops)) << name;
    }
    if (const auto* image = cases.tensors.find(name + ".image")) {
      EXPECT_TRUE(at::equal(sample.image, *image)) << name;
    }
  }
  EXPECT_EQ(segments, 24);
}

TEST(PanopticDataset, MaskedCropsAreMadeOnlyWhenAskedFor) {
  auto options = small_options();
  options.masked_crops = false;
  const PanopticDataset dataset(read_coco_panoptic(reference("panoptic/panoptic.json")), reference("panoptic/images"),
                                reference("panoptic/panoptic"), options);
  EXPECT_FALSE(dataset.get(0).masked_crops.defined());
}

class SmallPanoptic : public ::testing::Test {
 protected:
  // A 40 x 30 picture: segment 7 (stuff) covers columns 0..19, segment 260 (thing) the rest.
  SmallPanoptic() {
    formats::Image image = formats::blank_image(formats::ImageMode::kRGB, 40, 30);
    formats::write_png(folder_.path() / "a.png", image);
    for (int y = 0; y < 30; ++y) {
      for (int x = 0; x < 40; ++x) {
        image.row(y)[3 * x] = x < 20 ? 7 : 4;
        image.row(y)[3 * x + 1] = x < 20 ? 0 : 1;
      }
    }
    formats::write_png(folder_.path() / "segments.png", image);
  }
  PanopticDataset dataset(const std::string& segments, const std::string& png = "segments.png") const {
    const auto path = folder_.write("p.json", R"({"images": [{"id": 1, "file_name": "a.png"}], "categories": [
        {"id": 1, "name": "thing", "isthing": 1}, {"id": 2, "name": "stuff", "isthing": 0}],
        "annotations": [{"image_id": 1, "file_name": ")" +
                                                  png + R"(", "segments_info": )" + segments + "}]}");
    return {read_coco_panoptic(path), folder_.path(), folder_.path(), {.image_size = 64, .crop_size = 16}};
  }
  TemporaryFolder folder_;
};

TEST_F(SmallPanoptic, StuffBoxesEndAtTheLastPixelAndThingBoxesAreTheAnnotations) {
  const auto sample =
      dataset(R"([{"id": 7, "category_id": 2}, {"id": 260, "category_id": 1, "bbox": [20, 0, 20, 30]}])").get(0);
  EXPECT_TRUE(at::allclose(
      sample.boxes, at::tensor({0.0F, 0.0F, 19.0F, 29.0F, 20.0F, 0.0F, 40.0F, 30.0F}).view({2, 4}) / 40, 1e-6, 1e-6));
  EXPECT_TRUE(at::equal(sample.sizes, at::tensor({19.0F * 29, 600.0F})));
  // 64 / 16 = 4 columns of tokens, half each; the picture's 3 rows of the 4.
  const auto left = at::zeros({4, 4}, at::kBool);
  left.slice(0, 0, 3).slice(1, 0, 2).fill_(true);
  EXPECT_TRUE(at::equal(sample.masks[0], left));
}

TEST_F(SmallPanoptic, SegmentsWithoutPixelsOrOfTheWrongSizeAreLeftOut) {
  const auto sample = dataset(R"([{"id": 99, "category_id": 2}, {"id": 260, "category_id": 1, "bbox": [20, 0, 7, 9]},
                                  {"id": 7, "category_id": 2}])")
                          .get(0);
  EXPECT_EQ(sample.rows, std::vector<int>{2});
  EXPECT_EQ(sample.crops.sizes(), at::IntArrayRef({1, 3, 16, 16}));
}

TEST_F(SmallPanoptic, WrongFilesAreErrors) {
  const std::string segment = R"([{"id": 7, "category_id": 2}])";
  formats::write_png(folder_.path() / "small.png", formats::blank_image(formats::ImageMode::kRGB, 20, 30));
  formats::write_png(folder_.path() / "grey.png", formats::blank_image(formats::ImageMode::kL, 40, 30));
  expect_contains(error_of([&] { dataset(segment, "small.png").get(0); }), "40 x 30");
  expect_contains(error_of([&] { dataset(segment, "grey.png").get(0); }), "mode L");
  expect_contains(error_of([&] { dataset(segment, "../segments.png").get(0); }), "without '..'");
  expect_contains(error_of([&] { dataset(R"([{"id": 260, "category_id": 1}])"); }), "segment 260 of image 1");
}

}  // namespace
}  // namespace clipself::datasets
