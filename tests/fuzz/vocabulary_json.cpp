// vocab.json and merges.txt, a zero byte between them.
#include "clipself/models/tokenizer_kinds.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  const auto input = fuzz::text(data, size);
  const auto end = std::min(input.find('\0'), input.size());
  fuzz::expect_error_or_success([&] {
    const auto merges = input.substr(std::min(end + 1, input.size()));
    const auto tokenizer = models::parse_vocabulary_and_merges(input.substr(0, end), merges, "input");
    static_cast<void>(tokenizer->decode(tokenizer->encode("A photo of a caf\xc3\xa9.")));
  });
  return 0;
}
