// Layout after PKWARE's APPNOTE.TXT 6.3: local headers 4.3.7, central directory 4.3.12, ZIP64 4.3.14 to 4.5.3.
#include "clipself/formats/zip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "clipself/base/error.h"
#include "clipself/formats/bytes.h"

namespace clipself::formats {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kZip64End = 0x06064b50;
constexpr std::uint32_t kZip64Locator = 0x07064b50;
constexpr std::size_t kLocalSize = 30;
constexpr std::size_t kCentralSize = 46;
constexpr std::size_t kEndSize = 22;
constexpr std::size_t kZip64EndSize = 56;
constexpr std::size_t kZip64LocatorSize = 20;
constexpr std::uint16_t kZip64Extra = 1;
constexpr std::uint16_t kPaddingExtra = 0x4246;  // "FB", the tag torch pads its records with
constexpr std::uint64_t kMax16 = 0xffff;
constexpr std::uint64_t kMax32 = 0xffffffff;
constexpr std::size_t kMaxName = 4096;
constexpr std::uint64_t kAlignment = 64;
// Deflate cannot shrink data more than 1032 times; a record that claims more is lying.
constexpr std::uint64_t kMaxDeflateRatio = 1032;

std::uint32_t checksum(std::span<const std::byte> data) {
  return static_cast<std::uint32_t>(
      ::crc32_z(::crc32_z(0, nullptr, 0), reinterpret_cast<const unsigned char*>(data.data()), data.size()));
}

bool climbs(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.find('\\') != name.npos || name.find('\0') != name.npos) return true;
  for (std::size_t start = 0; start <= name.size();) {
    const std::size_t end = std::min(name.find('/', start), name.size());
    if (name.substr(start, end - start) == "..") return true;
    start = end + 1;
  }
  return false;
}

}  // namespace

ZipReader::ZipReader(MappedFile file) : file_(std::move(file)), bytes_(file_.bytes()) {
  read_directory();
  index_.reserve(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!index_.emplace(entries_[i].name, i).second) fail("two records named '" + entries_[i].name + "'");
  }
}

void ZipReader::fail(const std::string& found, const std::string& expected, const std::string& hint) const {
  throw Error({.doing = "reading zip archive",
               .where = file_.path().string(),
               .found = found,
               .expected = expected,
               .hint = hint});
}

void ZipReader::read_directory() {
  // The end record is the file's last 22 bytes, unless a comment of up to 65535 bytes follows it.
  if (bytes_.size() < kEndSize) fail(fmt::format("{} bytes", bytes_.size()), "a zip archive", "was the file cut off?");
  const std::size_t last = bytes_.size() - kEndSize;
  const std::size_t first = last > kMax16 ? last - kMax16 : 0;
  std::size_t end = last + 1;
  for (std::size_t at = last + 1; at-- > first;) {
    if (load<std::uint32_t>(bytes_, at) == kEnd && load<std::uint16_t>(bytes_, at + 20) == last - at) {
      end = at;
      break;
    }
  }
  if (end > last) fail("no end record", "a complete zip archive", "was the file cut off?");

  std::uint64_t count = load<std::uint16_t>(bytes_, end + 10);
  std::uint64_t size = load<std::uint32_t>(bytes_, end + 12);
  std::uint64_t offset = load<std::uint32_t>(bytes_, end + 16);
  std::uint64_t limit = end;
  if (count == kMax16 || size == kMax32 || offset == kMax32) {
    if (end < kZip64LocatorSize || load<std::uint32_t>(bytes_, end - kZip64LocatorSize) != kZip64Locator) {
      fail("no ZIP64 locator", "one, as the end record says");
    }
    limit = end - kZip64LocatorSize;
    const auto zip64 = load<std::uint64_t>(bytes_, end - kZip64LocatorSize + 8);
    if (limit < kZip64EndSize || zip64 > limit - kZip64EndSize || load<std::uint32_t>(bytes_, zip64) != kZip64End) {
      fail("a ZIP64 locator that points nowhere");
    }
    limit = zip64;
    count = load<std::uint64_t>(bytes_, zip64 + 32);
    size = load<std::uint64_t>(bytes_, zip64 + 40);
    offset = load<std::uint64_t>(bytes_, zip64 + 48);
  }
  if (offset > limit || size > limit - offset)
    fail("a table of contents outside the file", {}, "was the file cut off?");
  if (count > size / kCentralSize) fail(fmt::format("{} records in a table of {} bytes", count, size));

  entries_.reserve(count);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> parts;  // of the file, from a record's header to its end
  parts.reserve(count);
  std::uint64_t at = offset;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t header = 0;
    ZipEntry entry = read_entry(at, offset + size, header);
    parts.emplace_back(header, entry.offset + entry.stored_size);
    if (entry.name.back() != '/') entries_.push_back(std::move(entry));
  }
  // Records that share bytes could make few of them stand for many, of which reading each takes its time.
  std::sort(parts.begin(), parts.end());
  for (std::size_t i = 1; i < parts.size(); ++i)
    if (parts[i].first < parts[i - 1].second) fail("two records at the same place", "each in its own");
}

ZipEntry ZipReader::read_entry(std::uint64_t& at, std::uint64_t end, std::uint64_t& header) const {
  if (end - at < kCentralSize || load<std::uint32_t>(bytes_, at) != kCentralHeader) {
    fail("a broken table of contents", {}, "was the file damaged on its way?");
  }
  const auto flags = load<std::uint16_t>(bytes_, at + 8);
  const auto method = load<std::uint16_t>(bytes_, at + 10);
  const std::size_t name_size = load<std::uint16_t>(bytes_, at + 28);
  const std::size_t extra_size = load<std::uint16_t>(bytes_, at + 30);
  const std::size_t comment_size = load<std::uint16_t>(bytes_, at + 32);
  const std::uint64_t variable = name_size + extra_size + comment_size;
  if (end - at - kCentralSize < variable) fail("a broken table of contents", {}, "was the file damaged on its way?");

  ZipEntry entry;
  entry.name = file_.text().substr(at + kCentralSize, std::min(name_size, kMaxName + 1));
  if (name_size > kMaxName) fail(fmt::format("a record's name of {} bytes", name_size), "at most 4096");
  if (climbs(entry.name)) fail("a record named '" + entry.name + "'", "a plain relative name");
  if ((flags & 1) != 0) fail("an encrypted record '" + entry.name + "'");
  if (method != 0 && method != 8) {
    fail(fmt::format("record '{}' compressed by method {}", entry.name, method), "stored or deflated records");
  }
  entry.deflated = method == 8;
  entry.crc = load<std::uint32_t>(bytes_, at + 16);
  entry.stored_size = load<std::uint32_t>(bytes_, at + 20);
  entry.size = load<std::uint32_t>(bytes_, at + 24);
  header = load<std::uint32_t>(bytes_, at + 42);

  // ZIP64: the fields that overflowed, in this order, in an extra field of tag 1.
  std::uint64_t* const wide[] = {&entry.size, &entry.stored_size, &header};
  const std::uint64_t extra_end = at + kCentralSize + name_size + extra_size;
  for (std::uint64_t field = at + kCentralSize + name_size; extra_end - field >= 4;) {
    const auto tag = load<std::uint16_t>(bytes_, field);
    const std::uint64_t length = load<std::uint16_t>(bytes_, field + 2);
    if (extra_end - field - 4 < length) fail("a broken extra field of record '" + entry.name + "'");
    if (tag == kZip64Extra) {
      std::uint64_t value = field + 4;
      for (std::uint64_t* target : wide) {
        if (*target != kMax32) continue;
        if (field + 4 + length - value < 8) fail("a broken ZIP64 field of record '" + entry.name + "'");
        *target = load<std::uint64_t>(bytes_, value);
        value += 8;
      }
      break;
    }
    field += 4 + length;
  }
  locate_data(entry, header, end);
  at += kCentralSize + variable;
  return entry;
}

void ZipReader::locate_data(ZipEntry& entry, std::uint64_t header, std::uint64_t end) const {
  const auto outside = [&] { fail("record '" + entry.name + "' outside the file", {}, "was the file cut off?"); };
  if (header > end || end - header < kLocalSize) outside();
  if (load<std::uint32_t>(bytes_, header) != kLocalHeader) fail("no header before record '" + entry.name + "'");
  const std::uint64_t name_size = load<std::uint16_t>(bytes_, header + 26);
  const std::uint64_t extra_size = load<std::uint16_t>(bytes_, header + 28);
  entry.offset = header + kLocalSize + name_size + extra_size;
  if (entry.offset > end || entry.stored_size > end - entry.offset) outside();
  if (file_.text().substr(header + kLocalSize, name_size) != entry.name) {
    fail("a record with two names, '" + entry.name + "' and another");
  }
  if (!entry.deflated && entry.size != entry.stored_size) {
    fail(fmt::format("record '{}' of {} bytes, {} of them stored", entry.name, entry.size, entry.stored_size));
  }
  if (entry.deflated && entry.size / kMaxDeflateRatio > entry.stored_size) {
    fail(fmt::format("record '{}' that claims to inflate {} bytes to {}", entry.name, entry.stored_size, entry.size));
  }
}

const ZipEntry* ZipReader::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::span<std::byte> ZipReader::stored(const ZipEntry& entry) const {
  return file_.private_bytes().subspan(entry.offset, entry.stored_size);
}

void ZipReader::read(const ZipEntry& entry, std::span<std::byte> out) const {
  const std::span<std::byte> data = stored(entry);
  if (!entry.deflated) {
    std::copy(data.begin(), data.end(), out.begin());
  } else {
    z_stream stream{};
    if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
    // zlib counts in 32 bits: feed and drain it in pieces. One byte more than expected shows a record that is too long.
    constexpr std::uint64_t kPiece = std::uint64_t{1} << 30;
    std::uint64_t in_at = 0;
    std::uint64_t out_at = 0;
    std::byte surplus{};
    int result = Z_OK;
    while (result == Z_OK) {
      const std::uint64_t in = std::min(kPiece, data.size() - in_at);
      const bool full = out_at == out.size();
      const std::uint64_t room = full ? 1 : std::min(kPiece, out.size() - out_at);
      stream.next_in = reinterpret_cast<Bytef*>(data.data() + in_at);
      stream.avail_in = static_cast<uInt>(in);
      stream.next_out = reinterpret_cast<Bytef*>(full ? &surplus : out.data() + out_at);
      stream.avail_out = static_cast<uInt>(room);
      result = ::inflate(&stream, Z_NO_FLUSH);
      in_at += in - stream.avail_in;
      if (full && stream.avail_out == 0) result = Z_DATA_ERROR;
      if (!full) out_at += room - stream.avail_out;
    }
    ::inflateEnd(&stream);
    if (result != Z_STREAM_END || out_at != out.size()) {
      fail("record '" + entry.name + "' that does not inflate to its size", {}, "was the file damaged on its way?");
    }
  }
  if (entry.crc != 0 && checksum(out) != entry.crc) {
    fail("record '" + entry.name + "' with a wrong checksum", {}, "was the file damaged on its way?");
  }
}

void ZipReader::verify() {
  for (const auto& entry : entries_) {
    if (entry.deflated) {
      reserve(entry);
      std::vector<std::byte> content(entry.size);
      read(entry, content);
    } else if (entry.crc != 0 && checksum(stored(entry)) != entry.crc) {
      fail("record '" + entry.name + "' with a wrong checksum", {}, "was the file damaged?");
    }
  }
}

void ZipReader::reserve(const ZipEntry& entry) {
  const std::uint64_t limit = (std::uint64_t{64} << 20) + 32 * static_cast<std::uint64_t>(bytes_.size());
  if (entry.size > limit - reserved_) {
    fail(fmt::format("record '{}' of {} bytes", entry.name, entry.size),
         fmt::format("at most {} bytes from a file of {}", limit, bytes_.size()), "is this a decompression bomb?");
  }
  reserved_ += entry.size;
}

void ZipWriter::add(const std::string& name, std::span<const std::byte> data) {
  Written record{name, data.size(), file_.position(), checksum(data)};
  const bool wide = record.size >= kMax32;
  std::string header;
  store(header, kLocalHeader);
  store(header, static_cast<std::uint16_t>(wide ? 45 : 20));  // version needed: 4.5 has ZIP64
  store(header, std::uint16_t{0x0800});                       // names are UTF-8
  store(header, std::uint32_t{0});                            // stored, time 0
  store(header, std::uint16_t{0});                            // date 0: the file depends on its content alone
  store(header, record.crc);
  store(header, wide ? static_cast<std::uint32_t>(kMax32) : static_cast<std::uint32_t>(record.size));
  store(header, wide ? static_cast<std::uint32_t>(kMax32) : static_cast<std::uint32_t>(record.size));
  store(header, static_cast<std::uint16_t>(name.size()));
  std::string extra;
  if (wide) {
    store(extra, kZip64Extra);
    store(extra, std::uint16_t{16});
    store(extra, record.size);
    store(extra, record.size);
  }
  const std::uint64_t data_at = record.header + kLocalSize + name.size() + extra.size() + 4;
  const std::uint64_t padding = (kAlignment - data_at % kAlignment) % kAlignment;
  store(extra, kPaddingExtra);
  store(extra, static_cast<std::uint16_t>(padding));
  extra.append(padding, 'Z');
  store(header, static_cast<std::uint16_t>(extra.size()));
  file_.write(header + name + extra);
  file_.write(data);
  written_.push_back(std::move(record));
}

void ZipWriter::add(const std::string& name, std::string_view data) {
  add(name, std::as_bytes(std::span(data.data(), data.size())));
}

void ZipWriter::finish() {
  const std::uint64_t directory = file_.position();
  for (const Written& record : written_) {
    const auto narrow = [](std::uint64_t value) { return static_cast<std::uint32_t>(std::min(value, kMax32)); };
    std::string extra;
    if (record.size >= kMax32) {
      store(extra, record.size);
      store(extra, record.size);
    }
    if (record.header >= kMax32) store(extra, record.header);
    if (!extra.empty()) {
      std::string tag;
      store(tag, kZip64Extra);
      store(tag, static_cast<std::uint16_t>(extra.size()));
      extra.insert(0, tag);
    }
    const std::uint16_t version = extra.empty() ? 20 : 45;
    std::string header;
    store(header, kCentralHeader);
    store(header, version);
    store(header, version);
    store(header, std::uint16_t{0x0800});
    store(header, std::uint32_t{0});
    store(header, std::uint16_t{0});
    store(header, record.crc);
    store(header, narrow(record.size));
    store(header, narrow(record.size));
    store(header, static_cast<std::uint16_t>(record.name.size()));
    store(header, static_cast<std::uint16_t>(extra.size()));
    header.append(10, '\0');  // no comment, first disk, no attributes
    store(header, narrow(record.header));
    file_.write(header + record.name + extra);
  }
  const std::uint64_t end = file_.position();
  const std::uint64_t size = end - directory;
  const std::uint64_t count = written_.size();
  std::string tail;
  // As torch does, the ZIP64 records are always there; the plain end record refers to them only where it must.
  store(tail, kZip64End);
  store(tail, std::uint64_t{kZip64EndSize - 12});
  store(tail, std::uint16_t{45});
  store(tail, std::uint16_t{45});
  store(tail, std::uint64_t{0});  // this disk, the directory's disk
  store(tail, count);
  store(tail, count);
  store(tail, size);
  store(tail, directory);
  store(tail, kZip64Locator);
  store(tail, std::uint32_t{0});
  store(tail, end);
  store(tail, std::uint32_t{1});
  store(tail, kEnd);
  store(tail, std::uint32_t{0});
  store(tail, static_cast<std::uint16_t>(std::min(count, kMax16)));
  store(tail, static_cast<std::uint16_t>(std::min(count, kMax16)));
  store(tail, static_cast<std::uint32_t>(std::min(size, kMax32)));
  store(tail, static_cast<std::uint32_t>(std::min(directory, kMax32)));
  store(tail, std::uint16_t{0});
  file_.write(tail);
  file_.commit();
}

}  // namespace clipself::formats
