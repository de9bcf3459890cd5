// A pickle alone, without an archive's checksums around it. Storages of up to a kilobyte are there under any name.
#include "clipself/formats/pickle.h"

#include "clipself/formats/mapped_tensor.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  constexpr std::size_t kStorage = 1024;
  formats::PickleSource source;
  source.where = "input";
  source.file_size = size;
  source.storage = [](const formats::StorageRequest& request) {
    const auto bytes = static_cast<std::uint64_t>(request.numel) * c10::elementSize(request.dtype);
    if (bytes > kStorage) throw Error("a storage larger than its record");
    at::Storage storage = formats::empty_storage(bytes);
    std::fill_n(static_cast<char*>(storage.mutable_data()), bytes, '\1');
    return storage;
  };
  fuzz::expect_error_or_success([&] { fuzz::touch(formats::unpickle(fuzz::bytes(data, size), source).value); });
  return 0;
}
