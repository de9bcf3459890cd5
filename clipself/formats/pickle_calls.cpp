#include "clipself/formats/pickle_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "clipself/formats/bytes.h"
#include "clipself/formats/dtypes.h"
#include "clipself/formats/pickle_numpy.h"

namespace clipself::formats::pickle {

enum class Action {
  kType,  ///< a class that is only ever named (a defaultdict's factory, a tensor's class)
  kStorage,
  kDtype,
  kDict,
  kDefaultDict,
  kList,
  kTuple,
  kBytes,
  kEncode,
  kComplex,
  kDevice,
  kLayout,
  kTensor,
  kTensorV2,
  kTensorV3,
  kParameter,
  kFromType,
  kNumpyArray,
  kNumpyBuffer,
  kNumpyScalar,
  kNumpyType,
  kScriptObject,  ///< any class of a TorchScript program
  kFirst,         ///< gives back its first argument
};

struct Global {
  std::string module;
  std::string name;
  Action action;
  at::ScalarType dtype = at::kByte;
};

namespace {

// Everything a checkpoint may name. Old and new homes of one thing are rows of their own; Python 2's "__builtin__" is
// looked up as "builtins".
std::vector<Global> make_globals() {
  std::vector<Global> table = {
      {"collections", "OrderedDict", Action::kDict},
      {"collections", "Counter", Action::kDict},
      {"collections", "defaultdict", Action::kDefaultDict},
      {"builtins", "dict", Action::kDict},
      {"builtins", "list", Action::kList},
      {"builtins", "set", Action::kList},
      {"builtins", "frozenset", Action::kList},
      {"builtins", "tuple", Action::kTuple},
      {"builtins", "int", Action::kType},
      {"builtins", "float", Action::kType},
      {"builtins", "bool", Action::kType},
      {"builtins", "str", Action::kType},
      {"builtins", "bytes", Action::kBytes},
      {"builtins", "bytearray", Action::kBytes},
      {"builtins", "complex", Action::kComplex},
      {"_codecs", "encode", Action::kEncode},
      {"torch", "Size", Action::kTuple},
      {"torch", "device", Action::kDevice},
      {"torch", "Tensor", Action::kType},
      {"torch.nn.parameter", "Parameter", Action::kType},
      {"torch.serialization", "_get_layout", Action::kLayout},
      {"torch._utils", "_rebuild_tensor", Action::kTensor},
      {"torch._utils", "_rebuild_tensor_v2", Action::kTensorV2},
      {"torch._utils", "_rebuild_tensor_v3", Action::kTensorV3},
      {"torch._utils", "_rebuild_parameter", Action::kParameter},
      {"torch._utils", "_rebuild_parameter_with_state", Action::kParameter},
      {"torch._tensor", "_rebuild_from_type_v2", Action::kFromType},
      {"torch", "UntypedStorage", Action::kStorage},
      {"torch.storage", "UntypedStorage", Action::kStorage},
      {"torch.storage", "_UntypedStorage", Action::kStorage},
      {"torch.jit._pickle", "build_intlist", Action::kFirst},
      {"torch.jit._pickle", "build_doublelist", Action::kFirst},
      {"torch.jit._pickle", "build_boollist", Action::kFirst},
      {"torch.jit._pickle", "build_tensorlist", Action::kFirst},
      {"torch.jit._pickle", "restore_type_tag", Action::kFirst},
      {"numpy", "ndarray", Action::kType},
      {"numpy", "dtype", Action::kNumpyType},
      {"numpy.core.multiarray", "_reconstruct", Action::kNumpyArray},
      {"numpy._core.multiarray", "_reconstruct", Action::kNumpyArray},
      {"numpy.core.multiarray", "scalar", Action::kNumpyScalar},
      {"numpy._core.multiarray", "scalar", Action::kNumpyScalar},
      {"numpy.core.numeric", "_frombuffer", Action::kNumpyBuffer},
      {"numpy._core.numeric", "_frombuffer", Action::kNumpyBuffer},
  };
  for (const DtypeNames& dtype : all_dtypes()) {
    table.push_back({"torch", std::string(dtype.torch), Action::kDtype, dtype.type});
    if (dtype.storage.empty()) continue;
    table.push_back({"torch", std::string(dtype.storage), Action::kStorage, dtype.type});
    table.push_back({"torch.cuda", std::string(dtype.storage), Action::kStorage, dtype.type});
  }
  return table;
}

[[noreturn]] void refuse(const Heap& heap, const std::string& name) {
  const std::string_view view = name;
  std::string hint = "a checkpoint's code is never run; save the state_dict() alone";
  if (view.starts_with("torch.nn.")) hint = "this is a whole model, not its weights; save its state_dict()";
  if (view.find("torch.Q") == 0 || view.find("_rebuild_qtensor") != view.npos) {
    hint = "quantized tensors are not supported; dequantize them first";
  }
  heap.fail("the global '" + name + "'", "only those that tensors and plain containers need", hint);
}

class Arguments {
 public:
  Arguments(Heap& heap, const Global& global, const std::vector<Id>& ids, std::size_t least, std::size_t most)
      : heap_(heap), name_(full_name(global)), ids_(ids) {
    if (ids.size() < least || ids.size() > most) {
      heap.fail(fmt::format("{} arguments of '{}'", ids.size(), name_), fmt::format("{} to {}", least, most));
    }
  }

  std::size_t size() const { return ids_.size(); }
  Id operator[](std::size_t i) const { return ids_[i]; }
  std::int64_t integer(std::size_t i) const { return heap_.integer(ids_[i], "an argument of a tensor"); }
  std::string_view text(std::size_t i) const { return heap_.text(ids_[i], "an argument"); }
  /// Sizes or strides: ints of a tuple.
  std::vector<std::int64_t> integers(std::size_t i) const {
    std::vector<std::int64_t> values;
    for (const Id id : heap_.sequence(ids_[i], "a tensor's shape or strides")) {
      values.push_back(heap_.integer(id, "one of a tensor's sizes or strides"));
    }
    return values;
  }
  const TypedStorage& storage(std::size_t i) const {
    if (const auto* node = std::get_if<StorageNode>(&heap_[ids_[i]])) return heap_.storages[node->index];
    heap_.fail(heap_.describe(ids_[i]) + " as a tensor's storage");
  }

 private:
  Heap& heap_;
  std::string name_;
  const std::vector<Id>& ids_;
};

bool flag(Heap& heap, Id mapping, std::string_view key) {
  const auto* node = std::get_if<Mapping>(&heap[mapping]);
  if (node == nullptr) return false;
  for (std::size_t i = 0; i < node->items.size(); i += 2) {
    const auto* name = std::get_if<Text>(&heap[node->items[i]]);
    const auto* value = std::get_if<bool>(&heap[node->items[i + 1]]);
    if (name != nullptr && name->text == key && value != nullptr && *value) return true;
  }
  return false;
}

// Bounds of a strided view, in elements of `dtype`. `storage` counts elements of its own type, of the same width or,
// untyped, of one byte.
at::Tensor make_tensor(Heap& heap, const TypedStorage& storage, at::ScalarType dtype, std::int64_t offset,
                       const std::vector<std::int64_t>& sizes, const std::vector<std::int64_t>& strides) {
  constexpr std::size_t kMaxDimensions = 64;
  constexpr std::int64_t kMaxStride = std::int64_t{1} << 48;
  const auto width = static_cast<std::int64_t>(c10::elementSize(dtype));
  const auto own_width = static_cast<std::int64_t>(c10::elementSize(storage.dtype));
  const std::int64_t available = storage.numel * own_width / width;
  if (sizes.size() != strides.size() || sizes.size() > kMaxDimensions) {
    heap.fail(fmt::format("a tensor of {} sizes and {} strides", sizes.size(), strides.size()));
  }
  const std::string shape = fmt::format("a tensor of shape ({})", fmt::join(sizes, ", "));
  std::optional<std::int64_t> bytes = width;
  std::optional<std::int64_t> last = offset;
  bool empty = false;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0 || strides[i] < 0 || strides[i] > kMaxStride) {
      heap.fail(shape + fmt::format(" and strides ({})", fmt::join(strides, ", ")));
    }
    empty = empty || sizes[i] == 0;
    if (bytes) bytes = checked_multiply(*bytes, std::max<std::int64_t>(sizes[i], 1));
    const auto reach = checked_multiply(std::max<std::int64_t>(sizes[i], 1) - 1, strides[i]);
    last = last && reach ? checked_add(*last, *reach) : std::nullopt;
  }
  if (!bytes) heap.fail(shape);
  if (offset < 0 || (empty ? offset > available : !last || *last >= available)) {
    heap.fail(fmt::format("{} at offset {} in a storage of {} elements", shape, offset, available), "one that fits");
  }
  // A repeated element (zero stride) costs the file nothing; whoever copies the tensor pays for all of it.
  const std::uint64_t limit = (std::uint64_t{64} << 20) + 16 * heap.source.file_size;
  if (!empty && static_cast<std::uint64_t>(*bytes) > limit) {
    heap.fail(shape, fmt::format("at most {} bytes from a file of {}", limit, heap.source.file_size));
  }
  const auto start = checked_add(storage.first * own_width / width, offset);
  at::Tensor tensor = at::empty({0}, at::TensorOptions().dtype(dtype));
  tensor.set_(storage.storage, empty ? 0 : *start, sizes, strides);
  return tensor;
}

// A string of code points below 256, as _codecs.encode(text, "latin1") turns it into bytes.
std::string latin1(const Heap& heap, std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      bytes.push_back(text[i]);
    } else if ((lead == 0xc2 || lead == 0xc3) && i + 1 < text.size() &&
               (static_cast<unsigned char>(text[i + 1]) & 0xc0) == 0x80) {
      bytes.push_back(static_cast<char>(((lead & 3) << 6) | (static_cast<unsigned char>(text[++i]) & 0x3f)));
    } else {
      heap.fail("text that is not Latin-1 where bytes are encoded");
    }
  }
  return bytes;
}

Id encode(Heap& heap, Id text, Id encoding) {
  const std::string_view name = heap.text(encoding, "an encoding");
  if (name != "latin1" && name != "latin-1") heap.fail("bytes encoded as " + heap.describe(encoding), "'latin1'");
  const std::string_view source = heap.text(text, "encoded bytes");
  heap.charge(source.size());
  return heap.add(Bytes{heap.keep(latin1(heap, source))});
}

Id make_dict(Heap& heap, const Arguments& arguments) {
  Mapping result;
  if (arguments.size() == 1) {
    if (const auto* mapping = std::get_if<Mapping>(&heap[arguments[0]])) {
      result = *mapping;
    } else {
      for (const Id pair : heap.sequence(arguments[0], "a dict's content")) {
        const std::vector<Id>& items = heap.sequence(pair, "a dict's entry");
        if (items.size() != 2) heap.fail(heap.describe(pair) + " as a dict's entry", "a pair");
        result.items.insert(result.items.end(), items.begin(), items.end());
      }
    }
    heap.charge_items(result.items.size());
  }
  return heap.add(std::move(result));
}

Id make_sequence(Heap& heap, const Arguments& arguments, bool tuple) {
  Sequence result{{}, tuple};
  if (arguments.size() == 1) result.items = heap.sequence(arguments[0], "a container's content");
  heap.charge_items(result.items.size());
  return heap.add(std::move(result));
}

Id make_device(Heap& heap, const Arguments& arguments) {
  std::string name(arguments.text(0));
  if (arguments.size() == 2) name += fmt::format(":{}", arguments.integer(1));
  heap.charge(name.size());
  return heap.add(Text{heap.keep(std::move(name))});
}

Id make_complex(Heap& heap, const Arguments& arguments) {
  const auto* real = std::get_if<double>(&heap[arguments[0]]);
  const auto* imaginary = std::get_if<double>(&heap[arguments[1]]);
  if (real == nullptr || imaginary == nullptr) heap.fail("a complex number not made of two floats");
  return heap.add_tensor(at::scalar_tensor(c10::complex<double>(*real, *imaginary), at::kComplexDouble));
}

Id require_tensor(Heap& heap, Id id, const char* what) {
  if (!std::holds_alternative<at::Tensor>(heap[id])) heap.fail(heap.describe(id) + " as " + what, "a tensor");
  return id;
}

}  // namespace

const Global* find_global(const Heap& heap, std::string_view module, std::string_view name) {
  static const std::unordered_map<std::string, Global> table = [] {
    std::unordered_map<std::string, Global> rows;
    for (Global& row : make_globals()) rows.emplace(row.module + "." + row.name, row);
    return rows;
  }();
  static const Global script{"__torch__", "(class)", Action::kScriptObject};
  if (module == "__torch__" || module.starts_with("__torch__.")) return &script;
  const std::string full = std::string(module == "__builtin__" ? "builtins" : module) + "." + std::string(name);
  const auto found = table.find(full);
  if (found == table.end()) refuse(heap, full);
  return &found->second;
}

std::string full_name(const Global& global) {
  return global.module + "." + global.name;
}

std::string value_name(const Global& global) {
  return global.action == Action::kDtype ? full_name(global) : std::string();
}

at::Tensor storage_as_tensor(const TypedStorage& storage) {
  at::Tensor tensor = at::empty({0}, at::TensorOptions().dtype(storage.dtype));
  tensor.set_(storage.storage, storage.first, {storage.numel}, {1});
  return tensor;
}

Id call(Heap& heap, Id callable, Id arguments) {
  const auto* node = std::get_if<const Global*>(&heap[callable]);
  if (node == nullptr) heap.fail("a call of " + heap.describe(callable), "a global");
  const Global& global = **node;
  const std::vector<Id>& ids = heap.sequence(arguments, "a call's arguments");
  const auto take = [&](std::size_t least, std::size_t most) { return Arguments(heap, global, ids, least, most); };
  switch (global.action) {
    case Action::kDict:
      return make_dict(heap, take(0, 1));
    case Action::kDefaultDict:
      take(0, 1);
      return heap.add(Mapping{});
    case Action::kList:
      return make_sequence(heap, take(0, 1), false);
    case Action::kTuple:
      return make_sequence(heap, take(0, 1), true);
    case Action::kBytes: {
      const Arguments given = take(0, 2);
      if (given.size() == 0) return heap.add(Bytes{});
      if (given.size() == 2) return encode(heap, given[0], given[1]);
      if (std::holds_alternative<Bytes>(heap[given[0]])) return given[0];
      heap.fail(heap.describe(given[0]) + " as bytes");
    }
    case Action::kEncode: {
      const Arguments given = take(2, 2);
      return encode(heap, given[0], given[1]);
    }
    case Action::kComplex:
      return make_complex(heap, take(2, 2));
    case Action::kDevice:
      return make_device(heap, take(1, 2));
    case Action::kLayout:
      return heap.add(Text{take(1, 1).text(0)});
    case Action::kTensor: {
      const Arguments given = take(4, 4);
      const TypedStorage& storage = given.storage(0);
      return heap.add_tensor(
          make_tensor(heap, storage, storage.dtype, given.integer(1), given.integers(2), given.integers(3)));
    }
    case Action::kTensorV2: {
      const Arguments given = take(6, 7);
      if (given.size() == 7 && (flag(heap, given[6], "conj") || flag(heap, given[6], "neg"))) {
        heap.fail("a tensor with its conjugate or negative bit set", {},
                  "resolve_conj() and resolve_neg() before saving");
      }
      const TypedStorage& storage = given.storage(0);
      return heap.add_tensor(
          make_tensor(heap, storage, storage.dtype, given.integer(1), given.integers(2), given.integers(3)));
    }
    case Action::kTensorV3: {
      const Arguments given = take(7, 8);
      const auto* dtype = std::get_if<const Global*>(&heap[given[6]]);
      if (dtype == nullptr || (*dtype)->action != Action::kDtype) heap.fail(heap.describe(given[6]) + " as a dtype");
      return heap.add_tensor(
          make_tensor(heap, given.storage(0), (*dtype)->dtype, given.integer(1), given.integers(2), given.integers(3)));
    }
    case Action::kParameter:
      return require_tensor(heap, take(3, 4)[0], "a parameter's data");
    case Action::kFromType: {
      const Arguments given = take(4, 4);
      const auto* inner = std::get_if<const Global*>(&heap[given[0]]);
      if (inner == nullptr || (*inner)->action == Action::kFromType) heap.fail("a tensor built by no known function");
      return require_tensor(heap, call(heap, given[0], given[2]), "a tensor with attributes");
    }
    case Action::kNumpyArray:
      take(3, 3);
      return heap.add(NumpyShell{});
    case Action::kNumpyBuffer: {
      const Arguments given = take(4, 4);
      return numpy_from_buffer(heap, given[0], given[1], given[2], given.text(3) == "F");
    }
    case Action::kNumpyScalar: {
      const Arguments given = take(2, 2);
      return numpy_scalar(heap, given[0], given[1]);
    }
    case Action::kNumpyType:
      return numpy_type(heap, take(1, 3)[0]);
    case Action::kScriptObject:
      take(0, 0);
      return heap.add(ScriptObject{});
    case Action::kFirst:
      return take(1, 2)[0];
    case Action::kType:
    case Action::kStorage:
    case Action::kDtype:
      break;
  }
  heap.fail("a call of " + heap.describe(callable), "a function that makes a tensor or a container");
}

void build(Heap& heap, Id object, Id state) {
  // OrderedDict's attributes (a state_dict's _metadata) are no entries of the dict; nothing here needs them.
  if (std::holds_alternative<Mapping>(heap[object])) return;
  if (auto* type = std::get_if<NumpyType>(&heap[object])) {
    numpy_build_type(heap, *type, state);
  } else if (std::holds_alternative<NumpyShell>(heap[object])) {
    at::Tensor array = numpy_build_array(heap, state);
    heap[object] = std::move(array);
  } else if (std::holds_alternative<ScriptObject>(heap[object])) {
    const auto* attributes = std::get_if<Mapping>(&heap[state]);
    if (attributes == nullptr) heap.fail(heap.describe(state) + " as an object's attributes", "a dict");
    heap.charge_items(attributes->items.size());
    Mapping copy = *attributes;
    heap[object] = std::move(copy);
  } else {
    heap.fail("a state given to " + heap.describe(object),
              "only to an OrderedDict, a NumPy array or an object of TorchScript");
  }
}

Id load_persistent(Heap& heap, Id name) {
  const std::vector<Id>& parts = heap.sequence(name, "a persistent id");
  if (parts.empty()) heap.fail("an empty persistent id");
  const std::string_view kind = heap.text(parts[0], "a persistent id's kind");
  if (kind == "module") {
    heap.fail("a whole model (a pickled nn.Module)", "its weights", "save the state_dict() alone");
  }
  if (kind != "storage" || (parts.size() != 5 && parts.size() != 6)) {
    heap.fail(fmt::format("a persistent id '{}' of {} parts", kind.substr(0, 80), parts.size()), "a storage");
  }
  const auto* type = std::get_if<const Global*>(&heap[parts[1]]);
  if (type == nullptr || (*type)->action != Action::kStorage) {
    heap.fail(heap.describe(parts[1]) + " as a storage's type");
  }
  StorageRequest request;
  request.dtype = (*type)->dtype;
  request.typed = !(*type)->name.ends_with("UntypedStorage");
  if (const auto* number = std::get_if<std::int64_t>(&heap[parts[2]])) {
    request.key = std::to_string(*number);
  } else {
    request.key = heap.text(parts[2], "a storage's key");
  }
  request.numel = heap.integer(parts[4], "a storage's size");
  const auto width = static_cast<std::int64_t>(c10::elementSize(request.dtype));
  const auto bytes = checked_multiply(request.numel, width);
  if (request.numel < 0 || !bytes) heap.fail(fmt::format("a storage of {} elements", request.numel));

  TypedStorage storage{heap.source.storage(request), request.dtype, 0, request.numel};
  if (parts.size() == 6 && !std::holds_alternative<std::monostate>(heap[parts[5]])) {
    // (key, offset, size): a storage that is a part of another, which only torch before 0.4 wrote.
    const std::vector<Id>& view = heap.sequence(parts[5], "a storage's view");
    if (view.size() != 3) heap.fail(heap.describe(parts[5]) + " as a storage's view", "three parts");
    storage.first = heap.integer(view[1], "a view's offset");
    storage.numel = heap.integer(view[2], "a view's size");
    if (storage.first < 0 || storage.numel < 0 || storage.first > request.numel ||
        storage.numel > request.numel - storage.first) {
      heap.fail(
          fmt::format("a view of elements {} + {} into a storage of {}", storage.first, storage.numel, request.numel));
    }
  }
  heap.storages.push_back(std::move(storage));
  return heap.add(StorageNode{heap.storages.size() - 1});
}

}  // namespace clipself::formats::pickle
