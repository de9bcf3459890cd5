// Reading one object of a model configuration's JSON, so that every error can say which key of which model.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>

namespace clipself::models {

class ConfigSection {
 public:
  /// Throws Error when `object` is no JSON object. `path` is where it lies in the file, "" for the root. The object
  /// must outlive this.
  ConfigSection(const nlohmann::json& object, std::string model, std::string path);

  bool has(const char* key) const;
  /// The value of `key`, or `fallback` when it is missing or null. Throws Error for another type.
  template <typename T>
  T get(const char* key, T fallback) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? fallback : convert<T>(*found, key);
  }
  /// Throws Error also when the key is missing.
  template <typename T>
  T require(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(key, "no such key", "a value");
    return convert<T>(*found, key);
  }
  /// An integer of 1 to `limit`; required when `fallback` is 0.
  int positive(const char* key, int fallback, int limit) const;
  ConfigSection section(const char* key) const;
  const nlohmann::json& object() const { return object_; }

  [[noreturn]] void fail(const std::string& key, const std::string& found, const std::string& expected) const;
  /// fail() unless `fits`.
  void demand(bool fits, const char* key, const char* found, const char* expected) const;

 private:
  template <typename T>
  T convert(const nlohmann::json& value, const char* key) const {
    constexpr bool kBool = std::is_same_v<T, bool>, kText = std::is_same_v<T, std::string>;
    const bool fits = kBool                    ? value.is_boolean()
                      : kText                  ? value.is_string()
                      : std::is_same_v<T, int> ? value.is_number_integer()
                                               : value.is_number();
    if (!fits) fail(key, value.dump().substr(0, 40), kBool ? "true or false" : kText ? "a string" : "a number");
    // Numbers too large for an int would wrap.
    if (std::is_same_v<T, int> && (value.get<double>() > 1e9 || value.get<double>() < -1e9))
      fail(key, value.dump().substr(0, 40), "a smaller number");
    return value.get<T>();
  }

  const nlohmann::json& object_;
  std::string model_, path_;
};

}  // namespace clipself::models
