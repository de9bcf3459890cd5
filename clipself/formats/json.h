// Small JSON files as trees.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace clipself::formats {

/// The value that `text` is; one of which is_discarded() is true when it is broken, or nests deeper than 100: copying,
/// comparing and printing a tree recurse.
nlohmann::json parse_json(std::string_view text);

}  // namespace clipself::formats
