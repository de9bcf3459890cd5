// What is in a file: for `clipself info`, and `clipself verify` of files.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace clipself::cli {

/// "format" and what can be said of it, by content: torch archives, safetensors, .npy, JPEG, PNG, JSON of annotations,
/// results and models. `list`: with every tensor. Throws Error for any other file and for one that is not whole.
nlohmann::ordered_json describe_file(const std::filesystem::path& path, bool list = false);

}  // namespace clipself::cli
