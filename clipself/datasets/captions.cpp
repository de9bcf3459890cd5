#include "clipself/datasets/captions.h"

#include <simdjson.h>

#include <string_view>
#include <unordered_map>

#include "clipself/base/error.h"
#include "clipself/base/file.h"

namespace clipself::datasets {
namespace {

namespace dom = simdjson::dom;

class CaptionReader {
 public:
  explicit CaptionReader(const std::filesystem::path& path) : path_(path) {}

  std::vector<CaptionedImage> read() {
    const MappedFile file(path_);
    dom::parser parser;
    dom::element document;
    if (const auto error = parser.parse(file.text().data(), file.size()).get(document))
      fail(simdjson::error_message(error), "valid JSON");
    for (const dom::element entry : array(document, "images")) {
      begin("images");
      CaptionedImage image;
      image.id = integer(entry, "id");
      image.file_name = text(entry, "file_name");
      if (!position_.emplace(image.id, images_.size()).second)
        fail("image id " + std::to_string(image.id) + " a second time", "each image once");
      images_.push_back(std::move(image));
    }
    section_ = "";
    for (const dom::element entry : array(document, "annotations")) {
      begin("annotations");
      const std::int64_t id = integer(entry, "image_id");
      const auto found = position_.find(id);
      if (found == position_.end()) fail("image_id " + std::to_string(id), "the id of an image in the file");
      images_[found->second].captions.push_back(text(entry, "caption"));
    }
    section_ = "";
    std::erase_if(images_, [](const CaptionedImage& image) { return image.captions.empty(); });
    if (images_.empty()) fail("no caption", "at least one");
    return std::move(images_);
  }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& expected) const {
    const std::string place = section_.empty() ? "" : " at " + section_ + "[" + std::to_string(entry_) + "]";
    throw Error({.doing = "reading captions",
                 .where = path_.string(),
                 .found = found + place,
                 .expected = expected,
                 .hint = "a COCO captions file has images and annotations with image_id and caption"});
  }
  void begin(const char* section) {
    entry_ = section_ == section ? entry_ + 1 : 0;
    section_ = section;
  }
  dom::array array(dom::element document, const char* key) const {
    dom::array values;
    if (document[key].get_array().get(values)) fail(std::string("no array ") + key, "one");
    return values;
  }
  std::int64_t integer(dom::element entry, const char* key) const {
    std::int64_t value = 0;
    if (entry[key].get_int64().get(value)) fail(std::string("no integer ") + key, "one");
    return value;
  }
  std::string text(dom::element entry, const char* key) const {
    std::string_view value;
    if (entry[key].get_string().get(value)) fail(std::string("no text ") + key, "one");
    return std::string(value);
  }

  std::filesystem::path path_;
  std::vector<CaptionedImage> images_;
  std::unordered_map<std::int64_t, std::size_t> position_;
  std::string section_;
  std::int64_t entry_ = 0;
};

}  // namespace

std::vector<CaptionedImage> read_coco_captions(const std::filesystem::path& path) {
  return CaptionReader(path).read();
}

}  // namespace clipself::datasets
