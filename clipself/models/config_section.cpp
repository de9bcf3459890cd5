#include "clipself/models/config_section.h"

#include "clipself/base/error.h"

namespace clipself::models {

ConfigSection::ConfigSection(const nlohmann::json& object, std::string model, std::string path)
    : object_(object), model_(std::move(model)), path_(std::move(path)) {
  if (!object.is_object()) {
    throw Error({.doing = "reading model configuration",
                 .where = path_.empty() ? model_ : model_ + ": " + path_,
                 .found = object.type_name(),
                 .expected = "an object"});
  }
}

bool ConfigSection::has(const char* key) const {
  const auto found = object_.find(key);
  return found != object_.end() && !found->is_null();
}

int ConfigSection::positive(const char* key, int fallback, int limit) const {
  const int value = fallback > 0 ? get<int>(key, fallback) : require<int>(key);
  if (value < 1 || value > limit) fail(key, std::to_string(value), "1 to " + std::to_string(limit));
  return value;
}

ConfigSection ConfigSection::section(const char* key) const {
  const auto found = object_.find(key);
  if (found == object_.end()) fail(key, "no such key", "an object");
  return {*found, model_, path_.empty() ? key : path_ + "." + key};
}

void ConfigSection::fail(const std::string& key, const std::string& found, const std::string& expected) const {
  throw Error({.doing = "reading model configuration",
               .where = model_ + ": " + (path_.empty() ? key : path_ + "." + key),
               .found = found,
               .expected = expected});
}

void ConfigSection::demand(bool fits, const char* key, const char* found, const char* expected) const {
  if (!fits) fail(key, found, expected);
}

}  // namespace clipself::models
