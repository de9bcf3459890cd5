#include "clipself/formats/rle.h"

#include <limits>

namespace clipself::formats {
namespace {

constexpr int kGroupBits = 5;
constexpr int kMore = 1 << kGroupBits;
constexpr int kSign = kMore >> 1;
constexpr char kFirstCharacter = '0';
constexpr std::int64_t kMostPixels = std::numeric_limits<std::uint32_t>::max();

std::string size_text(std::int64_t height, std::int64_t width) {
  return "size [" + std::to_string(height) + ", " + std::to_string(width) + "]";
}

void check_size(std::int64_t height, std::int64_t width) {
  if (height < 1 || width < 1 || height > kMostPixels / width)
    throw RleError(size_text(height, width), "a height and a width above 0 of less than 2^32 pixels");
}

/// Takes the counts one by one and keeps watch over their sum.
class RunCollector {
 public:
  RunCollector(std::int64_t height, std::int64_t width) : left_(height * width) {
    rle_.height = height;
    rle_.width = width;
  }
  void add(std::int64_t count) {
    if (count < 0) throw RleError("a run of " + std::to_string(count) + " pixels", "no negative run");
    if (count > left_) throw RleError("runs of more pixels than " + size_text(rle_.height, rle_.width), expected());
    left_ -= count;
    rle_.counts.push_back(static_cast<std::uint32_t>(count));
  }
  std::int64_t last_but_one() const { return rle_.counts[rle_.counts.size() - 2]; }
  std::size_t size() const { return rle_.counts.size(); }
  void reserve(std::size_t runs) { rle_.counts.reserve(runs); }
  Rle finish() && {
    if (left_ != 0)
      throw RleError("runs of " + std::to_string(left_) + " pixels less than " + size_text(rle_.height, rle_.width),
                     expected());
    return std::move(rle_);
  }

 private:
  std::string expected() const { return std::to_string(rle_.height * rle_.width) + " pixels"; }
  std::int64_t left_;
  Rle rle_;
};

}  // namespace

RleError::RleError(std::string found, std::string expected)
    : Error({.doing = "reading a run-length mask", .found = found, .expected = expected}),
      found_(std::move(found)),
      expected_(std::move(expected)) {}

std::string rle_text(const Rle& rle) {
  std::string text;
  text.reserve(2 * rle.counts.size());
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    std::int64_t value = rle.counts[i];
    if (i > 2) value -= rle.counts[i - 2];
    for (bool more = true; more;) {
      int group = static_cast<int>(value & (kMore - 1));
      value >>= kGroupBits;
      more = value != ((group & kSign) != 0 ? -1 : 0);
      if (more) group |= kMore;
      text += static_cast<char>(kFirstCharacter + group);
    }
  }
  return text;
}

Rle read_rle(std::string_view text, std::int64_t height, std::int64_t width) {
  constexpr int kMostBits = 40;  // of a difference of two 32-bit counts, in whole groups
  check_size(height, width);
  RunCollector runs(height, width);
  runs.reserve(text.size() / 2 + 1);
  std::int64_t value = 0;
  int bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int group = text[i] - kFirstCharacter;
    if (group < 0 || group >= 2 * kMore)
      throw RleError("a character of code " + std::to_string(static_cast<unsigned char>(text[i])) + " at position " +
                         std::to_string(i) + " of its counts",
                     "characters from '0' to 'o'");
    if (bits >= kMostBits) throw RleError("a count of too many characters", "counts below 2^32");
    value |= static_cast<std::int64_t>(group & (kMore - 1)) << bits;
    bits += kGroupBits;
    if ((group & kMore) != 0) continue;
    if ((group & kSign) != 0) value -= std::int64_t{1} << bits;
    runs.add(runs.size() > 2 ? value + runs.last_but_one() : value);
    value = 0;
    bits = 0;
  }
  if (bits != 0) throw RleError("counts that end inside a number", "a whole text");
  return std::move(runs).finish();
}

Rle read_rle(std::span<const std::int64_t> counts, std::int64_t height, std::int64_t width) {
  check_size(height, width);
  RunCollector runs(height, width);
  runs.reserve(counts.size());
  for (const std::int64_t count : counts) runs.add(count);
  return std::move(runs).finish();
}

}  // namespace clipself::formats
