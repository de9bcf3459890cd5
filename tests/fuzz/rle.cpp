// Run lengths as a text and as a list. The input: height and width, 4 bytes each, then the counts.
#include "clipself/formats/rle.h"

#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  std::int32_t sides[2];
  if (size < sizeof(sides)) return 0;
  std::memcpy(sides, data, sizeof(sides));
  data += sizeof(sides);
  size -= sizeof(sides);
  fuzz::expect_error_or_success([&] {
    const auto rle = formats::read_rle(fuzz::text(data, size), sides[0], sides[1]);
    if (formats::read_rle(formats::rle_text(rle), sides[0], sides[1]) != rle) std::abort();
  });
  std::vector<std::int64_t> counts(size / sizeof(std::int64_t));
  if (!counts.empty()) std::memcpy(counts.data(), data, counts.size() * sizeof(std::int64_t));
  fuzz::expect_error_or_success([&] { static_cast<void>(formats::read_rle(counts, sides[0], sides[1])); });
  return 0;
}
