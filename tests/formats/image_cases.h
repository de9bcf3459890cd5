// tests/reference/images: pictures in every mode, and checksums of what Pillow 9.4 makes of them.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "clipself/base/file.h"
#include "clipself/formats/image.h"

namespace clipself::image_cases {

inline std::filesystem::path reference(const std::string& name) {
  return std::filesystem::path(CLIPSELF_SOURCE_DIR) / "tests/reference" / name;
}

/// The list under `key` of a JSON file among the references; a copy, so that a loop may run over it.
inline nlohmann::json read_list(const std::string& name, const char* key) {
  return nlohmann::json::parse(read_text(reference(name))).at(key);
}

inline std::uint32_t checksum(const formats::Image& image) {
  return static_cast<std::uint32_t>(crc32(0, image.pixels.data(), static_cast<uInt>(image.pixels.size())));
}

}  // namespace clipself::image_cases
