#include "clipself/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "clipself/base/error.h"

namespace clipself {
namespace fs = std::filesystem;

namespace {

std::string reason(int error) {
  return std::strerror(error);
}

// fsync of a folder makes a rename inside it durable. Some file systems refuse it; that is no failure of ours.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Error({.doing = "opening file", .where = path.string(), .found = reason(errno)});
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    const bool folder = S_ISDIR(info.st_mode);
    ::close(descriptor);
    throw Error({.doing = "opening file",
                 .where = path.string(),
                 .found = folder ? "a folder" : "something that is not a regular file",
                 .expected = "a file"});
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) {
    static std::byte nothing{};  // that the span has an address: functions of C must not be given none
    bytes_ = {&nothing, 0};
    ::close(descriptor);
    return;
  }
  // Writable but private, so that a tensor viewing the file can be changed in place; without a reservation, because
  // hardly any page ever is.
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (address == MAP_FAILED) throw Error({.doing = "mapping file", .where = path.string(), .found = reason(error)});
  owner_ = std::shared_ptr<const void>(address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  bytes_ = {static_cast<std::byte*>(address), size};
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  const fs::path folder = path_.has_parent_path() ? path_.parent_path() : fs::path(".");
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error({.doing = "creating folder", .where = folder.string(), .found = error.message()});
  if (fs::is_directory(path_, error)) {
    throw Error({.doing = "writing file",
                 .where = path_.string(),
                 .found = "a folder of that name",
                 .expected = "a file name"});
  }
  std::string name = (folder / ("." + path_.filename().string() + ".XXXXXX")).string();
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) throw Error({.doing = "writing file", .where = path_.string(), .found = reason(errno)});
  temporary_ = name;
  // mkstemp gives 0600; a file that others may read is what every other program would have made.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor_, 0666 & ~mask);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* doing) {
  throw Error({.doing = doing, .where = path_.string(), .found = reason(errno)});
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  const auto* data = bytes.data();
  std::size_t left = bytes.size();
  while (left > 0) {
    const ssize_t written = ::write(descriptor_, data, left);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("writing file");
    }
    data += written;
    left -= static_cast<std::size_t>(written);
  }
  position_ += bytes.size();
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("writing file");
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail("writing file");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("replacing file");
  temporary_.clear();
  sync_folder(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
}

void remove_stale_temporaries(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto name = entry.path().filename().string();
    // "." + name + "." + six letters of mkstemp
    const bool ours = name.size() > 8 && name[0] == '.' && name[name.size() - 7] == '.' &&
                      std::all_of(name.end() - 6, name.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
    if (ours && entry.is_regular_file(ignored)) fs::remove(entry.path(), ignored);
  }
}

std::string read_text(const fs::path& path) {
  return std::string(MappedFile(path).text());
}

void write_text(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void require_writable_file(const fs::path& path) {
  const AtomicFile probe(path);  // never committed
}

void require_writable_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error({.doing = "creating folder", .where = folder.string(), .found = error.message()});
  const AtomicFile probe(folder / "writable");
}

void require_file(const fs::path& path, std::string_view what) {
  const std::string subject(what);
  if (path.empty()) throw Error({.doing = subject, .found = "nothing", .expected = "a file's path"});
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw Error({.doing = subject, .where = path.string(), .found = "no such file", .expected = "a readable file"});
  }
  if (fs::is_directory(path, error)) {
    throw Error({.doing = subject, .where = path.string(), .found = "a folder", .expected = "a file"});
  }
  if (::access(path.c_str(), R_OK) != 0)
    throw Error({.doing = subject, .where = path.string(), .found = reason(errno)});
}

void require_folder(const fs::path& path, std::string_view what) {
  if (path.empty()) throw Error({.doing = std::string(what), .found = "nothing", .expected = "a folder's path"});
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    throw Error({.doing = std::string(what),
                 .where = path.string(),
                 .found = fs::exists(path, error) ? "a file" : "no such folder",
                 .expected = "a folder"});
  }
}

}  // namespace clipself
