#include "clipself/formats/torch_legacy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "clipself/base/error.h"
#include "clipself/formats/bytes.h"
#include "clipself/formats/mapped_tensor.h"
#include "clipself/formats/pickle.h"

namespace clipself::formats {
namespace {

// LONG1, ten bytes: 0x1950a86a20f9469cfc6c, then STOP.
constexpr std::array<unsigned char, 13> kMagic = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                                  0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
constexpr std::int64_t kProtocolVersion = 1001;

struct Pending {
  at::Storage storage;
  std::size_t element = 0;
  std::size_t alignment = 0;
  std::int64_t numel = 0;
  bool filled = false;
};

class LegacyReader {
 public:
  explicit LegacyReader(MappedFile file) : file_(std::move(file)), bytes_(file_.bytes()) {}

  Value run() {
    at_ = *legacy_header_size(bytes_);
    const Value version = next();
    if (!version.is(Value::Kind::kInt) || version.as_int() != kProtocolVersion) {
      fail("a legacy file of another protocol", fmt::format("{}", kProtocolVersion));
    }
    const Value system = next();
    const Value* little = system.find("little_endian");
    if (little == nullptr || !little->is(Value::Kind::kBool) || !little->as_bool()) {
      fail("big-endian data", "little-endian", "load it in PyTorch and save it again");
    }
    Value value = next();
    const Value keys = next();
    if (!keys.is(Value::Kind::kList)) fail(keys.describe() + " as the storages' keys", "a list");
    for (const Value& key : keys.as_list()) fill(key);
    for (const auto& [key, pending] : storages_) {
      if (!pending.filled) fail("no data for storage '" + key + "'", {}, "was the file cut off?");
    }
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& expected = {}, const std::string& hint = {}) {
    throw Error({.doing = "reading checkpoint",
                 .where = file_.path().string(),
                 .found = found,
                 .expected = expected,
                 .hint = hint});
  }

  Value next() {
    PickleSource source;
    source.where = file_.path().string();
    source.file_size = bytes_.size();
    source.storage = [this](const StorageRequest& request) { return storage(request); };
    Unpickled result = unpickle(bytes_.subspan(at_), source);
    at_ += result.length;
    return std::move(result.value);
  }

  at::Storage storage(const StorageRequest& request) {
    const std::size_t element = c10::elementSize(request.dtype);
    const std::uint64_t bytes = static_cast<std::uint64_t>(request.numel) * element;
    if (bytes > bytes_.size()) {
      fail(fmt::format("storage '{}' of {} bytes in a file of {}", request.key, bytes, bytes_.size()), {},
           "was the file cut off?");
    }
    auto [found, added] = storages_.try_emplace(request.key);
    Pending& pending = found->second;
    if (added) {
      pending = {pending_storage(bytes), element, storage_alignment(request), request.numel, false};
    } else if (pending.storage.nbytes() < bytes) {
      fail(fmt::format("storage '{}' of {} bytes and of {}", request.key, pending.storage.nbytes(), bytes));
    }
    return pending.storage;
  }

  void fill(const Value& key) {
    const std::string name = key.is(Value::Kind::kInt) ? std::to_string(key.as_int()) : key.as_string();
    const auto found = storages_.find(name);
    if (found == storages_.end() || found->second.filled) fail("data of an unknown storage '" + name + "'");
    Pending& pending = found->second;
    if (bytes_.size() - at_ < 8) fail("the end of the file in the data", {}, "was the file cut off?");
    const auto numel = load<std::int64_t>(bytes_, at_);
    at_ += 8;
    if (numel != pending.numel) {
      fail(fmt::format("storage '{}' of {} elements", name, numel), fmt::format("{}", pending.numel));
    }
    const std::size_t bytes = static_cast<std::size_t>(numel) * pending.element;
    if (bytes_.size() - at_ < bytes) fail("the end of the file in the data", {}, "was the file cut off?");
    fill_storage(pending.storage, file_, file_.private_bytes().subspan(at_, bytes), pending.alignment);
    pending.filled = true;
    at_ += bytes;
  }

  MappedFile file_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::unordered_map<std::string, Pending> storages_;
};

}  // namespace

std::optional<std::size_t> legacy_header_size(std::span<const std::byte> head) {
  // PROTO and its number; protocol 4 and later put a FRAME with its 8 bytes of length between them and the number.
  for (const std::size_t start : {std::size_t{2}, std::size_t{11}}) {
    if (head.size() < start + kMagic.size() || head[0] != std::byte{0x80}) continue;
    const auto* number = reinterpret_cast<const unsigned char*>(head.data()) + start;
    if (std::equal(kMagic.begin(), kMagic.end(), number)) return start + kMagic.size();
  }
  return std::nullopt;
}

Value read_torch_legacy(MappedFile file) {
  return LegacyReader(std::move(file)).run();
}

}  // namespace clipself::formats
