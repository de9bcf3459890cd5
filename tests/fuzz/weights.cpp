// What is read from tensor files besides tensors: weights by name, class embeddings, training checkpoints.
#include "clipself/formats/state_dict.h"
#include "clipself/models/text_embeddings.h"
#include "clipself/training/checkpoint.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  const auto& path = file.holding(data, size);
  fuzz::expect_error_or_success([&] { static_cast<void>(formats::read_state_dict(path)); });
  fuzz::expect_error_or_success([&] { static_cast<void>(models::read_class_embeddings(path)); });
  fuzz::expect_error_or_success([&] { static_cast<void>(training::read_checkpoint(path)); });
  return 0;
}
