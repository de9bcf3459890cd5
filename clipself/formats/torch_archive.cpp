#include "clipself/formats/torch_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/bytes.h"
#include "clipself/formats/mapped_tensor.h"
#include "clipself/formats/pickle.h"
#include "clipself/formats/torch_legacy.h"
#include "clipself/formats/zip.h"

namespace clipself::formats {
namespace {

/// The records of one archive, as the storages its pickle names.
class ZipStorages {
 public:
  ZipStorages(ZipReader& zip, std::string root) : zip_(zip), root_(std::move(root)) {}

  at::Storage operator()(const StorageRequest& request) {
    const auto bytes = static_cast<std::uint64_t>(request.numel) * c10::elementSize(request.dtype);
    const auto found = loaded_.find(request.key);
    const at::Storage storage = found != loaded_.end() ? found->second : open(request, bytes);
    if (storage.nbytes() < bytes) {
      throw Error({.doing = "reading checkpoint",
                   .where = zip_.file().path().string(),
                   .found = fmt::format("{} bytes in record 'data/{}'", storage.nbytes(), request.key),
                   .expected = fmt::format("{} bytes", bytes)});
    }
    return storage;
  }

 private:
  at::Storage open(const StorageRequest& request, std::uint64_t bytes) {
    const ZipEntry* entry = zip_.find(root_ + "data/" + request.key);
    at::Storage storage;
    if (entry != nullptr) {
      storage = load(*entry, storage_alignment(request));
    } else if (bytes == 0) {
      storage = empty_storage(0);
    } else {
      throw Error({.doing = "reading checkpoint",
                   .where = zip_.file().path().string(),
                   .found = "no record '" + root_ + "data/" + request.key + "'",
                   .expected = "the data of a tensor"});
    }
    loaded_.emplace(request.key, storage);
    return storage;
  }

  at::Storage load(const ZipEntry& entry, std::size_t alignment) {
    const std::span<std::byte> data = zip_.stored(entry);
    if (!entry.deflated && is_aligned(data.data(), alignment)) return view_storage(zip_.file(), data);
    zip_.reserve(entry);
    at::Storage storage = empty_storage(entry.size);
    zip_.read(entry, {static_cast<std::byte*>(storage.mutable_data()), entry.size});
    return storage;
  }

  ZipReader& zip_;
  std::string root_;
  std::unordered_map<std::string, at::Storage> loaded_;
};

// torch puts everything into one folder, whose name is the file's or "archive": the folder data.pkl lies in.
std::string find_root(const ZipReader& zip) {
  constexpr std::string_view kProgram = "data.pkl";
  const ZipEntry* program = nullptr;
  for (const ZipEntry& entry : zip.entries()) {
    const std::string_view name = entry.name;
    if (!name.ends_with(kProgram)) continue;
    if (name.size() > kProgram.size() && name[name.size() - kProgram.size() - 1] != '/') continue;
    if (program == nullptr || name.size() < program->name.size()) program = &entry;
  }
  if (program == nullptr) {
    throw Error({.doing = "reading checkpoint",
                 .where = zip.file().path().string(),
                 .found = "a zip archive without data.pkl",
                 .expected = "one that torch.save wrote"});
  }
  return program->name.substr(0, program->name.size() - kProgram.size());
}

std::string read_small(ZipReader& zip, const ZipEntry& entry) {
  zip.reserve(entry);
  std::string data(entry.size, '\0');
  zip.read(entry, std::as_writable_bytes(std::span(data)));
  return data;
}

// A TorchScript program's modules, attributes within attributes, as the state_dict of its root: every tensor by its
// path.
Dict script_state(const Value& root, const std::string& where) {
  // Modules may share one another; walked as a tree, a few could stand for billions.
  constexpr std::size_t kMostAttributes = 1'000'000, kMostText = std::size_t{1} << 26;
  Dict state;
  std::size_t attributes = 0, text = 0;
  std::vector<std::pair<std::string, const Value*>> open{{"", &root}};
  while (!open.empty()) {
    const auto [prefix, object] = open.back();
    open.pop_back();
    std::vector<std::pair<std::string, const Value*>> children;
    for (const auto& [name, item] : object->as_dict()) {
      if (!name.is(Value::Kind::kString)) continue;
      const std::string path = prefix + name.as_string();
      text += path.size();
      if (++attributes > kMostAttributes || text > kMostText) {
        throw Error({.doing = "reading checkpoint",
                     .where = where,
                     .found = "a TorchScript program of too many modules",
                     .expected = fmt::format("at most {} attributes", kMostAttributes)});
      }
      if (item.is(Value::Kind::kTensor)) state.emplace_back(path, item);
      if (item.is(Value::Kind::kDict)) children.emplace_back(path + ".", &item);
    }
    open.insert(open.end(), children.rbegin(), children.rend());
  }
  return state;
}

Value read_zip(MappedFile file) {
  ZipReader zip(std::move(file));
  const std::string root = find_root(zip);
  if (const ZipEntry* entry = zip.find(root + "byteorder"); entry != nullptr) {
    const std::string order = read_small(zip, *entry).substr(0, 16);
    if (order != "little") {
      throw Error({.doing = "reading checkpoint",
                   .where = zip.file().path().string(),
                   .found = "byte order '" + order + "'",
                   .expected = "'little'",
                   .hint = "load it in PyTorch on a little-endian machine and save it again"});
    }
  }
  const std::string program = read_small(zip, *zip.find(root + "data.pkl"));
  ZipStorages storages(zip, root);
  PickleSource source;
  source.where = zip.file().path().string();
  source.file_size = zip.file().size();
  source.storage = [&](const StorageRequest& request) { return storages(request); };
  Value value = unpickle(std::as_bytes(std::span(program)), source).value;
  // Only torch.jit.save writes the program's constants beside its data.
  const bool script = zip.find(root + "constants.pkl") != nullptr && value.is(Value::Kind::kDict);
  return script ? Value::dict(script_state(value, source.where)) : value;
}

}  // namespace

bool looks_like_torch_archive(std::span<const std::byte> head) {
  constexpr std::uint32_t kZipMagic = 0x04034b50;
  return (head.size() >= 4 && load<std::uint32_t>(head, 0) == kZipMagic) || legacy_header_size(head).has_value();
}

Value read_torch_archive(const std::filesystem::path& path) {
  MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  if (legacy_header_size(bytes)) return read_torch_legacy(std::move(file));
  if (looks_like_torch_archive(bytes)) return read_zip(std::move(file));
  throw Error({.doing = "reading checkpoint",
               .where = path.string(),
               .found = fmt::format("{} bytes that are neither", bytes.size()),
               .expected = "a torch zip archive or a legacy torch file",
               .hint = "was the download complete?"});
}

void verify_torch_archive(const std::filesystem::path& path) {
  MappedFile file(path);
  if (!legacy_header_size(file.bytes())) ZipReader(std::move(file)).verify();
}

}  // namespace clipself::formats
