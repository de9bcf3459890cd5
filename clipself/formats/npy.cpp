#include "clipself/formats/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/bytes.h"
#include "clipself/formats/dtypes.h"
#include "clipself/formats/mapped_tensor.h"

namespace clipself::formats {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::string_view kNoteMagic = "CLIPSELF";
constexpr std::size_t kAlignment = 64;

struct Header {
  std::string descr;
  std::optional<bool> fortran;
  std::optional<std::vector<std::int64_t>> shape;
};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : file_(path) {}

  NotedArray run() {
    const std::string_view text = file_.text();
    if (text.size() < 10 || !text.starts_with(kMagic)) {
      fail(fmt::format("{} bytes without NumPy's magic string", text.size()), "a .npy file");
    }
    const int version = text[6];
    if (version < 1 || version > 3) fail(fmt::format("format version {}", version), "1, 2 or 3");
    const std::size_t prefix = version == 1 ? 10 : 12;
    if (text.size() < prefix) fail("an incomplete header", {}, "was the file cut off?");
    const std::size_t size =
        version == 1 ? load<std::uint16_t>(file_.bytes(), 8) : std::size_t{load<std::uint32_t>(file_.bytes(), 8)};
    if (text.size() - prefix < size) fail("an incomplete header", {}, "was the file cut off?");
    parse(text.substr(prefix, size));
    return array(file_.private_bytes().subspan(prefix + size));
  }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& expected = {},
                         const std::string& hint = {}) const {
    throw Error(
        {.doing = "reading array", .where = file_.path().string(), .found = found, .expected = expected, .hint = hint});
  }

  [[noreturn]] void broken() const { fail("a broken header", "{'descr': ..., 'fortran_order': ..., 'shape': ...}"); }

  // The header is a Python dict literal with exactly three known keys.
  void parse(std::string_view text) {
    rest_ = text;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        if (peek() == '[') fail("an array of records", "an array of numbers");
        header_.descr = quoted();
      } else if (key == "fortran_order") {
        header_.fortran = boolean();
      } else if (key == "shape") {
        header_.shape = tuple();
      } else {
        broken();
      }
      if (!accept(',') && peek() != '}') broken();
    }
    if (peek() != '\0' || header_.descr.empty() || !header_.fortran || !header_.shape) broken();
  }

  char peek() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n')) rest_.remove_prefix(1);
    return rest_.empty() ? '\0' : rest_.front();
  }
  bool accept(char c) {
    if (peek() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) broken();
  }
  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') broken();
    const std::size_t end = rest_.find(quote, 1);
    if (end == rest_.npos) broken();
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool boolean() {
    peek();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    broken();
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> sizes;
    expect('(');
    while (!accept(')')) {
      peek();
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0 || sizes.size() == 64) broken();
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      accept('L');  // NumPy under Python 2
      sizes.push_back(size);
      if (!accept(',') && peek() != ')') broken();
    }
    return sizes;
  }

  /// The note behind the array's data, which must end with the file.
  std::string note(std::span<const std::byte> rest) const {
    const auto text = std::string_view(reinterpret_cast<const char*>(rest.data()), rest.size());
    const std::size_t head = kNoteMagic.size() + sizeof(std::uint64_t);
    if (text.size() < head || load<std::uint64_t>(rest, kNoteMagic.size()) != text.size() - head)
      fail("a note of another length behind the array", {}, "was the file damaged on its way?");
    return std::string(text.substr(head));
  }

  NotedArray array(std::span<std::byte> data) const {
    std::string_view type = header_.descr;
    const char order = type.front();
    if (std::string_view("<>|=").find(order) != std::string_view::npos) type.remove_prefix(1);
    const DtypeNames* row = dtype_named(&DtypeNames::numpy, type);
    const bool known = row != nullptr && !at::isComplexType(row->type) && row->type != at::kUInt16 &&
                       row->type != at::kUInt32 && row->type != at::kUInt64;
    if (!known) {
      fail("an array of type '" + header_.descr.substr(0, 40) + "'",
           "bool, int8 to int64, uint8 or float16 to float64");
    }
    const std::size_t width = c10::elementSize(row->type);
    std::vector<std::int64_t> shape = *header_.shape;
    std::optional<std::uint64_t> span = width;  // without the zeros: nothing may overflow
    bool empty = false;
    for (const std::int64_t size : shape) {
      empty = empty || size == 0;
      if (span) span = checked_multiply(*span, static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1)));
    }
    const std::string text = fmt::format("an array of shape ({})", fmt::join(shape, ", "));
    if (!span || *span > (std::uint64_t{1} << 62)) fail(text);
    const std::uint64_t bytes = empty ? 0 : *span;
    std::string following;
    if (bytes < data.size() && std::string_view(reinterpret_cast<const char*>(data.data()) + bytes, data.size() - bytes)
                                   .starts_with(kNoteMagic)) {
      following = note(data.subspan(bytes));
      data = data.first(bytes);
    }
    if (bytes != data.size()) {
      fail(fmt::format("{} bytes of data for {}", data.size(), text), fmt::format("{}", bytes),
           data.size() < bytes ? "was the file cut off?" : "");
    }
    const bool fortran = *header_.fortran && shape.size() > 1;
    if (fortran) std::reverse(shape.begin(), shape.end());
    at::Tensor result = mapped_tensor(file_, data, row->type, shape);
    if (order == '>' && width > 1 && bytes > 0) {
      result = result.clone();
      swap_bytes(result.data_ptr(), bytes, width);
    }
    if (fortran) {
      std::vector<std::int64_t> axes(shape.size());
      for (std::size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<std::int64_t>(axes.size() - 1 - i);
      result = result.permute(axes).contiguous();
    }
    return {result, following};
  }

  MappedFile file_;
  Header header_;
  std::string_view rest_;
};

}  // namespace

at::Tensor read_npy(const std::filesystem::path& path) {
  return Reader(path).run().array;
}

NotedArray read_noted_npy(const std::filesystem::path& path) {
  return Reader(path).run();
}

void write_npy(const std::filesystem::path& path, const at::Tensor& array, std::string_view note) {
  at::Tensor data = array.detach().resolve_conj().resolve_neg().cpu().contiguous();
  if (data.scalar_type() == at::kBFloat16) data = data.to(at::kFloat);
  const DtypeNames* row = dtype_names(data.scalar_type());
  if (row == nullptr || row->numpy.empty()) {
    throw Error({.doing = "writing array",
                 .where = path.string(),
                 .found = "a tensor of type " + data.toString(),
                 .expected = "a type that NumPy has"});
  }
  std::string shape = fmt::format("{}", fmt::join(data.sizes(), ", "));
  if (data.dim() == 1) shape += ",";
  const char order = data.element_size() == 1 ? '|' : '<';
  std::string header =
      fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}", order, row->numpy, shape);
  // Version 1 counts the header in 16 bits; a shape of 64 sizes stays far below.
  const std::size_t unpadded = kMagic.size() + 4 + header.size() + 1;
  header.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string head(kMagic);
  head += '\x01';
  head += '\0';
  store(head, static_cast<std::uint16_t>(header.size()));
  AtomicFile file(path);
  file.write(head + header);
  file.write(std::span(static_cast<const std::byte*>(data.const_data_ptr()), data.nbytes()));
  if (!note.empty()) {
    std::string tail(kNoteMagic);
    store(tail, static_cast<std::uint64_t>(note.size()));
    file.write(tail.append(note));
  }
  file.commit();
}

}  // namespace clipself::formats
