#include "clipself/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "clipself/base/error.h"

namespace clipself {
namespace fs = std::filesystem;

namespace {

std::string reason(int error) {
  return std::strerror(error);
}

// fsync of a folder makes a rename inside it durable. Some file systems know no such thing; that is no failure.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  const int error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  const bool unknown = error == EINVAL || error == ENOTSUP || error == ENOSYS || error == EROFS;
  if (error != 0 && !unknown)
    throw Error({.doing = "writing folder", .where = folder.string(), .found = reason(error)});
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// With its parents, durably.
void make_folder(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> made;
  for (fs::path each = folder; !each.empty() && !fs::exists(each, error); each = each.parent_path())
    made.push_back(each);
  fs::create_directories(folder, error);
  if (error) throw Error({.doing = "creating folder", .where = folder.string(), .found = error.message()});
  for (const auto& each : made) sync_folder(folder_of(each));
}

// Mappings that exist, for the handler of SIGBUS, which can neither allocate nor lock. More than fit here are not known
// to it.
struct KnownMapping {
  std::atomic<bool> taken{false};
  std::atomic<const std::byte*> begin{nullptr};
  std::size_t size = 0;
  std::array<char, 1024> path{};
};
std::array<KnownMapping, 64> known_mappings;

KnownMapping* remember(const std::byte* begin, std::size_t size, const fs::path& path) {
  for (auto& each : known_mappings) {
    if (each.taken.exchange(true)) continue;
    each.size = size;
    std::strncpy(each.path.data(), path.c_str(), each.path.size() - 1);
    each.begin = begin;
    return &each;
  }
  return nullptr;
}

void forget(KnownMapping* mapping) {
  if (mapping == nullptr) return;
  mapping->begin = nullptr;
  mapping->taken = false;
}

extern "C" void on_bus_error(int /*signal*/, siginfo_t* info, void* /*context*/) {
  const auto* at = static_cast<const std::byte*>(info->si_addr);
  const auto say = [](const char* text) { return ::write(STDERR_FILENO, text, std::strlen(text)) < 0; };
  for (const auto& each : known_mappings) {
    const std::byte* begin = each.begin;
    if (begin == nullptr || at < begin || at >= begin + each.size) continue;
    say("clipself: error: reading file '");
    say(each.path.data());
    say("': it became shorter or its disk failed while it was in use\n");
    ::_exit(2);
  }
  std::signal(SIGBUS, SIG_DFL);  // of something else: it comes again, and ends the program
}

// Read in one piece, so that a failing disk is an error and not a signal.
constexpr std::size_t kReadWhole = std::size_t{64} << 20;
constexpr std::size_t kAlignment = 64;  // as of the records in torch's archives

std::shared_ptr<std::byte> read_whole(int descriptor, std::size_t size, const fs::path& path) {
  constexpr std::align_val_t kAligned{kAlignment};
  std::shared_ptr<std::byte> memory(static_cast<std::byte*>(::operator new(size + MappedFile::kPadding, kAligned)),
                                    [](std::byte* p) { ::operator delete(p, kAligned); });
  std::memset(memory.get() + size, 0, MappedFile::kPadding);
  for (std::size_t done = 0; done < size;) {
    const ssize_t count = ::pread(descriptor, memory.get() + done, size - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0)
      throw Error({.doing = "reading file",
                   .where = path.string(),
                   .found = count < 0 ? reason(errno) : "its end after " + std::to_string(done) + " bytes",
                   .expected = std::to_string(size) + " bytes"});
    done += static_cast<std::size_t>(count);
  }
  return memory;
}

/// Closes what it is given.
struct Descriptor {
  int value;
  ~Descriptor() { ::close(value); }
};

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  // Opening a pipe would wait for its writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) throw Error({.doing = "opening file", .where = path.string(), .found = reason(errno)});
  const Descriptor closed_at_the_end{descriptor};
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    const bool folder = S_ISDIR(info.st_mode);
    throw Error({.doing = "opening file",
                 .where = path.string(),
                 .found = folder ? "a folder" : "something that is not a regular file",
                 .expected = "a file"});
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) {
    // So that the span has an address: functions of C must not be given none.
    static std::array<std::byte, kPadding> nothing{};
    bytes_ = {nothing.data(), 0};
    return;
  }
  if (size <= kReadWhole) {
    const auto memory = read_whole(descriptor, size, path);
    bytes_ = {memory.get(), size};
    owner_ = memory;
    return;
  }
  // Writable but private, so that a tensor viewing the file can be changed in place; without a reservation, because
  // hardly any page ever is. It lies on pages of zeros, the last of which it may leave uncovered.
  constexpr int kAccess = PROT_READ | PROT_WRITE, kKind = MAP_PRIVATE | MAP_NORESERVE;
  const std::size_t room = size + kPadding;
  void* address = ::mmap(nullptr, room, kAccess, kKind | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED || ::mmap(address, size, kAccess, kKind | MAP_FIXED, descriptor, 0) == MAP_FAILED) {
    const std::string found = reason(errno);
    if (address != MAP_FAILED) ::munmap(address, room);
    throw Error({.doing = "mapping file", .where = path.string(), .found = found});
  }
  bytes_ = {static_cast<std::byte*>(address), size};
  owner_ = std::shared_ptr<const void>(address, [room, known = remember(bytes_.data(), size, path)](const void* p) {
    forget(known);
    ::munmap(const_cast<void*>(p), room);
  });
}

void explain_bus_errors() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

FolderLock::FolderLock(const fs::path& folder, const std::string& what) {
  using namespace std::chrono_literals;
  const auto file = folder / ".lock";
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw Error({.doing = "writing file", .where = file.string(), .found = reason(errno)});
  const auto until = std::chrono::steady_clock::now() + 5s;
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return;  // this file system has no locks
    if (std::chrono::steady_clock::now() > until) {
      ::close(descriptor_);
      throw Error({.doing = what,
                   .where = folder.string(),
                   .found = "another process that writes there",
                   .expected = "one at a time",
                   .hint = "is the run still going on somewhere?"});
    }
    std::this_thread::sleep_for(100ms);
  }
}

FolderLock::~FolderLock() {
  ::close(descriptor_);
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  const fs::path folder = folder_of(path_);
  make_folder(folder);
  std::error_code error;
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
  sync_folder(folder_of(path_));
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
  make_folder(folder);
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
