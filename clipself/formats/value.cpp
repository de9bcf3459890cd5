#include "clipself/formats/value.h"

#include "clipself/base/error.h"

namespace clipself::formats {
namespace {

[[noreturn]] void mismatch(const Value& value, const char* expected) {
  throw Error({.doing = "reading a stored value", .found = value.describe(), .expected = expected});
}

}  // namespace

Value Value::bytes(std::string data) {
  Value value;
  value.data_ = Bytes{std::move(data)};
  return value;
}

Value Value::list(List items) {
  Value value;
  value.data_ = std::make_shared<ListBox>(ListBox{std::move(items), false});
  return value;
}

Value Value::tuple(List items) {
  Value value;
  value.data_ = std::make_shared<ListBox>(ListBox{std::move(items), true});
  return value;
}

Value Value::dict(Dict items) {
  Value value;
  value.data_ = std::make_shared<Dict>(std::move(items));
  return value;
}

Value::Kind Value::kind() const {
  switch (data_.index()) {
    case 0:
      return Kind::kNone;
    case 1:
      return Kind::kBool;
    case 2:
      return Kind::kInt;
    case 3:
      return Kind::kFloat;
    case 4:
      return Kind::kString;
    case 5:
      return Kind::kBytes;
    case 6:
      return std::get<std::shared_ptr<ListBox>>(data_)->tuple ? Kind::kTuple : Kind::kList;
    case 7:
      return Kind::kDict;
    default:
      return Kind::kTensor;
  }
}

bool Value::as_bool() const {
  if (const auto* value = std::get_if<bool>(&data_)) return *value;
  mismatch(*this, "a bool");
}

std::int64_t Value::as_int() const {
  if (const auto* value = std::get_if<std::int64_t>(&data_)) return *value;
  mismatch(*this, "an int");
}

double Value::as_float() const {
  if (const auto* value = std::get_if<double>(&data_)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*value);
  mismatch(*this, "a float");
}

const std::string& Value::as_string() const {
  if (const auto* value = std::get_if<std::string>(&data_)) return *value;
  mismatch(*this, "a string");
}

const std::string& Value::as_bytes() const {
  if (const auto* value = std::get_if<Bytes>(&data_)) return value->data;
  mismatch(*this, "bytes");
}

const at::Tensor& Value::as_tensor() const {
  if (const auto* value = std::get_if<at::Tensor>(&data_)) return *value;
  mismatch(*this, "a tensor");
}

const List& Value::as_list() const {
  if (const auto* value = std::get_if<std::shared_ptr<ListBox>>(&data_)) return (*value)->items;
  mismatch(*this, "a list or tuple");
}

const Dict& Value::as_dict() const {
  if (const auto* value = std::get_if<std::shared_ptr<Dict>>(&data_)) return **value;
  mismatch(*this, "a dict");
}

List& Value::mutable_list() {
  return const_cast<List&>(as_list());
}

Dict& Value::mutable_dict() {
  return const_cast<Dict&>(as_dict());
}

const Value* Value::find(const std::string& key) const {
  if (!is(Kind::kDict)) return nullptr;
  for (const auto& [name, value] : as_dict()) {
    if (name.is(Kind::kString) && name.as_string() == key) return &value;
  }
  return nullptr;
}

std::string Value::describe() const {
  switch (kind()) {
    case Kind::kNone:
      return "none";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "string";
    case Kind::kBytes:
      return "bytes";
    case Kind::kList:
      return "list of " + std::to_string(as_list().size());
    case Kind::kTuple:
      return "tuple of " + std::to_string(as_list().size());
    case Kind::kDict:
      return "dict of " + std::to_string(as_dict().size());
    case Kind::kTensor:
      return "tensor";
  }
  return "value";
}

}  // namespace clipself::formats
