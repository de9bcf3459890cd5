// Files: read whole or by memory map, written so that a reader sees the old content or the new, never a part.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace clipself {

/// A whole file in memory: up to 64 MiB read, above that mapped. A write to private_bytes() never reaches the file.
/// Cheap to copy: copies share the memory, which lives as long as any of them. Behind the last byte kPadding zeros can
/// be read, as parsers want that take many bytes at a time.
///
/// What goes wrong while it is read is an Error. What goes wrong later in a mapping (the disk fails, the file becomes
/// shorter) is a signal, SIGBUS; see explain_bus_errors().
class MappedFile {
 public:
  static constexpr std::size_t kPadding = 64;

  /// Throws Error when `path` is missing, no regular file, or unreadable. An empty file gives an empty span.
  explicit MappedFile(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const { return bytes_; }
  /// The same bytes, for views that may be written to (tensors).
  std::span<std::byte> private_bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  std::size_t size() const { return bytes_.size(); }
  const std::filesystem::path& path() const { return path_; }
  /// Keeps the memory alive; hand it to whatever outlives this object (a tensor's deleter).
  std::shared_ptr<const void> owner() const { return owner_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> owner_;
  std::span<std::byte> bytes_;
};

/// Writes next to `path` under a temporary name; commit() makes it durable (fsync) and renames it over `path`.
/// Destroyed without commit() (an exception, say), it removes the temporary file and leaves `path` as it was.
class AtomicFile {
 public:
  /// Creates missing parent folders. Throws Error when the folder cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit();
  std::size_t position() const { return position_; }

 private:
  [[noreturn]] void fail(const char* doing);
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  std::size_t position_ = 0;
};

/// From here on a SIGBUS in a mapped file ends the program with exit code 2 and one line that names the file.
void explain_bus_errors();

/// Keeps a folder for one process: others that ask for it meanwhile get an Error. Ends with the process, however that
/// ends. On file systems without locks it keeps nobody out.
class FolderLock {
 public:
  /// Waits a few seconds for a process that is on its way out. `what` names the folder's content in the message.
  FolderLock(const std::filesystem::path& folder, const std::string& what);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

/// Removes what processes that were killed while writing left in `folder`: AtomicFile's temporary files. For a folder
/// that no other process writes to.
void remove_stale_temporaries(const std::filesystem::path& folder);

/// Reads a whole (small) file. Throws Error as MappedFile does.
std::string read_text(const std::filesystem::path& path);
/// Writes `text` to `path` by AtomicFile.
void write_text(const std::filesystem::path& path, std::string_view text);
/// Makes `folder` and its parents, and proves that files can be created there. Throws Error otherwise.
void require_writable_folder(const std::filesystem::path& folder);
/// Throws Error unless a file could be written at `path`; leaves nothing there. Asked before work whose result goes
/// there.
void require_writable_file(const std::filesystem::path& path);
/// Throws Error unless `path` is a file that can be opened; `what` names it in the message ("--train-data").
void require_file(const std::filesystem::path& path, std::string_view what);
/// Throws Error unless `path` is an existing folder; `what` names it in the message.
void require_folder(const std::filesystem::path& path, std::string_view what);

}  // namespace clipself
