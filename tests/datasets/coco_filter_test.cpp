#include "clipself/datasets/coco_filter.h"

#include <nlohmann/json.hpp>

#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kWhole = R"({
  "inf\"o": {"images": [1, "]"], "year": 2017},
  "annotations": [
    {"id": 1, "image_id": 5, "category_id": 2, "segmentation": [[1.50, 2e0]], "bbox": [1, 2, 3, 4]},
    {"category_id": 1, "image_id": 5, "caption": "a \"b\", }] \u00e9", "id": 2} , {"id": 3, "image_id": 7, "category_id": 3},
    {"id": 4, "image_id": 6, "category_id": 2}, {"id": 5, "image_id": 6, "category_id": 2}],
  "licenses": [],
  "categories": [{"id": 3, "name": "c", "frequency": "r"}, {"name": "b", "id": 2}, {"id": 1, "name": "a"}],
  "images": [{"id": 7}, {"id": 5, "file_name": "x"}, {"id": 6}, {"id": 8}]})";

struct Filtered {
  CocoFilterResult result;
  Json json;
};

Filtered filtered(const std::string& text, const CocoFilter& filter) {
  const TemporaryFolder folder;
  const auto in = folder.write("in.json", text);
  AtomicFile out(folder.path() / "out.json");
  auto result = filter_coco(in, out, filter);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "out.json"));
  out.commit();
  return {std::move(result), Json::parse(read_text(folder.path() / "out.json"))};
}

CocoFilter named(const std::string& listed, const std::string& annotated) {
  const auto among = [](const std::string& names) {
    return [names](const Category& category) { return names.find(category.name) != std::string::npos; };
  };
  return {.keep_category = among(listed), .keep_annotations = among(annotated), .required = {}};
}

TEST(CocoFilter, KeepsEntriesAsTheyAreWrittenAndInOrder) {
  const auto [result, json] = filtered(kWhole, named("ab", "b"));
  const Json whole = Json::parse(kWhole);
  EXPECT_EQ(json.size(), 5U);
  EXPECT_EQ(json["inf\"o"], whole["inf\"o"]);
  EXPECT_EQ(json["licenses"], whole["licenses"]);
  EXPECT_EQ(json.begin().key(), "inf\"o");
  const auto& a = whole["annotations"];
  EXPECT_EQ(json["annotations"], Json({a[0], a[3], a[4]}));
  EXPECT_EQ(json["images"], Json({whole["images"][1], whole["images"][2]}));
  EXPECT_EQ(json["categories"], Json({whole["categories"][1], whole["categories"][2]}));
  EXPECT_EQ(result.images.kept, 2);
  EXPECT_EQ(result.images.found, 4);
  EXPECT_EQ(result.annotations.kept, 3);
  EXPECT_EQ(result.annotations.found, 5);
  EXPECT_EQ(result.images_of.at(2), 2);
  EXPECT_FALSE(result.images_of.contains(1));
  EXPECT_EQ(result.categories_json[1], R"({"id": 1, "name": "a"})");
}

TEST(CocoFilter, KeepsImagesWithoutAnnotationsWhenAsked) {
  CocoFilter filter = named("abc", "ab");
  filter.keep_empty_images = true;
  const auto [result, json] = filtered(kWhole, filter);
  EXPECT_EQ(json["images"].size(), 4U);
  EXPECT_EQ(json["annotations"].size(), 4U);
  EXPECT_EQ(result.listed[0].frequency, 'r');
}

TEST(CocoFilter, SaysWhatIsWrongWithAFile) {
  const auto refusal = [](std::string text, const std::string& from, const std::string& to, CocoFilter filter) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return error_of([&] { filtered(text, filter); });
  };
  const auto filter = named("abc", "abc");
  expect_contains(refusal(kWhole, "\"images\": [{", "\"pictures\": [{", filter), "no `images`");
  expect_contains(refusal(kWhole, "\"licenses\"", "\"images\"", filter), "`images` a second time");
  expect_contains(refusal(kWhole, "\"image_id\": 7, ", "", filter), "annotations[2]");
  expect_contains(refusal(kWhole, "\"category_id\": 3", "\"category_id\": 9", filter), "category 9");
  expect_contains(refusal(kWhole, "\"image_id\": 7", "\"image_id\": 70", filter), "image 70");
  expect_contains(refusal(kWhole, "\"name\": \"b\", ", "", filter), "categories[1].name");
  expect_contains(refusal(kWhole, "{\"id\": 8}", "{}", filter), "images[3].id");
  expect_contains(refusal(kWhole, "{\"id\": 8}]}", "{\"id\": 8}", filter), "valid JSON");
  expect_contains(refusal(kWhole, "[{\"id\": 7}", "7, \"x\": [{\"id\": 7}", filter), "an array");
  expect_contains(refusal(kWhole, "{", "{", named("abc", "d")), "no annotation left of 5");
  CocoFilter strict = named("abc", "abc");
  strict.required = {"a", "d"};
  expect_contains(refusal(kWhole, "{", "{", strict), "no category 'd'; expected all 2 classes");
}

}  // namespace
}  // namespace clipself::datasets
