#include "clipself/formats/npy.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  fuzz::expect_error_or_success([&] { fuzz::touch(formats::read_noted_npy(file.holding(data, size)).array); });
  return 0;
}
