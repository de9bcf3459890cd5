// A tree of plain values: what a pickle may hold here, and nothing that runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "clipself/base/torch.h"

namespace clipself::formats {

class Value;
using List = std::vector<Value>;                    ///< list, tuple or set, in order
using Dict = std::vector<std::pair<Value, Value>>;  ///< dict or OrderedDict, in order of insertion

/// None, bool, int, float, str, bytes, list/tuple, dict or tensor. Containers are shared, as they are in Python.
class Value {
 public:
  enum class Kind { kNone, kBool, kInt, kFloat, kString, kBytes, kList, kTuple, kDict, kTensor };

  Value() = default;
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(int value) : data_(static_cast<std::int64_t>(value)) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::move(value)) {}
  Value(const char* value) : data_(std::string(value)) {}
  Value(at::Tensor value) : data_(std::move(value)) {}
  static Value bytes(std::string data);
  static Value list(List items);
  static Value tuple(List items);
  static Value dict(Dict items);

  Kind kind() const;
  bool is(Kind kind) const { return this->kind() == kind; }

  // Each throws Error, naming what the value is, when it is of another kind.
  bool as_bool() const;
  std::int64_t as_int() const;
  double as_float() const;  ///< also takes an int
  const std::string& as_string() const;
  const std::string& as_bytes() const;
  const at::Tensor& as_tensor() const;
  const List& as_list() const;  ///< list or tuple
  const Dict& as_dict() const;
  List& mutable_list();
  Dict& mutable_dict();

  /// The entry of a dict by string key, or nullptr (also when this is no dict).
  const Value* find(const std::string& key) const;

  /// "none", "int", "list of 3", "tensor": for messages.
  std::string describe() const;

 private:
  struct Bytes {
    std::string data;
  };
  struct ListBox {
    List items;
    bool tuple = false;
  };
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Bytes, std::shared_ptr<ListBox>,
               std::shared_ptr<Dict>, at::Tensor>
      data_;
};

}  // namespace clipself::formats
