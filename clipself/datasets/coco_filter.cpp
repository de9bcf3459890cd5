#include "clipself/datasets/coco_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "clipself/base/error.h"
#include "clipself/datasets/json_walker.h"

namespace clipself::datasets {
namespace {

namespace json = simdjson::ondemand;

/// Which entries of each section stay, by their place in it.
struct KeepLists {
  std::vector<bool> images, annotations, categories;
  const std::vector<bool>* of(json::raw_json_string key) const {
    if (key == "images") return &images;
    if (key == "annotations") return &annotations;
    if (key == "categories") return &categories;
    return nullptr;
  }
};

/// The first reading: ids, and from them what stays.
class CocoSurvey : private JsonWalker {
 public:
  explicit CocoSurvey(const std::filesystem::path& path) : JsonWalker(path, "reading annotations") {}

  KeepLists choose(const CocoFilter& filter, CocoFilterResult& result) {
    walk([this](json::document& document) {
      json::object top;
      if (is_other_type(document.get_object().get(top))) fail(describe(document.type()), "an object");
      for (auto field : top) {
        const json::raw_json_string key = field.key();
        entry_ = -1;
        key_ = "";
        for (Section& section : sections_) {
          if (!(key == section.name)) continue;
          if (section.found) fail(fmt::format("`{}` a second time", section.name), "one");
          section.found = true;
          each(section.name, field.value(), [&](json::object object) { (this->*section.read)(object); });
        }
        section_ = "";
      }
    });
    for (const Section& section : sections_)
      if (!section.found) fail(fmt::format("no `{}`", section.name), "images, annotations and categories");
    entry_ = -1;
    key_ = "";
    return decide(filter, result);
  }

 private:
  struct Section {
    const char* name;
    void (CocoSurvey::*read)(json::object);
    bool found = false;
  };
  struct Owner {
    std::int64_t image, category;
  };

  void read_image(json::object object) {
    std::optional<std::int64_t> id;
    for (auto field : object)
      if (is(field.key(), "id")) id = integer(field.value());
    if (!id) fail_missing("id", "an integer");
    images_.push_back(*id);
  }

  void read_annotation(json::object object) {
    std::optional<std::int64_t> image, category;
    for (auto field : object) {
      const json::raw_json_string key = field.key();
      if (is(key, "image_id")) {
        image = integer(field.value());
      } else if (is(key, "category_id")) {
        category = integer(field.value());
      }
    }
    if (!image) fail_missing("image_id", "an integer");
    if (!category) fail_missing("category_id", "an integer");
    owners_.push_back({*image, *category});
  }

  void read_category(json::object object) {
    Category category;
    std::optional<std::int64_t> id;
    for (auto field : object) {
      const json::raw_json_string key = field.key();
      if (is(key, "id")) {
        id = integer(field.value());
      } else if (is(key, "name")) {
        category.name = text(field.value());
      } else if (is(key, "frequency")) {
        const std::string group = text(field.value());
        category.frequency = group.empty() ? '\0' : group[0];
      }
    }
    if (!id) fail_missing("id", "an integer");
    if (category.name.empty()) fail_missing("name", "the class's name");
    category.id = *id;
    categories_.push_back(std::move(category));
  }

  KeepLists decide(const CocoFilter& filter, CocoFilterResult& result) {
    KeepLists keep;
    for (const std::string& name : filter.required) {
      if (std::none_of(categories_.begin(), categories_.end(), [&](const Category& c) { return c.name == name; }))
        fail(fmt::format("no category '{}'", name), fmt::format("all {} classes of the split", filter.required.size()));
    }
    std::unordered_map<std::int64_t, bool> annotated;  // by category id, all of them
    for (const Category& category : categories_) {
      const bool kept = filter.keep_category(category);
      keep.categories.push_back(kept);
      annotated[category.id] = kept && filter.keep_annotations(category);
      if (kept) result.listed.push_back(category);
    }
    const std::unordered_set<std::int64_t> known(images_.begin(), images_.end());
    std::unordered_map<std::int64_t, std::unordered_set<std::int64_t>> images_of;
    std::unordered_set<std::int64_t> shown;
    for (std::size_t i = 0; i < owners_.size(); ++i) {
      const auto [image, category] = owners_[i];
      const auto found = annotated.find(category);
      if (found == annotated.end() || !known.contains(image)) {
        fail(fmt::format("annotations[{}] of image {} and category {}", i, image, category),
             "an image and a category that the file has");
      }
      keep.annotations.push_back(found->second);
      if (!found->second) continue;
      shown.insert(image);
      images_of[category].insert(image);
    }
    for (const std::int64_t image : images_) keep.images.push_back(filter.keep_empty_images || shown.contains(image));
    const auto count = [](const std::vector<bool>& kept) {
      return KeptCount{std::count(kept.begin(), kept.end(), true), static_cast<std::int64_t>(kept.size())};
    };
    result.images = count(keep.images);
    result.annotations = count(keep.annotations);
    result.categories = count(keep.categories);
    for (const auto& [category, images] : images_of)
      result.images_of[category] = static_cast<std::int64_t>(images.size());
    if (result.annotations.kept == 0)
      fail(fmt::format("no annotation left of {}", result.annotations.found), "annotations of the classes");
    return keep;
  }

  std::array<Section, 3> sections_{{{"images", &CocoSurvey::read_image},
                                    {"annotations", &CocoSurvey::read_annotation},
                                    {"categories", &CocoSurvey::read_category}}};
  std::vector<std::int64_t> images_;
  std::vector<Owner> owners_;
  std::vector<Category> categories_;
};

/// Text gathered into large writes.
class BufferedOutput {
 public:
  explicit BufferedOutput(AtomicFile& file) : file_(file) {}
  void add(std::string_view text) {
    buffer_ += text;
    if (buffer_.size() > kLimit) flush();
  }
  void flush() {
    file_.write(std::string_view(buffer_));
    buffer_.clear();
  }

 private:
  static constexpr std::size_t kLimit = 1 << 20;
  AtomicFile& file_;
  std::string buffer_;
};

/// A key as it is written.
std::string_view escaped(json::raw_json_string key) {
  const char* end = key.raw();
  while (*end != '"') end += *end == '\\' ? 2 : 1;
  return {key.raw(), static_cast<std::size_t>(end - key.raw())};
}

/// A value as it is written.
std::string_view slice(json::value value) {
  const std::string_view text = simdjson::to_json_string(value);
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

/// The second reading: slices of the file's own text.
class CocoCopy : private JsonWalker {
 public:
  explicit CocoCopy(const std::filesystem::path& path) : JsonWalker(path, "copying annotations") {}

  std::vector<std::string> write(const KeepLists& keep, AtomicFile& file) {
    BufferedOutput out(file);
    std::vector<std::string> categories;
    walk([&](json::document& document) {
      std::string_view separator = "{";
      for (auto field : document.get_object()) {
        const json::raw_json_string key = field.key();
        const auto* kept = keep.of(key);
        out.add(separator);
        separator = ",\n";
        out.add(fmt::format("\"{}\": ", escaped(key)));
        if (kept == nullptr) {
          out.add(slice(field.value()));
          continue;
        }
        out.add("[");
        std::size_t place = 0;
        std::string_view comma = "";
        for (auto entry : field.value().get_array()) {
          const std::string_view text = slice(entry.value());
          if (!(*kept)[place++]) continue;
          out.add(comma);
          comma = ",\n";
          out.add(text);
          if (kept == &keep.categories) categories.emplace_back(text);
        }
        out.add("]");
      }
      out.add("}\n");
    });
    out.flush();
    return categories;
  }
};

}  // namespace

CocoFilterResult filter_coco(const std::filesystem::path& in, AtomicFile& out, const CocoFilter& filter) {
  CocoFilterResult result;
  const KeepLists keep = CocoSurvey(in).choose(filter, result);
  result.categories_json = CocoCopy(in).write(keep, out);
  return result;
}

}  // namespace clipself::datasets
