#include "clipself/formats/json.h"

namespace clipself::formats {

nlohmann::json parse_json(std::string_view text) {
  using nlohmann::json;
  constexpr int kDeepest = 100;
  bool too_deep = false;
  const auto watch = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  auto value = json::parse(text, watch, /*allow_exceptions=*/false);
  return too_deep ? json(json::value_t::discarded) : value;
}

}  // namespace clipself::formats
