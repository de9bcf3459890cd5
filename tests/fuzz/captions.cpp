#include "clipself/datasets/captions.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  fuzz::expect_error_or_success([&] { static_cast<void>(datasets::read_coco_captions(file.holding(data, size))); });
  return 0;
}
