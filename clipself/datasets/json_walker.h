// Inside of datasets: walking a large JSON file with simdjson's on-demand parser, and saying where in it something is
// wrong. Values nobody asks for are stepped over without being looked at.
#pragma once

#include <simdjson.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "clipself/base/file.h"
#include "clipself/datasets/segmentations.h"

namespace clipself::datasets {

/// A file's text as simdjson wants it, which reads behind its end. Good for as long as the file.
simdjson::padded_string_view padded_text(const MappedFile& file);

/// "an array", "null" …
const char* describe(simdjson::ondemand::json_type type);
/// False when the value was read, true when it is of another type than asked for; anything else is broken JSON.
bool is_other_type(simdjson::error_code result);

/// Typed values of one file; where they are (section, entry, key) goes into messages. All throw Error for a value of
/// another type.
class JsonWalker {
 public:
  using object = simdjson::ondemand::object;
  using value = simdjson::ondemand::value;
  using key = simdjson::ondemand::raw_json_string;

 protected:
  JsonWalker(std::filesystem::path path, const char* doing) : path_(std::move(path)), doing_(doing) {}
  ~JsonWalker() = default;

  /// Parses the file and hands its top to `read`. Broken JSON and text after the end become Errors.
  void walk(const std::function<void(simdjson::ondemand::document&)>& read);

  [[noreturn]] void fail(const std::string& found, const std::string& expected) const;
  [[noreturn]] void fail_missing(const char* key, const std::string& expected);

  /// The elements of an array, which `section_` names from now on; all must be objects.
  void each(const char* section, value array, const std::function<void(object)>& read);
  void each_of(simdjson::ondemand::array& array, const std::function<void(object)>& read);

  /// True for the key of that name, in which we are from now on.
  bool is(key key, const char* name) {
    if (!(key == name)) return false;
    key_ = name;
    return true;
  }

  object as_object(value value) const;
  std::int64_t integer(value value) const;  ///< 12.0 is one
  double number(value value, double when_null) const;
  bool flag(value value) const;                                             ///< true, false, null, or an integer
  std::string text(value value) const;                                      ///< "" for null
  int side(value value) const;                                              ///< a size in pixels, 0 for null
  std::array<double, 4> box(value value, bool may_be_empty = false) const;  ///< NaN for null, and for [] if it may be
  std::vector<std::int64_t> integers(value value) const;                    ///< none for null
  /// Polygons or run lengths, put into `store`. kNoSegmentation for null and an empty list.
  SegmentationHandle segmentation(value value, SegmentationStore& store) const;

  std::filesystem::path path_;
  const char* doing_;
  std::string section_;
  std::int64_t entry_ = -1;
  std::int64_t segment_ = -1;
  const char* key_ = "";

 private:
  std::string place() const;
  formats::Rle run_lengths(value value) const;
};

}  // namespace clipself::datasets
