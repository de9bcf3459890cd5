#include "clipself/datasets/labelled_images.h"

#include <fstream>

#include "clipself/base/file.h"
#include "clipself/datasets/captions.h"
#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

class FolderOfClasses : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const std::string file : {"n02/b.PNG", "n02/a.jpg", "n01/deep/x.jpeg", "n03/readme.txt", "beside.png"})
      write_text(folder_.path() / "root" / file, "never decoded here");
  }
  std::string names(const std::string& text) {
    write_text(folder_.path() / "names.txt", text);
    return (folder_.path() / "names.txt").string();
  }
  LabelledImages read(const std::string& text) { return read_labelled_folders(folder_.path() / "root", names(text)); }
  TemporaryFolder folder_;
};

TEST_F(FolderOfClasses, LabelsByTheSortedFolders) {
  const LabelledImages images = read_labelled_folders(folder_.path() / "root");
  EXPECT_EQ(images.folders, (std::vector<std::string>{"n01", "n02", "n03"}));
  EXPECT_EQ(images.labels, (std::vector<std::int64_t>{0, 1, 1}));
  EXPECT_EQ(images.files[1].filename(), "a.jpg");
}

TEST_F(FolderOfClasses, LabelsByTheLinesOfAFile) {
  const LabelledImages images = read("n05 great white shark\nn02\tgoldfish  \r\n\nn03 tench\nn01 hen\n");
  EXPECT_EQ(images.names, (std::vector<std::string>{"great white shark", "goldfish", "tench", "hen"}));
  EXPECT_EQ(images.labels, (std::vector<std::int64_t>{1, 1, 3}));
}

TEST_F(FolderOfClasses, RefusesNamesThatDoNotFit) {
  EXPECT_THROW(read("n01 hen\nn02 goldfish\n"), Error) << "no line for n03";
  EXPECT_THROW(read("n01 hen\nn02\nn03 tench\n"), Error) << "no name";
  EXPECT_THROW(read("n01 hen\nn02 goldfish\nn03 tench\nn01 hen\n"), Error) << "a folder twice";
  EXPECT_THROW(read("\n\n"), Error);
  EXPECT_THROW(read_labelled_folders(folder_.path() / "root" / "n02"), Error) << "images, but no folders";
}

std::vector<CaptionedImage> captions(const TemporaryFolder& folder, const std::string& text) {
  write_text(folder.path() / "captions.json", text);
  return read_coco_captions(folder.path() / "captions.json");
}

TEST(CocoCaptions, BelongToTheirImagesInFileOrder) {
  const TemporaryFolder folder;
  const auto images = captions(folder, R"({"annotations": [{"image_id": 7, "id": 1, "caption": "first"},
      {"image_id": 3, "id": 2, "caption": "a cat"}, {"image_id": 7, "id": 3, "caption": "second \u00e9"}],
    "images": [{"id": 3, "file_name": "3.jpg"}, {"id": 5, "file_name": "5.jpg"}, {"id": 7, "file_name": "7.jpg"}]})");
  ASSERT_EQ(images.size(), 2U) << "an image without captions does not count";
  EXPECT_EQ(images[0].file_name, "3.jpg");
  EXPECT_EQ(images[1].captions, (std::vector<std::string>{"first", "second \u00e9"}));
}

TEST(CocoCaptions, RefusesWhatIsNone) {
  const TemporaryFolder folder;
  const std::string image = R"({"images": [{"id": 3, "file_name": "3.jpg"}])";
  const std::vector<std::string> broken{std::string("{"),
                                        std::string("[]"),
                                        image + "}",
                                        image + R"(, "annotations": []})",
                                        image + R"(, "annotations": [{"image_id": 4, "caption": "x"}]})",
                                        image + R"(, "annotations": [{"image_id": 3}]})",
                                        image + R"(, "annotations": [{"caption": "x"}]})"};
  for (const std::string& text : broken) EXPECT_THROW(captions(folder, text), Error) << text;
}

}  // namespace
}  // namespace clipself::datasets
