#include "builders.h"

#include <zlib.h>

namespace clipself::formats {

namespace op {

std::string proto() {
  return "\x80\x02";
}

std::string text(std::string_view value) {
  return "X" + little(static_cast<std::uint32_t>(value.size())) + std::string(value);
}

std::string integer(std::int64_t value) {
  return "\x8a\x08" + little(value);
}

std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

std::string tuple(const std::vector<std::string>& items) {
  std::string code = "(";
  for (const std::string& item : items) code += item;
  return code + "t";
}

std::string integers(const std::vector<std::int64_t>& values) {
  std::vector<std::string> items;
  for (const std::int64_t value : values) items.push_back(integer(value));
  return tuple(items);
}

std::string storage(const std::string& type, const std::string& key, std::int64_t numel, const std::string& view) {
  std::vector<std::string> parts = {text("storage"), global("torch", type), text(key), text("cpu"), integer(numel)};
  if (!view.empty()) parts.push_back(view);
  return tuple(parts) + "Q";
}

std::string tensor(const std::string& storage, std::int64_t offset, const std::vector<std::int64_t>& sizes,
                   const std::vector<std::int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({storage, integer(offset), integers(sizes), integers(strides), "\x89",
                global("collections", "OrderedDict") + ")R"}) +
         "R";
}

}  // namespace op

namespace {

std::string deflate(std::string_view data) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

std::string make_zip(const std::vector<ZipRecord>& records) {
  std::string file;
  std::string directory;
  for (const ZipRecord& record : records) {
    const std::string stored = record.deflated ? deflate(record.data) : record.data;
    const auto crc = static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(record.data.data()), static_cast<uInt>(record.data.size())));
    const std::uint32_t size = record.claimed_size.value_or(static_cast<std::uint32_t>(record.data.size()));
    const auto stored_size = static_cast<std::uint32_t>(stored.size());
    const auto offset = static_cast<std::uint32_t>(file.size());
    const auto flags = static_cast<std::uint16_t>(record.flags | (record.descriptor ? 8 : 0));
    const std::string method = little(static_cast<std::uint16_t>(record.deflated ? 8 : 0)) + little(std::uint32_t{0});
    const std::string name_size = little(static_cast<std::uint16_t>(record.name.size()));
    const std::string sums = little(crc) + little(stored_size) + little(size);
    file += "PK\x03\x04" + little(std::uint16_t{20}) + little(flags) + method +
            (record.descriptor ? std::string(12, '\0') : sums) + name_size + little(std::uint16_t{0}) + record.name +
            stored;
    if (record.descriptor) file += "PK\x07\x08" + sums;
    std::string extra;
    if (record.zip64) {
      extra = little(std::uint16_t{1}) + little(std::uint16_t{24}) + little(std::uint64_t{size}) +
              little(std::uint64_t{stored_size}) + little(std::uint64_t{offset});
    }
    constexpr std::uint32_t kInExtra = 0xffffffff;
    directory += "PK\x01\x02" + little(std::uint32_t{20 | 20 << 16}) + little(flags) + method +
                 (record.zip64 ? little(crc) + little(kInExtra) + little(kInExtra) : sums) + name_size +
                 little(static_cast<std::uint16_t>(extra.size())) + std::string(10, '\0') +
                 little(record.zip64 ? kInExtra : offset) + record.name + extra;
  }
  const auto count = static_cast<std::uint16_t>(records.size());
  return file + directory + "PK\x05\x06" + little(std::uint32_t{0}) + little(count) + little(count) +
         little(static_cast<std::uint32_t>(directory.size())) + little(static_cast<std::uint32_t>(file.size())) +
         little(std::uint16_t{0});
}

std::string make_archive(const std::string& code, const std::string& data) {
  return make_zip({{"archive/data.pkl", op::proto() + code + "."}, {"archive/data/0", data}});
}

}  // namespace clipself::formats
