#include "clipself/formats/pickle_heap.h"

#include <fmt/format.h>

#include <unordered_set>

#include "clipself/base/error.h"
#include "clipself/formats/dtypes.h"
#include "clipself/formats/pickle_calls.h"

namespace clipself::formats::pickle {
namespace {

// Far above any checkpoint (a model of a thousand tensors makes some twenty thousand objects), far below what would
// exhaust a machine.
constexpr std::size_t kMaxObjects = std::size_t{1} << 24;
constexpr std::size_t kMaxTensors = std::size_t{1} << 20;
constexpr int kMaxDepth = 200;
// A node, what refers to it and what becomes of it; a container is also counted among the finished.
constexpr std::size_t kNodeBytes = sizeof(Node) + sizeof(Id) + sizeof(Value) + 1, kContainerBytes = 160;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

Heap::Heap(const PickleSource& from) : source(from), charge_limit_((std::size_t{64} << 20) + 64 * from.file_size) {}

void Heap::fail(const std::string& found, const std::string& expected, const std::string& hint) const {
  throw Error(
      {.doing = "reading checkpoint", .where = source.where, .found = found, .expected = expected, .hint = hint});
}

Id Heap::add(Node node) {
  if (nodes_.size() >= kMaxObjects) fail(fmt::format("more than {} objects", kMaxObjects));
  const bool container = std::holds_alternative<Sequence>(node) || std::holds_alternative<Mapping>(node);
  charge(kNodeBytes + (container ? kContainerBytes : 0));
  nodes_.push_back(std::move(node));
  return static_cast<Id>(nodes_.size() - 1);
}

void Heap::count_tensor() {
  if (++tensors_ > kMaxTensors) fail(fmt::format("more than {} tensors", kMaxTensors));
}

Id Heap::add_tensor(at::Tensor tensor) {
  count_tensor();
  return add(std::move(tensor));
}

void Heap::charge(std::size_t bytes) {
  if (bytes > charge_limit_ - charged_) {
    fail(fmt::format("objects of more than {} bytes", charge_limit_), "no more than a file of this size can need");
  }
  charged_ += bytes;
}

void Heap::charge_items(std::size_t items) {
  charge(items * (sizeof(Id) + sizeof(Value)));
}

std::string_view Heap::keep(std::string text) {
  return texts_.emplace_back(std::move(text));
}

std::string_view Heap::text(Id id, const char* what) {
  if (const auto* node = std::get_if<Text>(&nodes_[id])) return node->text;
  fail(fmt::format("{} as {}", describe(id), what), "a string");
}

std::int64_t Heap::integer(Id id, const char* what) {
  if (const auto* node = std::get_if<std::int64_t>(&nodes_[id])) return *node;
  fail(fmt::format("{} as {}", describe(id), what), "an int");
}

std::vector<Id>& Heap::sequence(Id id, const char* what) {
  if (auto* node = std::get_if<Sequence>(&nodes_[id])) return node->items;
  fail(fmt::format("{} as {}", describe(id), what), "a tuple or list");
}

std::string Heap::describe(Id id) {
  return std::visit(
      Overloaded{[](std::monostate) { return std::string("none"); }, [](bool) { return std::string("a bool"); },
                 [](std::int64_t value) { return fmt::format("the int {}", value); },
                 [](double) { return std::string("a float"); },
                 [](const Text& node) { return fmt::format("the string '{}'", node.text.substr(0, 80)); },
                 [](const Bytes&) { return std::string("bytes"); },
                 [](const Sequence& node) {
                   return fmt::format("a {} of {}", node.tuple ? "tuple" : "list", node.items.size());
                 },
                 [](const Mapping& node) { return fmt::format("a dict of {}", node.items.size() / 2); },
                 [](const Global* node) { return "the global '" + full_name(*node) + "'"; },
                 [](const StorageNode&) { return std::string("a storage"); },
                 [](const at::Tensor&) { return std::string("a tensor"); },
                 [](const NumpyType&) { return std::string("a NumPy type"); },
                 [](const NumpyShell&) { return std::string("an unfinished NumPy array"); },
                 [](const ScriptObject&) { return std::string("an object of TorchScript"); }},
      nodes_[id]);
}

Value Heap::to_value(Id id) {
  states_.assign(nodes_.size(), State::kNew);
  return convert(id, 0);
}

Value Heap::convert(Id id, int depth) {
  if (depth > kMaxDepth) fail(fmt::format("containers nested deeper than {}", kMaxDepth));
  Node& node = nodes_[id];
  const bool container = std::holds_alternative<Sequence>(node) || std::holds_alternative<Mapping>(node);
  if (container) {
    if (states_[id] == State::kDone) return finished_.at(id);
    if (states_[id] == State::kOpen) fail("a container that holds itself", "a tree of values");
    states_[id] = State::kOpen;
  }
  Value value = std::visit(
      Overloaded{[](std::monostate) { return Value(); }, [](bool flag) { return Value(flag); },
                 [](std::int64_t number) { return Value(number); }, [](double number) { return Value(number); },
                 [&](const Text& text) {
                   charge(text.text.size());
                   return Value(std::string(text.text));
                 },
                 [&](const Bytes& bytes) {
                   charge(bytes.bytes.size());
                   return Value::bytes(std::string(bytes.bytes));
                 },
                 [&](const Sequence& sequence) {
                   List items = convert_items(sequence.items, depth);
                   return sequence.tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
                 },
                 [&](const Mapping& mapping) { return Value::dict(convert_pairs(mapping.items, depth)); },
                 [&](const Global* global) {
                   if (const auto name = value_name(*global); !name.empty()) return Value(name);
                   fail("the bare global '" + full_name(*global) + "'", "tensors and plain values");
                 },
                 [&](const StorageNode& storage) {
                   count_tensor();
                   return Value(storage_as_tensor(storages[storage.index]));
                 },
                 [](const at::Tensor& tensor) { return Value(tensor); },
                 [&](const NumpyType& type) { return Value("numpy." + std::string(dtype_names(type.type)->torch)); },
                 [&](const NumpyShell&) -> Value { fail("a NumPy array without content"); },
                 [&](const ScriptObject&) -> Value { return Value::dict({}); }},
      node);
  if (container) {
    states_[id] = State::kDone;
    finished_.emplace(id, value);
  }
  return value;
}

List Heap::convert_items(const std::vector<Id>& items, int depth) {
  List list;
  list.reserve(items.size());
  for (const Id item : items) list.push_back(convert(item, depth + 1));
  return list;
}

Dict Heap::convert_pairs(const std::vector<Id>& items, int depth) {
  Dict dict;
  dict.reserve(items.size() / 2);
  std::unordered_set<std::string_view> names;  // of dict's keys, which stay where they are
  std::unordered_set<std::int64_t> numbers;
  for (std::size_t i = 0; i < items.size(); i += 2) {
    if (std::holds_alternative<Mapping>(nodes_[items[i]])) fail(describe(items[i]) + " as a dict's key");
    Value name = convert(items[i], depth + 1);
    Value item = convert(items[i + 1], depth + 1);
    const Value& key = dict.emplace_back(std::move(name), std::move(item)).first;
    // Python would keep the last of two equal keys, but never writes such a pickle. Types become strings, too.
    const bool is_new = key.is(Value::Kind::kString) ? names.insert(key.as_string()).second
                        : key.is(Value::Kind::kInt)  ? numbers.insert(key.as_int()).second
                                                     : true;
    if (!is_new) fail("two entries named " + describe(items[i]), "one");
  }
  return dict;
}

}  // namespace clipself::formats::pickle
