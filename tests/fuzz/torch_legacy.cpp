// .pth: the stream that torch.save wrote before 1.6. Inputs begin behind the magic number, which every file has.
#include "clipself/formats/torch_legacy.h"

#include "clipself/formats/torch_archive.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  constexpr std::string_view kMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  static fuzz::InputFile file;
  const auto& path = file.holding(std::string(kMagic).append(fuzz::text(data, size)));
  fuzz::expect_error_or_success([&] { fuzz::touch(formats::read_torch_archive(path)); });
  return 0;
}
