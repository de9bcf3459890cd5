// Small makers of pickles, zip archives and damaged files for the tests of this folder.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
// GCC 12 warns of string concatenation in its own library (GCC bug 105329); the rest of it is off in cmake/.
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/value.h"

namespace clipself::formats {

/// A folder of its own for each test, removed at the end.
class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "clipself_test.XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  /// Neither syncs nor overwrites in place (some file systems flush then): the damage sweeps make thousands of files.
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    const auto path = file(name);
    std::filesystem::remove(path);
    std::FILE* out = std::fopen(path.c_str(), "wb");
    std::fwrite(content.data(), 1, content.size(), out);
    std::fclose(out);
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path checkpoint_case(const std::string& name) {
  return std::filesystem::path(CLIPSELF_SOURCE_DIR) / "tests/reference/checkpoints" / name;
}

/// The text of the Error that `action` throws, or "" when it throws none. Any other exception passes through.
template <typename F>
std::string error_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Same type, shape and bytes.
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor x = a.contiguous();
  const at::Tensor y = b.contiguous();
  return x.numel() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

/// Reads every element of every tensor, so that one that lies outside its storage is noticed.
inline void touch(const Value& value) {
  if (value.is(Value::Kind::kTensor)) {
    constexpr std::size_t kLarge = std::size_t{1} << 22;
    const at::Tensor& tensor = value.as_tensor();
    if (tensor.numel() > 0 && tensor.nbytes() < kLarge) tensor.clone(at::MemoryFormat::Contiguous);
  } else if (value.is(Value::Kind::kList) || value.is(Value::Kind::kTuple)) {
    for (const Value& item : value.as_list()) touch(item);
  } else if (value.is(Value::Kind::kDict)) {
    for (const auto& [key, item] : value.as_dict()) touch(item);
  }
}

template <typename T>
std::string little(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// Pickle opcodes by hand: each function gives the bytes that push one object.
namespace op {

std::string proto();
std::string text(std::string_view value);
std::string integer(std::int64_t value);
std::string global(const std::string& module, const std::string& name);
std::string tuple(const std::vector<std::string>& items);
std::string integers(const std::vector<std::int64_t>& values);
std::string storage(const std::string& type, const std::string& key, std::int64_t numel, const std::string& view = "");
std::string tensor(const std::string& storage, std::int64_t offset, const std::vector<std::int64_t>& sizes,
                   const std::vector<std::int64_t>& strides);

}  // namespace op

struct ZipRecord {
  std::string name;
  std::string data;
  bool deflated = false;
  std::optional<std::uint32_t> claimed_size = {};  ///< instead of the true size once inflated
  bool descriptor = false;                         ///< sizes follow the data, the local header has none
  bool zip64 = false;                              ///< sizes and offset in a ZIP64 extra field
  std::uint16_t flags = 0;
};

std::string make_zip(const std::vector<ZipRecord>& records);

/// An archive of one pickle and, as record data/0, `data`.
std::string make_archive(const std::string& code, const std::string& data = std::string(64, '\1'));

}  // namespace clipself::formats
