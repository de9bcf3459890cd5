// CRC-32C (Castagnoli), the checksum of TFRecord files.
#pragma once

#include <cstdint>
#include <string_view>

namespace clipself::formats {

/// The checksum of RFC 3720, appendix B.4.
std::uint32_t crc32c(std::string_view data);
/// As TFRecord stores it: rotated and offset, so that a checksum over data with checksums in it stays meaningful.
std::uint32_t masked_crc32c(std::string_view data);

}  // namespace clipself::formats
