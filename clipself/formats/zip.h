// Zip archives as torch writes them: stored or deflated records, ZIP64, data descriptors, aligned data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "clipself/base/file.h"

namespace clipself::formats {

struct ZipEntry {
  std::string name;
  bool deflated = false;
  std::uint64_t stored_size = 0;  ///< bytes in the file
  std::uint64_t size = 0;         ///< bytes once inflated
  std::uint32_t crc = 0;          ///< CRC-32 of the inflated bytes; 0 also when the writer computed none
  std::uint64_t offset = 0;       ///< of the data, from the file's start
};

/// The table of contents of a mapped zip file. Everything is checked against the file on construction: offsets, sizes,
/// names (no "..", nothing absolute, none twice), so that a record handed out lies inside the file, at a place of its
/// own.
class ZipReader {
 public:
  /// Throws Error when the file is no sound zip archive.
  explicit ZipReader(MappedFile file);
  ZipReader(const ZipReader&) = delete;
  ZipReader& operator=(const ZipReader&) = delete;

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// The record of that name, or nullptr.
  const ZipEntry* find(std::string_view name) const;
  /// The bytes as they lie in the file: the record itself when it is not deflated. Its checksum is not looked at.
  std::span<std::byte> stored(const ZipEntry& entry) const;
  /// The record's content, inflated when need be, its checksum verified. `out` must have entry.size bytes.
  /// Throws Error when data and table disagree.
  void read(const ZipEntry& entry, std::span<std::byte> out) const;
  /// Looks at every record's checksum: reads the whole file. Throws Error naming the first record that is not as it was
  /// written.
  void verify();
  /// Counts entry.size towards what this archive may fill in memory: 64 MiB + 32 times the file, far above what weights
  /// compress to and far below what a bomb expands to. Call before allocating; throws Error when it is over.
  void reserve(const ZipEntry& entry);

  const MappedFile& file() const { return file_; }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& expected = {},
                         const std::string& hint = {}) const;
  void read_directory();
  /// The entry of the table at `at`, which moves on; `header` is where the record's own header lies.
  ZipEntry read_entry(std::uint64_t& at, std::uint64_t end, std::uint64_t& header) const;
  void locate_data(ZipEntry& entry, std::uint64_t header, std::uint64_t end) const;

  MappedFile file_;
  std::span<const std::byte> bytes_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string_view, std::size_t> index_;
  std::uint64_t reserved_ = 0;
};

/// Writes stored records one after the other, each record's data at a multiple of 64 bytes.
class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path) : file_(path) {}

  void add(const std::string& name, std::span<const std::byte> data);
  void add(const std::string& name, std::string_view data);
  /// Writes the table of contents and makes the file visible under its name.
  void finish();

 private:
  struct Written {
    std::string name;
    std::uint64_t size;
    std::uint64_t header;
    std::uint32_t crc;
  };
  AtomicFile file_;
  std::vector<Written> written_;
};

}  // namespace clipself::formats
