#include "clipself/datasets/annotations.h"

#include <cmath>

#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

TEST(ReadCoco, ReadsImagesAnnotationsAndCategoriesInFileOrder) {
  const auto index = read_coco(reference("training_samples/instances.json"));
  ASSERT_EQ(index.images.size(), 3U);
  EXPECT_EQ(index.images[0].id, 101);
  EXPECT_EQ(index.images[0].width, 213);
  EXPECT_EQ(index.images[0].file_name, "000000000101.jpg");
  EXPECT_EQ(index.images[2].file_name, "train2017/000000000303.jpg") << "from coco_url";
  const auto annotations = index.annotations_of(0);
  ASSERT_GE(annotations.size(), 3U);
  EXPECT_EQ(annotations[0].id, 1);
  EXPECT_EQ(annotations[0].category_id, 3);
  EXPECT_EQ(annotations[0].bbox, (std::array<double, 4>{10.25, 20.5, 60.3, 40.1}));
  EXPECT_DOUBLE_EQ(annotations[0].area, 2418.0299999999997);
  EXPECT_FALSE(annotations[0].is_crowd);
  EXPECT_EQ(annotations[0].score, 1.0F);
}

TEST(ReadCoco, LabelsArePositionsAmongSortedCategoryIds) {
  const auto index = read_coco(reference("training_samples/region_text.json"));
  const std::vector<std::int64_t> ids{1, 3, 7, 44, 90};
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(index.label_of(ids[i]), static_cast<int>(i));
    EXPECT_EQ(index.categories_by_label()[i].id, ids[i]);
  }
  expect_contains(error_of([&] { index.label_of(2); }), "id 2");
}

TEST(ReadCoco, TakesKeysInAnyOrderAndSkipsWhatItDoesNotKnow) {
  const TemporaryFolder folder;
  const auto path = folder.write("lvis.json", R"({
    "annotations": [
      {"segmentation": [[1.5, 2, {"a": [null]}], []], "score": 0.25, "iscrowd": 1, "bbox": [1, 2.5, 3, 4], "area": 12,
       "category_id": 5, "image_id": 9000000000, "id": 12345678901},
      {"image_id": 2, "segmentation": {"counts": "ab\"c", "size": [3, 4]}},
      {"image_id": 9000000000, "id": 7.0, "bbox": null, "score": null, "iscrowd": false}],
    "info": {"images": "not these", "year": 2020}, "licenses": null,
    "images": [{"coco_url": "http://x.org/val2017/a.jpg", "id": 2, "neg_category_ids": [1, 2], "height": 5, "width": null},
               {"file_name": "b\u00e9.png", "id": 9000000000}],
    "categories": [{"synset": "x.n.01", "name": "five", "id": 5}]})");
  const auto index = read_coco(path);
  ASSERT_EQ(index.images.size(), 2U);
  EXPECT_EQ(index.images[0].file_name, "val2017/a.jpg");
  EXPECT_EQ(index.images[0].height, 5);
  EXPECT_EQ(index.images[0].width, 0);
  EXPECT_EQ(index.images[1].file_name, "b\xC3\xA9.png");
  const auto second = index.annotations_of(1);
  ASSERT_EQ(second.size(), 2U);
  EXPECT_EQ(second[0].id, 12345678901);
  EXPECT_EQ(second[0].score, 0.25F);
  EXPECT_TRUE(second[0].is_crowd);
  EXPECT_EQ(second[0].bbox, (std::array<double, 4>{1, 2.5, 3, 4}));
  EXPECT_EQ(second[1].id, 7);
  EXPECT_FALSE(second[1].has_bbox());
  ASSERT_EQ(index.annotations_of(0).size(), 1U);
  EXPECT_FALSE(index.annotations_of(0)[0].has_bbox());
  EXPECT_EQ(index.annotation_count(), 3U);
}

TEST(ReadCoco, KeepsSegmentationsWhenAsked) {
  const TemporaryFolder folder;
  const auto path = folder.write("masks.json", R"({
    "images": [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 3}],
    "annotations": [
      {"image_id": 1, "id": 1, "segmentation": [[0.1, 0.25, 1e-3, 2, -0.0, 239.97000000000003], [1, 1, 3, 1, 3, 2, 1, 2]]},
      {"image_id": 1, "id": 2, "segmentation": {"counts": [1, 2, 9], "size": [3, 4]}, "ignore": 1},
      {"image_id": 1, "id": 3, "segmentation": {"size": [3, 4], "counts": "1232O"}},
      {"image_id": 1, "id": 4, "segmentation": []}, {"image_id": 1, "id": 5, "segmentation": null},
      {"image_id": 1, "id": 6, "segmentation": [[1, 1, 2, 1]]},
      {"image_id": 1, "id": 7, "segmentation": {"size": [4, 3], "counts": [12]}}]})");
  const auto index = read_coco(path, {.segmentations = true});
  const auto list = index.annotations_of(0);
  ASSERT_EQ(list.size(), 7U);
  const auto polygons = index.segmentations.polygons(list[0].segmentation);
  ASSERT_EQ(polygons.size(), 2U);
  EXPECT_EQ(polygons[0], (Polygon{0.1, 0.25, 1e-3, 2, -0.0, 239.97000000000003})) << "to the bit";
  EXPECT_TRUE(std::signbit(polygons[0][4]));
  EXPECT_EQ(polygons[1], (Polygon{1, 1, 3, 1, 3, 2, 1, 2}));
  EXPECT_TRUE(list[1].ignore);
  EXPECT_FALSE(list[0].ignore);
  EXPECT_EQ(index.mask_of(index.images[0], list[1]).counts, (std::vector<std::uint32_t>{1, 2, 9}));
  EXPECT_EQ(index.mask_of(index.images[0], list[2]).counts, (std::vector<std::uint32_t>{1, 2, 3, 4, 2}));
  EXPECT_EQ(list[3].segmentation, kNoSegmentation);
  EXPECT_EQ(list[4].segmentation, kNoSegmentation);
  expect_contains(error_of([&] { index.mask_of(index.images[0], list[3]); }), "annotation 4 of image 1");
  EXPECT_EQ(index.mask_of(index.images[0], list[5]).counts, (std::vector<std::uint32_t>{4, 1, 2, 1, 4})) << "a box";
  expect_contains(error_of([&] { index.mask_of(index.images[0], list[6]); }), "[4, 3]");
  EXPECT_EQ(read_coco(path).annotations_of(0)[0].segmentation, kNoSegmentation) << "not asked for";
  EXPECT_EQ(read_coco(path).segmentations.bytes(), 0U);
}

TEST(ReadCoco, SaysWhatIsWrongWithASegmentation) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& segmentation, const std::string& found) {
    const auto path = folder.write("bad.json", R"({"images": [{"id": 1, "file_name": "a"}], "annotations": [
      {"image_id": 1}, {"image_id": 1, "segmentation": )" +
                                                   segmentation + "}]}");
    const auto message = error_of([&] { read_coco(path, {.segmentations = true}); });
    expect_contains(message, found);
    expect_contains(message, "annotations[1].segmentation");
    expect_contains(message, "bad.json");
  };
  refused("3", "a number");
  refused("[3]", "a number");
  refused("[[1, 2, 3]]", "a polygon of 3 numbers");
  refused("[[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]", "a box and then a polygon");
  refused("[[1, 2, 3, 4, 5, \"a\"]]", "a string");
  refused("[[1, 2, 3, 4, 5, 1e300]]", "a coordinate in pixels");
  refused("{}", "a size of 0 numbers");
  refused(R"({"size": [3, 4]})", "without counts");
  refused(R"({"size": [3, 4], "counts": [1, 2]})", "9 pixels less");
  refused(R"({"size": [3, 4], "counts": "zz"})", "code 122");
  refused(R"({"size": [0, 4], "counts": [0]})", "size [0, 4]");
}

TEST(ReadCoco, KeepsWhatLvisSaysWhenAsked) {
  const TemporaryFolder folder;
  const auto path = folder.write("lvis.json", R"({
    "images": [{"id": 1, "coco_url": "x/a/b.jpg", "neg_category_ids": [3, 5], "not_exhaustive_category_ids": [4]}],
    "categories": [{"id": 3, "name": "x", "frequency": "r", "image_count": 7}, {"id": 4, "name": "y"}]})");
  const auto index = read_coco(path, {.federated = true});
  EXPECT_EQ(index.images[0].negative_categories, (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(index.images[0].not_exhaustive_categories, (std::vector<std::int64_t>{4}));
  EXPECT_EQ(index.categories[0].frequency, 'r');
  EXPECT_EQ(index.categories[0].image_count, 7);
  EXPECT_EQ(index.categories[1].frequency, '\0');
  EXPECT_TRUE(read_coco(path).images[0].negative_categories.empty());
  const auto bad = folder.write("bad.json", R"({"images": [{"id": 1, "file_name": "a"}],
    "categories": [{"id": 1, "frequency": "x"}]})");
  expect_contains(error_of([&] { read_coco(bad, {.federated = true}); }), "categories[0].frequency");
}

TEST(ReadCoco, AnImageListNeedsNoAnnotations) {
  const TemporaryFolder folder;
  const auto index = read_coco(folder.write("list.json", R"({"images": [{"id": 1, "file_name": "a.jpg"}]})"));
  EXPECT_EQ(index.images.size(), 1U);
  EXPECT_TRUE(index.annotations_of(0).empty());
  const auto empty =
      read_coco(folder.write("empty.json", R"({"annotations": [], "images": [{"id": 1, "file_name": "a"}]})"));
  EXPECT_TRUE(empty.annotations_of(0).empty());
}

TEST(ReadCoco, OfImagesWithOneIdTheLastCountsInTheFirstsPlace) {
  const TemporaryFolder folder;
  const auto index = read_coco(folder.write(
      "twice.json",
      R"({"images": [{"id": 1, "file_name": "old"}, {"id": 2, "file_name": "b"}, {"id": 1, "file_name": "new"}],
                        "annotations": [{"image_id": 1}, {"image_id": 2}, {"image_id": 1}]})"));
  ASSERT_EQ(index.images.size(), 2U);
  EXPECT_EQ(index.images[0].file_name, "new");
  EXPECT_EQ(index.annotations_of(0).size(), 2U);
}

TEST(ReadCoco, SaysWhichEntryAndKeyIsWrong) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& text) {
    const auto path = folder.write("wrong.json", text);
    return error_of([&] { read_coco(path); });
  };
  const std::string images = R"("images": [{"id": 1, "file_name": "a.jpg"}])";
  expect_contains(message("{" + images + R"(, "annotations": [{"image_id": 1}, {"image_id": 1, "bbox": [1, 2, 3]}]})"),
                  "annotations[1].bbox");
  expect_contains(message("{" + images + R"(, "annotations": [{"image_id": 1, "bbox": [1, 2, "3", 4]}]})"), "a string");
  expect_contains(message("{" + images + R"(, "annotations": [{"image_id": 1, "bbox": [1, 2, 1e300, 4]}]})"), "bbox");
  expect_contains(message("{" + images + R"(, "annotations": [{"id": 5}]})"), "annotations[0].image_id");
  expect_contains(message("{" + images + R"(, "annotations": [{"id": 77, "image_id": 4}]})"),
                  "annotation 77 of image 4");
  expect_contains(message("{" + images + R"(, "annotations": [{"id": 1.5, "image_id": 1}]})"), "annotations[0].id");
  expect_contains(message("{" + images + R"(, "annotations": {}})"), "an object at annotations");
  expect_contains(message("{" + images + R"(, "categories": [{"name": "x"}]})"), "categories[0].id");
  expect_contains(message(R"({"images": [{"id": "one", "file_name": "a.jpg"}]})"), "a string at images[0].id");
  expect_contains(message(R"({"images": [{"id": 1}]})"), "images[0].file_name");
  expect_contains(message(R"({"images": [{"id": 1, "coco_url": "a.jpg"}]})"), "images[0].file_name");
  expect_contains(message(R"({"images": [7]})"), "a number at images[0]");
  expect_contains(message(R"({"images": []})"), "no images");
  expect_contains(message("{}"), "no images");
  expect_contains(message("[1]"), "an array");
}

TEST(ReadCoco, BrokenJsonIsOneError) {
  const TemporaryFolder folder;
  const std::string whole =
      R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "id": 3}]})";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto path = folder.write("cut.json", whole.substr(0, size));
    EXPECT_THROW(read_coco(path), Error) << whole.substr(0, size);
  }
  EXPECT_NO_THROW(read_coco(folder.write("whole.json", whole)));
  for (const std::string text :
       {"", "   ", "nonsense", "{\"images\": [{\"id\": 1 \"file_name\": 3}]}", "{\"images\": \"\xFF\xFE\"}"}) {
    const auto path = folder.write("bad.json", text);
    expect_contains(error_of([&] { read_coco(path); }), "bad.json");
  }
  const auto open = folder.write("open.json", R"({"images": [{"id": 1, "file_name": "a.jpg"}, {]})");
  expect_contains(error_of([&] { read_coco(open); }), "expected valid JSON");
  const auto number = folder.write("number.json", R"({"images": [{"id": 1x2, "file_name": "a.jpg"}]})");
  expect_contains(error_of([&] { read_coco(number); }), "a malformed number at images[0].id");
  const auto more = folder.write("more.json", whole + whole);
  expect_contains(error_of([&] { read_coco(more); }), "more text");
  expect_contains(error_of([&] { read_coco(folder.path() / "absent.json"); }), "absent.json");
}

TEST(ReadCoco, ReadsFilesOfAnyLengthRelativeToThePage) {
  const TemporaryFolder folder;
  for (int extra = 0; extra < 4096 + 80; extra += 17) {
    const std::string text =
        R"({"images": [{"id": 1, "file_name": "a.jpg"}]})" + std::string(static_cast<std::size_t>(extra), ' ');
    const auto path = folder.write("padded.json", text);
    ASSERT_EQ(read_coco(path).images.size(), 1U) << text.size();
  }
  const std::string text = R"({"images": [{"id": 1, "file_name": "a.jpg"}]})";
  ASSERT_EQ(read_coco(folder.write("page.json", text + std::string(4096 - text.size(), ' '))).images.size(), 1U);
}

TEST(ReadPanoptic, ReadsSegmentsWithTheirKind) {
  const auto index = read_coco_panoptic(reference("panoptic/panoptic.json"));
  ASSERT_EQ(index.images.size(), 6U);
  EXPECT_EQ(index.images[0].segmentation_file, "000000001000.png");
  const auto segments = index.annotations_of(0);
  ASSERT_EQ(segments.size(), 7U);
  EXPECT_EQ(segments[0].id, 300);
  EXPECT_FALSE(index.find_category(92)->is_thing);
  EXPECT_TRUE(index.find_category(25)->is_thing);
  EXPECT_EQ(segments[2].bbox, (std::array<double, 4>{108, 57, 51, 59}));
}

TEST(ReadPanoptic, SaysWhatIsMissing) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& annotations, const std::string& categories) {
    const auto path = folder.write("p.json", R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": )" +
                                                 annotations + R"(, "categories": )" + categories + "}");
    return error_of([&] { read_coco_panoptic(path); });
  };
  const std::string categories = R"([{"id": 1, "name": "x", "isthing": 1}])";
  expect_contains(message(R"([{"image_id": 1, "segments_info": [{"id": 5, "category_id": 2}]}])", categories),
                  "category 2");
  expect_contains(message(R"([{"image_id": 1, "segments_info": [{"id": 5}]}])", categories),
                  "annotations[0].segments_info[0].category_id");
  expect_contains(message(R"([{"image_id": 1}])", categories), "segments_info");
  expect_contains(message("[]", R"([{"id": 1, "name": "x"}])"), "categories[0].isthing");
}

TEST(ReadImageFolder, FindsPicturesBelowSortedByPath) {
  const TemporaryFolder folder;
  for (const char* name : {"b/2.PNG", "b/1.jpeg", "a.jpg", "c.txt", "d/e/f.JPG"}) folder.write(name, "x");
  const auto index = read_image_folder(folder.path());
  std::vector<std::string> names;
  for (const auto& image : index.images) names.push_back(image.file_name);
  EXPECT_EQ(names, (std::vector<std::string>{"a.jpg", "b/1.jpeg", "b/2.PNG", "d/e/f.JPG"}));
  EXPECT_EQ(index.images[3].id, 3);
  const TemporaryFolder empty;
  expect_contains(error_of([&] { read_image_folder(empty.path()); }), "no images");
  expect_contains(error_of([&] { read_image_folder(empty.path() / "absent"); }), "absent");
}

TEST(ResolveBelow, KeepsNamesInsideTheRoot) {
  EXPECT_EQ(resolve_below("/data", "train2017/a.jpg"), "/data/train2017/a.jpg");
  EXPECT_NO_THROW(resolve_below("/data", "a..b.jpg"));
  for (const std::string name : {"/etc/passwd", "../a.jpg", "a/../../b.jpg", "", ".."}) {
    EXPECT_THROW(resolve_below("/data", name), Error) << name;
  }
  EXPECT_THROW(resolve_below("/data", std::string("a\0b", 3)), Error);
}

}  // namespace
}  // namespace clipself::datasets
