#include "clipself/datasets/voc.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "clipself/base/file.h"
#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

std::string voc_object(const std::string& name, const std::string& rest, const std::string& corners) {
  return "<object><name>" + name + "</name>" + rest + "<bndbox>" + corners + "</bndbox></object>";
}

std::string voc_file(const std::string& objects) {
  return "<?xml version=\"1.0\"?>\n<annotation><folder>VOC2007</folder><size><width>353</width><height>500</height>"
         "<depth>3</depth></size>" +
         objects + "</annotation>\n";
}

constexpr const char* kCorners = "<xmin>48</xmin><ymin>240</ymin><xmax>195</xmax><ymax>371.6</ymax>";

class VocFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.write("ImageSets/Main/test.txt", "000012 -1\r\n\n000001\n");
    folder_.write("Annotations/000012.xml", voc_file(voc_object("diningtable", "<difficult>1</difficult>", kCorners) +
                                                     voc_object("unicorn", "", kCorners)));
    folder_.write(
        "Annotations/000001.xml",
        voc_file(voc_object("dog", "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>", kCorners)));
  }
  VocCounts convert() { return voc_to_coco(folder_.path(), "test", folder_.path() / "out/voc.json"); }
  nlohmann::ordered_json result() { return nlohmann::ordered_json::parse(read_text(folder_.path() / "out/voc.json")); }
  std::string refusal() {
    const auto message = error_of([&] { convert(); });
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "out/voc.json"));
    return message;
  }
  TemporaryFolder folder_;
};

TEST_F(VocFolder, BecomesOneFileWithZeroBasedBoxesAndDifficultAsIgnore) {
  const auto counts = convert();
  EXPECT_EQ(counts.images, 2);
  EXPECT_EQ(counts.objects, 2);
  EXPECT_EQ(counts.difficult, 1);
  const auto json = result();
  EXPECT_EQ(json["categories"].size(), 20U);
  EXPECT_EQ(json["categories"][10], (nlohmann::ordered_json{{"id", 11}, {"name", "dining table"}}));
  EXPECT_EQ(json["images"][0]["id"], 12);
  EXPECT_EQ(json["images"][0]["file_name"], "JPEGImages/000012.jpg");
  EXPECT_EQ(json["images"][0]["width"], 353);
  const auto& table = json["annotations"][0];
  EXPECT_EQ(table["category_id"], 11);
  EXPECT_EQ(table["bbox"], (nlohmann::ordered_json{47, 239, 147, 131}));
  EXPECT_EQ(table["ignore"], 1);
  EXPECT_EQ(json["annotations"][1]["image_id"], 1);
  EXPECT_EQ(json["annotations"][1]["ignore"], 0);
}

TEST_F(VocFolder, NamesThatAreNoNumbersAreCounted) {
  folder_.write("ImageSets/Main/test.txt", "2008_000012\n000001\n");
  folder_.write("Annotations/2008_000012.xml", voc_file(""));
  convert();
  EXPECT_EQ(result()["images"][0]["id"], 1);
  EXPECT_EQ(result()["images"][1]["id"], 2);
}

TEST_F(VocFolder, TakesTheSizeFromThePictureWhenTheFileDoesNotSay) {
  folder_.write("Annotations/000001.xml", "<annotation>" + voc_object("dog", "", kCorners) + "</annotation>");
  expect_contains(refusal(), "JPEGImages/000001.jpg");
  std::filesystem::create_directories(folder_.path() / "JPEGImages");
  formats::write_png(folder_.path() / "JPEGImages/000001.jpg", formats::blank_image(formats::ImageMode::kRGB, 7, 9));
  convert();
  EXPECT_EQ(result()["images"][1]["height"], 9);
}

TEST_F(VocFolder, WrongFilesAreErrorsThatNameThem) {
  const auto with = [&](const std::string& text) {
    folder_.write("Annotations/000001.xml", text);
    const auto message = refusal();
    expect_contains(message, "Annotations/000001.xml");
    return message;
  };
  expect_contains(with("<annotation><object>"), "at byte");
  with("");
  expect_contains(with("<html/>"), "no <annotation>");
  expect_contains(with(voc_file("<object><name>dog</name></object>")), "without <bndbox>");
  expect_contains(with(voc_file("<object></object>")), "no <name>");
  expect_contains(with(voc_file(voc_object("dog", "", "<xmin>1</xmin>"))), "no <ymin> in <bndbox>");
  expect_contains(with(voc_file(voc_object("dog", "", "<xmin>1</xmin><ymin>two</ymin>"))), "'two' in <ymin>");
  expect_contains(with(voc_file(voc_object("dog", "", "<xmin>9</xmin><ymin>1</ymin><xmax>8</xmax><ymax>2</ymax>"))),
                  "xmin <= xmax");
  expect_contains(with("<annotation><size><width>0</width><height>3</height></size></annotation>"), "'0' in <width>");
  std::filesystem::remove(folder_.path() / "Annotations/000001.xml");
  expect_contains(refusal(), "000001.xml");
  folder_.write("ImageSets/Main/test.txt", "000012\n000012\n");
  expect_contains(refusal(), "a second time");
  folder_.write("ImageSets/Main/test.txt", "../../etc/passwd\n");
  expect_contains(refusal(), "without '..'");
  folder_.write("ImageSets/Main/test.txt", "\n");
  expect_contains(refusal(), "no images");
}

}  // namespace
}  // namespace clipself::datasets
