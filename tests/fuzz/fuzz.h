// What the fuzz targets share. A target is one function of bytes that tries a parser:
//
//   extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
//
// The parser may read the bytes or throw clipself::Error. Anything else is a defect: another exception, a crash, memory
// or time that so few bytes cannot justify.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "clipself/base/error.h"

namespace clipself::fuzz {

/// Gives `parse` its chance; only an Error may come out of it.
template <typename Parse>
void expect_error_or_success(const Parse& parse) {
  try {
    parse();
  } catch (const Error&) {
  }
}

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
inline std::span<const std::byte> bytes(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}

/// A folder in memory, removed at the end.
class Folder {
 public:
  Folder() {
    std::string name = "/dev/shm/clipself_fuzz.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A file for parsers that take a path, written anew for each input.
class InputFile {
 public:
  /// One that only this process sees.
  InputFile() : descriptor_(::memfd_create("input", MFD_CLOEXEC)) {
    if (descriptor_ < 0) std::abort();
    path_ = "/proc/self/fd/" + std::to_string(descriptor_);
  }
  /// One of that name in a Folder; the folders between are made.
  explicit InputFile(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::create_directories(path_.parent_path());
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor_ < 0) std::abort();
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& holding(std::string_view content) {
    const bool written =
        ::ftruncate(descriptor_, static_cast<off_t>(content.size())) == 0 &&
        ::pwrite(descriptor_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size());
    if (!written) std::abort();
    return path_;
  }
  const std::filesystem::path& holding(const std::uint8_t* data, std::size_t size) { return holding(text(data, size)); }

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace clipself::fuzz
