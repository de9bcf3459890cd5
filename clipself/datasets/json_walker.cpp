#include "clipself/datasets/json_walker.h"

#include <cmath>
#include <limits>
#include <string_view>

#include "clipself/base/error.h"

namespace clipself::datasets {
namespace {

namespace json = simdjson::ondemand;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kFarthest = 1e9;  // of any coordinate, in pixels

// What was found where a number was expected and could not be read.
const char* describe_unread(json::value value) {
  const json::json_type type = value.type();
  return type == json::json_type::number ? "a malformed number" : describe(type);
}

}  // namespace

simdjson::padded_string_view padded_text(const MappedFile& file) {
  static_assert(simdjson::SIMDJSON_PADDING <= MappedFile::kPadding);
  return simdjson::padded_string_view(file.text().data(), file.size(), file.size() + MappedFile::kPadding);
}

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

bool is_other_type(simdjson::error_code result) {
  if (result == simdjson::SUCCESS) return false;
  if (result == simdjson::INCORRECT_TYPE) return true;
  throw simdjson::simdjson_error(result);
}

void JsonWalker::walk(const std::function<void(json::document&)>& read) {
  const MappedFile file(path_);
  const auto padded = padded_text(file);
  json::parser parser;
  json::document document;
  bool begun = false;  // a document that never began cannot say where it is
  try {
    document = parser.iterate(padded);
    begun = true;
    read(document);
    const char* rest = nullptr;
    if (document.current_location().get(rest) == simdjson::SUCCESS) {
      section_ = key_ = "";
      entry_ = segment_ = -1;
      fail("more text after the end, at byte " + std::to_string(rest - padded.data()), "one JSON value");
    }
  } catch (const simdjson::simdjson_error& error) {
    const bool cut = error.error() == simdjson::INCOMPLETE_ARRAY_OR_OBJECT;  // found before anything is read
    std::string found = cut ? "an array or object that does not end, in " + std::to_string(padded.size()) + " bytes"
                            : std::string(simdjson::error_message(error.error()));
    const char* at = nullptr;
    if (begun && !cut && document.current_location().get(at) == simdjson::SUCCESS) {
      found += " near byte " + std::to_string(at - padded.data());
    }
    fail(found, "valid JSON");
  }
}

void JsonWalker::fail(const std::string& found, const std::string& expected) const {
  throw Error({.doing = doing_,
               .where = path_.string(),
               .found = found + (place().empty() ? "" : " at " + place()),
               .expected = expected});
}

void JsonWalker::fail_missing(const char* key, const std::string& expected) {
  key_ = key;
  fail("nothing", expected);
}

std::string JsonWalker::place() const {
  std::string place = section_;
  if (entry_ >= 0) place += "[" + std::to_string(entry_) + "]";
  if (segment_ >= 0) place += ".segments_info[" + std::to_string(segment_) + "]";
  if (*key_ != '\0') place += std::string(place.empty() ? "" : ".") + key_;
  return place;
}

void JsonWalker::each(const char* section, value value, const std::function<void(object)>& read) {
  section_ = section;
  json::array array;
  if (is_other_type(value.get_array().get(array))) fail(describe(value.type()), "an array");
  each_of(array, read);
}

void JsonWalker::each_of(json::array& array, const std::function<void(object)>& read) {
  for (auto element : array) {
    ++entry_;
    key_ = "";
    read(as_object(element.value()));
  }
  key_ = "";
}

JsonWalker::object JsonWalker::as_object(value value) const {
  json::object object;
  if (is_other_type(value.get_object().get(object))) fail(describe(value.type()), "an object");
  return object;
}

std::int64_t JsonWalker::integer(value value) const {
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
double JsonWalker::number(value value, double when_null) const {
  double real = 0;
  if (value.get_double().get(real) == simdjson::SUCCESS) return real;
  if (value.is_null()) return when_null;
  fail(describe_unread(value), "a number");
}

bool JsonWalker::flag(value value) const {
  bool truth = false;
  if (value.get_bool().get(truth) == simdjson::SUCCESS) return truth;
  if (value.is_null()) return false;
  return integer(value) != 0;
}

std::string JsonWalker::text(value value) const {
  std::string_view view;
  if (!is_other_type(value.get_string().get(view))) return std::string(view);
  if (value.is_null()) return {};
  fail(describe(value.type()), "a string");
}

int JsonWalker::side(value value) const {
  const double real = number(value, 0);
  if (!(real >= 0 && real <= std::numeric_limits<int>::max())) fail(std::to_string(real), "a size in pixels");
  return static_cast<int>(real);
}

std::array<double, 4> JsonWalker::box(value value, bool may_be_empty) const {
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
  if (count == 0 && may_be_empty) return box;
  if (count != box.size()) fail("an array of " + std::to_string(count), "an array of four numbers");
  return box;
}

std::vector<std::int64_t> JsonWalker::integers(value value) const {
  std::vector<std::int64_t> numbers;
  json::array array;
  if (is_other_type(value.get_array().get(array))) {
    if (value.is_null()) return numbers;
    fail(describe(value.type()), "an array of integers");
  }
  for (auto element : array) numbers.push_back(integer(element.value()));
  return numbers;
}

SegmentationHandle JsonWalker::segmentation(value value, SegmentationStore& store) const {
  constexpr const char* kExpected = "polygons or run lengths";
  const json::json_type type = value.type();
  if (type == json::json_type::null) return kNoSegmentation;
  if (type == json::json_type::object) return store.add(run_lengths(value));
  if (type != json::json_type::array) fail(describe(type), kExpected);
  std::vector<Polygon> polygons;
  for (auto element : json::array(value.get_array())) {
    json::value list = element.value();
    json::array coordinates;
    if (is_other_type(list.get_array().get(coordinates))) fail(describe(list.type()), "polygons, each an array");
    Polygon& polygon = polygons.emplace_back();
    for (auto coordinate : coordinates) {
      polygon.push_back(number(coordinate.value(), kNaN));
      if (!(std::abs(polygon.back()) <= kFarthest)) fail(std::to_string(polygon.back()), "a coordinate in pixels");
    }
    if (polygon.size() < 4 || polygon.size() % 2 != 0)
      fail("a polygon of " + std::to_string(polygon.size()) + " numbers", "an even number of at least 4");
    if (polygons.front().size() == 4 && polygon.size() != 4) fail("a box and then a polygon", "boxes or polygons");
  }
  return polygons.empty() ? kNoSegmentation : store.add(polygons);
}

formats::Rle JsonWalker::run_lengths(value value) const {
  std::vector<std::int64_t> size;
  std::optional<std::vector<std::int64_t>> list;
  std::optional<std::string_view> counts;
  for (auto field : as_object(value)) {
    const json::raw_json_string name = field.key();
    if (name == "size") {
      size = integers(field.value());
    } else if (name == "counts") {
      json::value runs = field.value();
      std::string_view characters;
      if (is_other_type(runs.get_string().get(characters))) {
        list = integers(runs);
      } else {
        counts = characters;
      }
    }
  }
  if (size.size() != 2) fail("run lengths with a size of " + std::to_string(size.size()) + " numbers", "two");
  if (!list && !counts) fail("run lengths without counts", "a text or a list of counts");
  try {
    return counts ? formats::read_rle(*counts, size[0], size[1]) : formats::read_rle(*list, size[0], size[1]);
  } catch (const formats::RleError& error) {
    fail(error.found(), error.expected());
  }
}

}  // namespace clipself::datasets
