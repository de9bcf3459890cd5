// Values as the protocol 2 pickles that torch.save writes and torch.load(weights_only=True) accepts.
#include <fmt/format.h>
#include <simdjson.h>

#include <bit>
#include <limits>
#include <map>
#include <unordered_map>

#include "clipself/base/error.h"
#include "clipself/formats/bytes.h"
#include "clipself/formats/dtypes.h"
#include "clipself/formats/pickle.h"

namespace clipself::formats {
namespace {

constexpr int kMaxDepth = 200;

class Writer {
 public:
  Writer(const std::string& where, const TensorStore& place, std::string& out)
      : where_(where), place_(place), out_(out) {}

  void run(const Value& value) {
    out_ += "\x80\x02";
    write(value, 0);
    out_ += '.';
  }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& expected = {}) const {
    throw Error({.doing = "writing checkpoint", .where = where_, .found = found, .expected = expected});
  }

  void write(const Value& value, int depth) {
    if (depth > kMaxDepth) fail(fmt::format("containers nested deeper than {}", kMaxDepth));
    switch (value.kind()) {
      case Value::Kind::kNone:
        out_ += 'N';
        return;
      case Value::Kind::kBool:
        out_ += value.as_bool() ? '\x88' : '\x89';
        return;
      case Value::Kind::kInt:
        return integer(value.as_int());
      case Value::Kind::kFloat:
        out_ += 'G';
        return store(out_, __builtin_bswap64(std::bit_cast<std::uint64_t>(value.as_float())));
      case Value::Kind::kString:
        return text(value.as_string());
      case Value::Kind::kBytes:
        return bytes(value.as_bytes());
      case Value::Kind::kList:
        return list(value.as_list(), depth);
      case Value::Kind::kTuple:
        return tuple(value.as_list(), depth);
      case Value::Kind::kDict:
        return dict(value.as_dict(), depth);
      case Value::Kind::kTensor:
        return tensor(value.as_tensor());
    }
  }

  void integer(std::int64_t value) {
    if (value >= 0 && value <= 0xff) {
      out_ += 'K';
      store(out_, static_cast<std::uint8_t>(value));
    } else if (value >= 0 && value <= 0xffff) {
      out_ += 'M';
      store(out_, static_cast<std::uint16_t>(value));
    } else if (value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max()) {
      out_ += 'J';
      store(out_, static_cast<std::int32_t>(value));
    } else {
      out_ += "\x8a\x08";
      store(out_, value);
    }
  }

  void text(std::string_view value) {
    if (!simdjson::validate_utf8(value.data(), value.size())) fail("a string that is not UTF-8");
    if (value.size() > std::numeric_limits<std::uint32_t>::max()) fail("a string of more than 4 GB");
    out_ += 'X';
    store(out_, static_cast<std::uint32_t>(value.size()));
    out_ += value;
  }

  // Protocol 2 knows no bytes: Python itself writes them as _codecs.encode(text, "latin1").
  void bytes(std::string_view value) {
    std::string encoded;
    for (const char c : value) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x80) {
        encoded += c;
      } else {
        encoded += static_cast<char>(0xc0 | (byte >> 6));
        encoded += static_cast<char>(0x80 | (byte & 0x3f));
      }
    }
    global("_codecs", "encode");
    text(encoded);
    text("latin1");
    out_ += "\x86R";
  }

  // A container met again is fetched from the memo; one met inside itself cannot be a tree.
  bool recall(const void* container) {
    const auto found = memo_.find(container);
    if (found == memo_.end()) return false;
    if (found->second == kOpen) fail("a container that holds itself");
    get(found->second);
    return true;
  }

  void get(std::uint32_t index) {
    if (index <= 0xff) {
      out_ += 'h';
      store(out_, static_cast<std::uint8_t>(index));
    } else {
      out_ += 'j';
      store(out_, index);
    }
  }

  std::uint32_t put() {
    const std::uint32_t index = memo_size_++;
    if (index <= 0xff) {
      out_ += 'q';
      store(out_, static_cast<std::uint8_t>(index));
    } else {
      out_ += 'r';
      store(out_, index);
    }
    return index;
  }

  void list(const List& items, int depth) {
    if (recall(&items)) return;
    memo_[&items] = kOpen;
    out_ += ']';
    const std::uint32_t index = put();
    out_ += '(';
    for (const Value& item : items) write(item, depth + 1);
    out_ += 'e';
    memo_[&items] = index;
  }

  void tuple(const List& items, int depth) {
    if (recall(&items)) return;
    memo_[&items] = kOpen;
    out_ += '(';
    for (const Value& item : items) write(item, depth + 1);
    out_ += 't';
    memo_[&items] = put();
  }

  void dict(const Dict& items, int depth) {
    if (recall(&items)) return;
    memo_[&items] = kOpen;
    out_ += '}';
    const std::uint32_t index = put();
    out_ += '(';
    for (const auto& [key, value] : items) {
      if (key.is(Value::Kind::kList) || key.is(Value::Kind::kDict)) fail(key.describe() + " as a dict's key");
      write(key, depth + 1);
      write(value, depth + 1);
    }
    out_ += 'u';
    memo_[&items] = index;
  }

  void global(const std::string& module, const std::string& name) {
    const std::string line = module + '\n' + name + '\n';
    const auto found = globals_.find(line);
    if (found != globals_.end()) return get(found->second);
    out_ += 'c';
    out_ += line;
    globals_.emplace(line, put());
  }

  void integers(at::IntArrayRef values) {
    out_ += '(';
    for (const std::int64_t value : values) integer(value);
    out_ += 't';
  }

  void tensor(const at::Tensor& value) {
    const DtypeNames* dtype = dtype_names(value.scalar_type());
    if (dtype == nullptr) fail("a tensor of type " + value.toString(), "a type that torch.load knows");
    const StoredTensor stored = place_(value);
    // Types younger than torch's typed storages are written over untyped bytes, with the type beside them.
    const bool typed = !dtype->storage.empty();
    global("torch._utils", typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
    out_ += "((";
    text("storage");
    typed ? global("torch", std::string(dtype->storage)) : global("torch.storage", "UntypedStorage");
    text(stored.key);
    text("cpu");
    integer(typed ? stored.numel : stored.numel * static_cast<std::int64_t>(value.element_size()));
    out_ += "tQ";
    integer(stored.tensor.storage_offset() - stored.first);
    integers(stored.tensor.sizes());
    integers(stored.tensor.strides());
    out_ += '\x89';  // requires_grad
    global("collections", "OrderedDict");
    out_ += ")R";  // no backward hooks
    if (!typed) global("torch", std::string(dtype->torch));
    out_ += "tR";
  }

  static constexpr std::uint32_t kOpen = 0xffffffff;
  const std::string& where_;
  const TensorStore& place_;
  std::string& out_;
  std::uint32_t memo_size_ = 0;
  std::unordered_map<const void*, std::uint32_t> memo_;
  std::map<std::string, std::uint32_t> globals_;
};

}  // namespace

void write_pickle(const Value& value, const std::string& where, const TensorStore& place, std::string& out) {
  Writer(where, place, out).run(value);
}

}  // namespace clipself::formats
