// COCO's run-length masks: the runs themselves, and their two JSON forms (a list of counts, a text of counts).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clipself/base/error.h"

namespace clipself::formats {

/// A binary mask as lengths of runs in column-major order (down each column, then the next column): counts[0] pixels
/// outside, counts[1] inside, and so on in turn; a mask that begins inside has counts[0] = 0. The counts add up to
/// height * width.
struct Rle {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<std::uint32_t> counts{};
  bool operator==(const Rle&) const = default;
};

/// What is wrong with a mask that was read; its parts, for a message that also says where.
class RleError : public Error {
 public:
  RleError(std::string found, std::string expected);
  const std::string& found() const { return found_; }
  const std::string& expected() const { return expected_; }

 private:
  std::string found_, expected_;
};

/// The text of `counts`: from the third on each count is the difference to the last but one, in groups of five bits,
/// lowest first, a sixth bit saying that more follow, each group a character from '0' on.
std::string rle_text(const Rle& rle);
/// Its inverse. Throws RleError for a text that is cut off, has other characters or negative counts, or whose counts do
/// not add up to height * width; and for a size below 1 or of 2^32 pixels or more.
Rle read_rle(std::string_view text, std::int64_t height, std::int64_t width);
/// From the list form. Throws RleError as above.
Rle read_rle(std::span<const std::int64_t> counts, std::int64_t height, std::int64_t width);

}  // namespace clipself::formats
