#include "clipself/formats/dtypes.h"

#include <algorithm>
#include <array>

namespace clipself::formats {
namespace {

constexpr std::array<DtypeNames, 20> kDtypes = {{
    {at::kBool, "bool", "BoolStorage", "BOOL", "b1"},
    {at::kByte, "uint8", "ByteStorage", "U8", "u1"},
    {at::kChar, "int8", "CharStorage", "I8", "i1"},
    {at::kShort, "int16", "ShortStorage", "I16", "i2"},
    {at::kInt, "int32", "IntStorage", "I32", "i4"},
    {at::kLong, "int64", "LongStorage", "I64", "i8"},
    {at::kUInt16, "uint16", "", "U16", "u2"},
    {at::kUInt32, "uint32", "", "U32", "u4"},
    {at::kUInt64, "uint64", "", "U64", "u8"},
    {at::kHalf, "float16", "HalfStorage", "F16", "f2"},
    {at::kBFloat16, "bfloat16", "BFloat16Storage", "BF16", ""},
    {at::kFloat, "float32", "FloatStorage", "F32", "f4"},
    {at::kDouble, "float64", "DoubleStorage", "F64", "f8"},
    {at::kComplexHalf, "complex32", "", "", ""},
    {at::kComplexFloat, "complex64", "ComplexFloatStorage", "C64", "c8"},
    {at::kComplexDouble, "complex128", "ComplexDoubleStorage", "", "c16"},
    {at::kFloat8_e4m3fn, "float8_e4m3fn", "", "F8_E4M3", ""},
    {at::kFloat8_e5m2, "float8_e5m2", "", "F8_E5M2", ""},
    {at::kFloat8_e4m3fnuz, "float8_e4m3fnuz", "", "", ""},
    {at::kFloat8_e5m2fnuz, "float8_e5m2fnuz", "", "", ""},
}};

}  // namespace

std::span<const DtypeNames> all_dtypes() {
  return kDtypes;
}

const DtypeNames* dtype_names(at::ScalarType type) {
  for (const DtypeNames& row : kDtypes) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

const DtypeNames* dtype_named(std::string_view DtypeNames::*column, std::string_view name) {
  if (name.empty()) return nullptr;
  for (const DtypeNames& row : kDtypes) {
    if (row.*column == name) return &row;
  }
  return nullptr;
}

void swap_bytes(void* data, std::size_t bytes, std::size_t width) {
  auto* first = static_cast<char*>(data);
  for (std::size_t at = 0; at + width <= bytes; at += width) std::reverse(first + at, first + at + width);
}

}  // namespace clipself::formats
