// The JSON side of datasets/annotations.
#include <limits>
#include <optional>

#include "clipself/base/error.h"
#include "clipself/datasets/annotations_builder.h"
#include "clipself/datasets/json_walker.h"

namespace clipself::datasets {
namespace {

namespace json = simdjson::ondemand;

class AnnotationWalker : private JsonWalker {
 public:
  AnnotationWalker(const std::filesystem::path& path, bool panoptic, const ReadOptions& options)
      : JsonWalker(path, "reading annotations"), panoptic_(panoptic), options_(options) {}

  AnnotationIndex read() {
    walk([this](json::document& document) {
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
    });
    AnnotationIndex index = std::move(builder_).finish(path_.string());
    if (panoptic_) check_categories(index);
    return index;
  }

 private:
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
      } else if (options_.federated && is(key, "neg_category_ids")) {
        image.negative_categories = integers(field.value());
      } else if (options_.federated && is(key, "not_exhaustive_category_ids")) {
        image.not_exhaustive_categories = integers(field.value());
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
      } else if (options_.federated && is(key, "frequency")) {
        const std::string group = text(field.value());
        if (group != "r" && group != "c" && group != "f") fail("\"" + group + "\"", "\"r\", \"c\" or \"f\"");
        category.frequency = group[0];
      } else if (options_.federated && is(key, "image_count")) {
        category.image_count = integer(field.value());
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
    } else if (is(key, "ignore")) {
      entry.annotation.ignore = flag(value);
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
    entry.annotation.bbox.fill(std::numeric_limits<double>::quiet_NaN());
    return entry;
  }

  void annotation(json::object object) {
    Entry entry = blank_entry();
    for (auto field : object) {
      const json::raw_json_string key = field.key();
      if (common_field(key, field.value(), entry)) continue;
      if (options_.segmentations && is(key, "segmentation"))
        entry.annotation.segmentation = segmentation(field.value(), builder_.segmentations());
    }
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
          found.push_back(segment(as_object(element.value())));
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

  bool panoptic_;
  ReadOptions options_;
  AnnotationIndexBuilder builder_;
};

}  // namespace

AnnotationIndex read_coco(const std::filesystem::path& path, const ReadOptions& options) {
  return AnnotationWalker(path, false, options).read();
}

AnnotationIndex read_coco_panoptic(const std::filesystem::path& path) {
  return AnnotationWalker(path, true, {}).read();
}

}  // namespace clipself::datasets
