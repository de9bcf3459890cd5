// The JSON side of datasets/annotations, by simdjson's on-demand parser: values nobody asks for (polygons, run lengths,
// captions) are stepped over without being looked at.
#include <simdjson.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/annotations_builder.h"

namespace clipself::datasets {
namespace {

namespace json = simdjson::ondemand;

// simdjson reads up to 64 bytes past the text. The rest of a mapping's last page can be read and is zero, so only a
// file that nearly fills its last page needs a copy.
class PaddedFile {
 public:
  explicit PaddedFile(const std::filesystem::path& path) : file_(path) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t used = file_.size() % page;
    if (used == 0 || page - used < simdjson::SIMDJSON_PADDING) copy_ = simdjson::padded_string(file_.text());
  }
  simdjson::padded_string_view view() const {
    if (copy_) return *copy_;
    return simdjson::padded_string_view(file_.text().data(), file_.size(), file_.size() + simdjson::SIMDJSON_PADDING);
  }

 private:
  MappedFile file_;
  std::optional<simdjson::padded_string> copy_;
};

const char* describe(json::json_type type) {
  switch (type) {
    case json::json_type::array:
      return "an array";
    case json::json_type::object:
      return "an object";
    case json::json_type::number:
      return "a number";
    case json::json_type::string:
      return "a string";
    case json::json_type::boolean:
      return "true or false";
    case json::json_type::null:
      return "null";
  }
  return "something else";
}

// False when the value was read, true when it is of another type than asked for; anything else is broken JSON.
bool is_other_type(simdjson::error_code result) {
  if (result == simdjson::SUCCESS) return false;
  if (result == simdjson::INCORRECT_TYPE) return true;
  throw simdjson::simdjson_error(result);
}

// What was found where a number was expected and could not be read.
const char* describe_unread(json::value value) {
  const json::json_type type = value.type();
  return type == json::json_type::number ? "a malformed number" : describe(type);
}

// Walks one file. Where it is (section, entry, key) goes into messages.
class Walker {
 public:
  Walker(const std::filesystem::path& path, bool panoptic) : path_(path), panoptic_(panoptic) {}

  AnnotationIndex read() {
    const PaddedFile file(path_);
    json::parser parser;
    json::document document;
    bool begun = false;  // a document that never began cannot say where it is
    try {
      document = parser.iterate(file.view());
      begun = true;
      json::object top;
      if (is_other_type(document.get_object().get(top))) fail(describe(document.type()), "an object");
      for (auto field : top) {
        const json::raw_json_string key = field.key();
        entry_ = -1;
        key_ = "";
        if (key == "images") {
          each("images", field.value(), [this](json::object object) { image(object); });
        } else if (key == "annotations") {
          each("annotations", field.value(),
               [this](json::object object) { panoptic_ ? segments(object) : annotation(object); });
        } else if (key == "categories") {
          each("categories", field.value(), [this](json::object object) { category(object); });
        }
        section_ = "";
      }
      const char* rest = nullptr;
      if (document.current_location().get(rest) == simdjson::SUCCESS) {
        fail("more text after the closing brace, at byte " + std::to_string(rest - file.view().data()),
             "one JSON object");
      }
    } catch (const simdjson::simdjson_error& error) {
      std::string found = std::string(simdjson::error_message(error.error()));
      const char* at = nullptr;
      if (begun && document.current_location().get(at) == simdjson::SUCCESS) {
        found += " near byte " + std::to_string(at - file.view().data());
      }
      fail(found, "valid JSON");
    }
    AnnotationIndex index = std::move(builder_).finish(path_.string());
    if (panoptic_) check_categories(index);
    return index;
  }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& expected) const {
    throw Error({.doing = "reading annotations",
                 .where = path_.string(),
                 .found = found + (place().empty() ? "" : " at " + place()),
                 .expected = expected});
  }
  [[noreturn]] void fail_missing(const char* key, const std::string& expected) {
    key_ = key;
    fail("nothing", expected);
  }
  std::string place() const {
    std::string place = section_;
    if (entry_ >= 0) place += "[" + std::to_string(entry_) + "]";
    if (segment_ >= 0) place += ".segments_info[" + std::to_string(segment_) + "]";
    if (*key_ != '\0') place += std::string(place.empty() ? "" : ".") + key_;
    return place;
  }

  template <typename Read>
  void each(const char* section, json::value value, const Read& read) {
    section_ = section;
    json::array array;
    if (is_other_type(value.get_array().get(array))) fail(describe(value.type()), "an array");
    for (auto element : array) {
      ++entry_;
      key_ = "";
      read(object(element.value()));
    }
    key_ = "";
  }

  json::object object(json::value value) const {
    json::object object;
    if (is_other_type(value.get_object().get(object))) fail(describe(value.type()), "an object");
    return object;
  }

  std::int64_t integer(json::value value) const {
    std::int64_t number = 0;
    if (value.get_int64().get(number) == simdjson::SUCCESS) return number;
    // 12.0 is the integer that some writers made a float.
    double real = 0;
    if (value.get_double().get(real) == simdjson::SUCCESS) {
      constexpr double kExact = 9007199254740992.0;  // 2^53
      if (real == std::floor(real) && std::abs(real) < kExact) return static_cast<std::int64_t>(real);
      fail(std::to_string(real), "an integer");
    }
    fail(describe_unread(value), "an integer");
  }

  // Absent and null are the same to all our callers.
  double number(json::value value, double when_null) const {
    double real = 0;
    if (value.get_double().get(real) == simdjson::SUCCESS) return real;
    if (value.is_null()) return when_null;
    fail(describe_unread(value), "a number");
  }

  bool flag(json::value value) const {
    bool truth = false;
    if (value.get_bool().get(truth) == simdjson::SUCCESS) return truth;
    if (value.is_null()) return false;
    return integer(value) != 0;
  }

  std::string text(json::value value) const {
    std::string_view view;
    if (!is_other_type(value.get_string().get(view))) return std::string(view);
    if (value.is_null()) return {};
    fail(describe(value.type()), "a string");
  }

  int side(json::value value) const {
    const double real = number(value, 0);
    if (!(real >= 0 && real <= std::numeric_limits<int>::max())) fail(std::to_string(real), "a size in pixels");
    return static_cast<int>(real);
  }

  std::array<double, 4> box(json::value value) const {
    constexpr double kFarthest = 1e9;
    std::array<double, 4> box{kNaN, kNaN, kNaN, kNaN};
    json::array array;
    if (is_other_type(value.get_array().get(array))) {
      if (value.is_null()) return box;
      fail(describe(value.type()), "an array of four numbers");
    }
    std::size_t count = 0;
    for (auto element : array) {
      if (count < box.size()) {
        double& corner = box[count];
        corner = number(element.value(), kNaN);
        if (!(std::abs(corner) <= kFarthest)) fail(std::to_string(corner), "a coordinate in pixels");
      }
      ++count;
    }
    if (count != box.size()) fail("an array of " + std::to_string(count), "an array of four numbers");
    return box;
  }

  // Says in which key we are while its value is read.
  bool is(json::raw_json_string key, const char* name) {
    if (!(key == name)) return false;
    key_ = name;
    return true;
  }

  void image(json::object object) {
    ImageRecord image;
    std::optional<std::int64_t> id;
    std::string url;
    for (auto field : object) {
      const json::raw_json_string key = field.key();
      if (is(key, "id")) {
        id = integer(field.value());
      } else if (is(key, "file_name")) {
        image.file_name = text(field.value());
      } else if (is(key, "coco_url")) {
        url = text(field.value());
      } else if (is(key, "width")) {
        image.width = side(field.value());
      } else if (is(key, "height")) {
        image.height = side(field.value());
      }
    }
    if (!id) fail_missing("id", "an integer");
    image.id = *id;
    if (image.file_name.empty()) {
      // http://images.cocodataset.org/train2017/000000000009.jpg
      const std::size_t last = url.rfind('/');
      const std::size_t folder = last == std::string::npos || last == 0 ? std::string::npos : url.rfind('/', last - 1);
      if (folder == std::string::npos) fail_missing("file_name", "a file_name, or a coco_url that ends in folder/name");
      image.file_name = url.substr(folder + 1);
    }
    if (panoptic_) {
      // Until its annotation says otherwise: the original's rule.
      image.segmentation_file = image.file_name;
      for (std::size_t at = 0; (at = image.segmentation_file.find("jpg", at)) != std::string::npos; at += 3) {
        image.segmentation_file.replace(at, 3, "png");
      }
    }
    builder_.add_image(std::move(image));
  }

  void category(json::object object) {
    Category category;
    std::optional<std::int64_t> id;
    std::optional<bool> is_thing;
    for (auto field : object) {
      const json::raw_json_string key = field.key();
      if (is(key, "id")) {
        id = integer(field.value());
      } else if (is(key, "name")) {
        category.name = text(field.value());
      } else if (is(key, "isthing")) {
        is_thing = flag(field.value());
      }
    }
    if (!id) fail_missing("id", "an integer");
    if (panoptic_ && !is_thing) fail_missing("isthing", "0 or 1");
    category.id = *id;
    category.is_thing = is_thing.value_or(true);
    builder_.add_category(std::move(category));
  }

  /// One entry's own values; `image_id` stays empty for a segment.
  struct Entry {
    Annotation annotation;
    std::optional<std::int64_t> id, image_id, category_id;
  };
  bool common_field(json::raw_json_string key, json::value value, Entry& entry) {
    if (is(key, "id")) {
      entry.id = integer(value);
    } else if (is(key, "image_id")) {
      entry.image_id = integer(value);
    } else if (is(key, "category_id")) {
      entry.category_id = integer(value);
    } else if (is(key, "bbox")) {
      entry.annotation.bbox = box(value);
    } else if (is(key, "area")) {
      entry.annotation.area = number(value, 0);
    } else if (is(key, "iscrowd")) {
      entry.annotation.is_crowd = flag(value);
    } else if (is(key, "score")) {
      entry.annotation.score = static_cast<float>(number(value, 1));
    } else {
      return false;
    }
    return true;
  }
  static Annotation finished(const Entry& entry, std::int64_t default_id) {
    Annotation annotation = entry.annotation;
    annotation.id = entry.id.value_or(default_id);
    annotation.category_id = entry.category_id.value_or(0);
    return annotation;
  }
  static Entry blank_entry() {
    Entry entry;
    entry.annotation.bbox.fill(kNaN);
    return entry;
  }

  void annotation(json::object object) {
    Entry entry = blank_entry();
    for (auto field : object) common_field(field.key(), field.value(), entry);
    if (!entry.image_id) fail_missing("image_id", "an integer");
    builder_.add_annotation(*entry.image_id, finished(entry, entry_));
  }

  void segments(json::object object) {
    std::vector<Annotation> found;
    std::optional<std::int64_t> image_id;
    std::string file_name;
    bool listed = false;
    for (auto field : object) {
      const json::raw_json_string key = field.key();
      if (is(key, "image_id")) {
        image_id = integer(field.value());
      } else if (is(key, "file_name")) {
        file_name = text(field.value());
      } else if (is(key, "segments_info")) {
        listed = true;
        json::value value = field.value();
        json::array array;
        if (is_other_type(value.get_array().get(array))) fail(describe(value.type()), "an array");
        for (auto element : array) {
          ++segment_;
          key_ = "";
          found.push_back(segment(this->object(element.value())));
        }
        segment_ = -1;
      }
    }
    if (!image_id) fail_missing("image_id", "an integer");
    if (!listed) fail_missing("segments_info", "an array; is this a panoptic file?");
    if (!file_name.empty()) builder_.set_segmentation_file(*image_id, std::move(file_name));
    for (const Annotation& annotation : found) builder_.add_annotation(*image_id, annotation);
  }

  Annotation segment(json::object object) {
    Entry entry = blank_entry();
    for (auto field : object) common_field(field.key(), field.value(), entry);
    if (!entry.id) fail_missing("id", "an integer");
    if (!entry.category_id) fail_missing("category_id", "an integer");
    return finished(entry, 0);
  }

  void check_categories(const AnnotationIndex& index) const {
    for (std::size_t i = 0; i < index.images.size(); ++i) {
      for (const Annotation& annotation : index.annotations_of(i)) {
        if (index.find_category(annotation.category_id) != nullptr) continue;
        throw Error({.doing = "reading annotations",
                     .where = path_.string(),
                     .found = "category " + std::to_string(annotation.category_id) + " on segment " +
                              std::to_string(annotation.id) + " of image " + std::to_string(index.images[i].id),
                     .expected = "a category the file lists"});
      }
    }
  }

  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  std::filesystem::path path_;
  bool panoptic_;
  AnnotationIndexBuilder builder_;
  std::string section_;
  std::int64_t entry_ = -1;
  std::int64_t segment_ = -1;
  const char* key_ = "";
};

}  // namespace

AnnotationIndex read_coco(const std::filesystem::path& path) {
  return Walker(path, false).read();
}

AnnotationIndex read_coco_panoptic(const std::filesystem::path& path) {
  return Walker(path, true).read();
}

}  // namespace clipself::datasets
