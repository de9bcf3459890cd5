#include "clipself/formats/safetensors.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  fuzz::expect_error_or_success([&] {
    const auto content = formats::read_safetensors(file.holding(data, size));
    for (const auto& item : content.tensors) fuzz::touch(item.value());
  });
  return 0;
}
