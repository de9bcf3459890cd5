// SHA-256 (FIPS 180-4), by which the preprocess cases name whole pictures.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace clipself::cli::verify {

/// 64 lower-case hexadecimal digits.
std::string sha256(std::span<const std::uint8_t> bytes);

}  // namespace clipself::cli::verify
