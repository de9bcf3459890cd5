// .pt: the zip archive of torch.save, read as a tree, as records, and checked.
#include "clipself/formats/torch_archive.h"

#include "clipself/formats/zip.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  const auto& path = file.holding(data, size);
  fuzz::expect_error_or_success([&] { fuzz::touch(formats::read_torch_archive(path)); });
  fuzz::expect_error_or_success([&] { formats::verify_torch_archive(path); });
  fuzz::expect_error_or_success([&] {
    formats::ZipReader zip{MappedFile(path)};
    for (const auto& entry : zip.entries()) {
      zip.reserve(entry);
      std::string content(entry.size, '\0');
      zip.read(entry, std::as_writable_bytes(std::span(content)));
    }
  });
  return 0;
}
