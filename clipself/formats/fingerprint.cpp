#include "clipself/formats/fingerprint.h"

#include <fmt/format.h>

#include <cstring>

namespace clipself::formats {

std::string fingerprint(const TensorDict& tensors) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&hash](const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    // Eight bytes at a time: the same mixing, fast enough for gigabytes.
    for (; size >= 8; size -= 8, bytes += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes, 8);
      hash = (hash ^ word) * 0x100000001b3ULL;
      hash ^= hash >> 32;
    }
    for (; size > 0; --size, ++bytes) hash = (hash ^ *bytes) * 0x100000001b3ULL;
  };
  for (const auto& item : tensors) {
    add(item.key().data(), item.key().size());
    const auto tensor = item.value().detach().to(at::kCPU).contiguous();
    add(tensor.sizes().data(), tensor.sizes().size() * sizeof(std::int64_t));
    add(tensor.const_data_ptr(), tensor.nbytes());
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace clipself::formats
