#include "clipself/formats/safetensors.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/bytes.h"
#include "clipself/formats/dtypes.h"
#include "clipself/formats/mapped_tensor.h"

namespace clipself::formats {
namespace {

constexpr std::string_view kMetadata = "__metadata__";
// The reference implementation's limit; a header of a hundred thousand tensors is some 15 MB.
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kAlignment = 64;

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : file_(path) {}

  SafeTensors run() {
    if (file_.size() < 8) fail(fmt::format("{} bytes", file_.size()), "a header", "was the file cut off?");
    const auto header = load<std::uint64_t>(file_.bytes(), 0);
    if (header > file_.size() - 8) {
      fail(fmt::format("a header of {} bytes in a file of {}", header, file_.size()), {}, "was the file cut off?");
    }
    if (header > kMaxHeader) fail(fmt::format("a header of {} bytes", header), fmt::format("at most {}", kMaxHeader));
    data_ = file_.private_bytes().subspan(8 + header);
    simdjson::dom::parser parser;
    const simdjson::padded_string text(file_.text().substr(8, header));
    simdjson::dom::object root;
    if (const auto error = parser.parse(text).get(root); error != simdjson::SUCCESS) {
      fail(std::string("a header that is no JSON object (") + simdjson::error_message(error) + ")");
    }
    SafeTensors result;
    for (const auto& [name, value] : root) {
      if (name == kMetadata) {
        read_metadata(value, result.metadata);
      } else {
        entries_.push_back(read_entry(std::string(name), value));
      }
    }
    place(result.tensors);
    return result;
  }

 private:
  struct Entry {
    std::string name;
    at::ScalarType dtype = at::kByte;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  [[noreturn]] void fail(const std::string& found, const std::string& expected = {},
                         const std::string& hint = {}) const {
    throw Error({.doing = "reading safetensors",
                 .where = file_.path().string(),
                 .found = found,
                 .expected = expected,
                 .hint = hint});
  }

  void read_metadata(simdjson::dom::element value, std::map<std::string, std::string>& metadata) const {
    simdjson::dom::object object;
    if (value.get(object) != simdjson::SUCCESS) fail("metadata that is no object");
    for (const auto& [key, text] : object) {
      std::string_view content;
      if (text.get(content) != simdjson::SUCCESS) fail("metadata '" + std::string(key) + "' that is no string");
      metadata.emplace(std::string(key), std::string(content));
    }
  }

  Entry read_entry(std::string name, simdjson::dom::element value) const {
    const std::string what = "tensor '" + name + "'";
    Entry entry;
    entry.name = std::move(name);
    std::string_view dtype;
    if (value["dtype"].get(dtype) != simdjson::SUCCESS) fail(what + " without a dtype");
    const DtypeNames* row = dtype_named(&DtypeNames::safetensors, dtype);
    if (row == nullptr) fail(fmt::format("{} of dtype '{}'", what, dtype.substr(0, 40)), "a type that torch has");
    entry.dtype = row->type;

    simdjson::dom::array shape;
    if (value["shape"].get(shape) != simdjson::SUCCESS) fail(what + " without a shape");
    std::optional<std::uint64_t> span = c10::elementSize(entry.dtype);  // without the zeros: nothing may overflow
    bool empty = false;
    for (const simdjson::dom::element item : shape) {
      std::uint64_t size = 0;
      if (item.get(size) != simdjson::SUCCESS || size > kMaxSize) fail(what + " with a broken shape");
      empty = empty || size == 0;
      if (span) span = checked_multiply(*span, std::max<std::uint64_t>(size, 1));
      entry.shape.push_back(static_cast<std::int64_t>(size));
    }
    if (!span || *span > kMaxSize || entry.shape.size() > 64) {
      fail(fmt::format("{} of shape ({})", what, fmt::join(entry.shape, ", ")));
    }

    simdjson::dom::array offsets;
    if (value["data_offsets"].get(offsets) != simdjson::SUCCESS || offsets.size() != 2 ||
        offsets.at(0).get(entry.begin) != simdjson::SUCCESS || offsets.at(1).get(entry.end) != simdjson::SUCCESS ||
        entry.begin > entry.end || entry.end > data_.size()) {
      fail(what + " whose data_offsets do not lie in the file", {}, "was the file cut off?");
    }
    if (entry.end - entry.begin != (empty ? 0 : *span)) {
      fail(fmt::format("{} of shape ({}) in {} bytes", what, fmt::join(entry.shape, ", "), entry.end - entry.begin));
    }
    return entry;
  }

  // The format allows neither overlaps nor holes, so that a file holds nothing but its tensors.
  void place(TensorDict& tensors) {
    std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t at = 0;
    tensors.reserve(entries_.size());
    for (const Entry& entry : entries_) {
      if (entry.begin != at) fail("tensor '" + entry.name + "' that does not follow the one before it");
      if (tensors.find(entry.name) != nullptr) fail("two tensors named '" + entry.name + "'");
      at = entry.end;
      tensors.insert(entry.name, mapped_tensor(file_, data_.subspan(entry.begin, entry.end - entry.begin), entry.dtype,
                                               entry.shape));
    }
    if (at != data_.size()) fail(fmt::format("{} bytes behind the last tensor", data_.size() - at));
  }

  static constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 62;
  MappedFile file_;
  std::span<std::byte> data_;
  std::vector<Entry> entries_;
};

}  // namespace

SafeTensors read_safetensors(const std::filesystem::path& path) {
  return Reader(path).run();
}

void write_safetensors(const std::filesystem::path& path, const TensorDict& tensors,
                       const std::map<std::string, std::string>& metadata) {
  struct Item {
    const std::string* name;
    const at::Tensor* tensor;
  };
  std::vector<Item> items;
  for (const auto& item : tensors) items.push_back({&item.key(), &item.value()});
  // Wide types first: as no holes are allowed, this alone keeps every tensor aligned for its type.
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.tensor->element_size() > b.tensor->element_size(); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  std::uint64_t at = 0;
  for (const Item& item : items) {
    const DtypeNames* row = dtype_names(item.tensor->scalar_type());
    if (row == nullptr || row->safetensors.empty() || item.tensor->layout() != at::kStrided ||
        *item.name == kMetadata) {
      throw Error({.doing = "writing safetensors",
                   .where = path.string(),
                   .found = fmt::format("tensor '{}' of type {}", *item.name, item.tensor->toString()),
                   .expected = "a dense tensor of a type and name that the format has"});
    }
    const std::uint64_t end = at + item.tensor->nbytes();
    header[*item.name] = {
        {"dtype", row->safetensors}, {"shape", item.tensor->sizes().vec()}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::ordered_json::exception&) {
    throw Error({.doing = "writing",
                 .where = path.string(),
                 .found = "a tensor name that is no UTF-8",
                 .expected = "names that JSON can hold"});
  }
  text.append((kAlignment - (8 + text.size()) % kAlignment) % kAlignment, ' ');
  std::string size;
  store(size, static_cast<std::uint64_t>(text.size()));

  AtomicFile file(path);
  file.write(size + text);
  for (const Item& item : items) {
    const at::Tensor data = item.tensor->detach().resolve_conj().resolve_neg().cpu().contiguous();
    file.write(std::span(static_cast<const std::byte*>(data.const_data_ptr()), data.nbytes()));
  }
  file.commit();
}

}  // namespace clipself::formats
