// Vocabularies of every kind, told apart by content: byte pairs (packed or not), tokenizer.json, SentencePiece. One
// that can be read must be able to tokenize.
#include "clipself/models/tokenizer.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  fuzz::expect_error_or_success([&] {
    const auto tokenizer = models::read_tokenizer(file.holding(data, size));
    const std::string texts[] = {"A photo of a <b>caf&eacute;</b>, isn't it?", "\xff\xf0\x9f\x98\x80 <end_of_text> 12"};
    fuzz::expect_error_or_success([&] { static_cast<void>(tokenizer->tokenize(texts, 16)); });
    fuzz::expect_error_or_success([&] { static_cast<void>(tokenizer->decode(tokenizer->encode(texts[0]))); });
  });
  return 0;
}
