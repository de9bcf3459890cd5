#include "clipself/formats/pickle_numpy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "clipself/formats/bytes.h"
#include "clipself/formats/dtypes.h"

namespace clipself::formats::pickle {
namespace {

NumpyType require_type(Heap& heap, Id id) {
  if (const auto* type = std::get_if<NumpyType>(&heap[id])) return *type;
  heap.fail(heap.describe(id) + " as a NumPy array's type");
}

// Python 2 pickles an array's content as a string.
std::string_view content(Heap& heap, Id id) {
  if (const auto* bytes = std::get_if<Bytes>(&heap[id])) return bytes->bytes;
  if (const auto* text = std::get_if<Text>(&heap[id])) return text->text;
  heap.fail(heap.describe(id) + " as a NumPy array's content", "bytes");
}

at::Tensor make_array(Heap& heap, NumpyType type, const std::vector<std::int64_t>& shape, bool fortran,
                      std::string_view bytes) {
  const std::size_t width = c10::elementSize(type.type);
  std::optional<std::uint64_t> span = width;  // without the zeros, so that no product of other sizes can overflow
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) heap.fail(fmt::format("a NumPy array of shape ({})", fmt::join(shape, ", ")));
    empty = empty || size == 0;
    if (span) span = checked_multiply(*span, static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1)));
  }
  if (!span || *span > (std::uint64_t{1} << 62) || (empty ? 0 : *span) != bytes.size() || shape.size() > 64) {
    heap.fail(fmt::format("{} bytes for a NumPy array of shape ({})", bytes.size(), fmt::join(shape, ", ")));
  }
  heap.charge(bytes.size());
  std::vector<std::int64_t> stored = shape;
  if (fortran) std::reverse(stored.begin(), stored.end());
  at::Tensor array = at::empty(stored, at::TensorOptions().dtype(type.type));
  if (!bytes.empty()) std::memcpy(array.data_ptr(), bytes.data(), bytes.size());
  if (type.big_endian) swap_bytes(array.data_ptr(), bytes.size(), array.is_complex() ? width / 2 : width);
  if (!fortran) return array;
  std::vector<std::int64_t> order(stored.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(order.size() - 1 - i);
  return array.permute(order).contiguous();
}

std::vector<std::int64_t> read_shape(Heap& heap, Id id) {
  std::vector<std::int64_t> shape;
  for (const Id size : heap.sequence(id, "a NumPy array's shape")) {
    shape.push_back(heap.integer(size, "a NumPy array's size"));
  }
  return shape;
}

}  // namespace

Id numpy_type(Heap& heap, Id code) {
  std::string_view name = heap.text(code, "a NumPy type");
  NumpyType type;
  if (!name.empty() && std::string_view("<>|=").find(name.front()) != name.npos) {
    type.big_endian = name.front() == '>';
    name.remove_prefix(1);
  }
  const DtypeNames* row = dtype_named(&DtypeNames::numpy, name);
  if (row == nullptr) heap.fail(fmt::format("a NumPy array of type '{}'", name.substr(0, 80)), "one of numbers");
  type.type = row->type;
  return heap.add(type);
}

void numpy_build_type(Heap& heap, NumpyType& type, Id state) {
  const std::vector<Id>& parts = heap.sequence(state, "a NumPy type's state");
  if (parts.size() < 2) heap.fail("an incomplete NumPy type");
  type.big_endian = heap.text(parts[1], "a NumPy byte order") == ">";
}

at::Tensor numpy_build_array(Heap& heap, Id state) {
  const std::vector<Id>& parts = heap.sequence(state, "a NumPy array's state");
  if (parts.size() != 5) heap.fail("an incomplete NumPy array");
  const auto* fortran = std::get_if<bool>(&heap[parts[3]]);
  if (fortran == nullptr) heap.fail("a NumPy array of unknown order");
  return make_array(heap, require_type(heap, parts[2]), read_shape(heap, parts[1]), *fortran, content(heap, parts[4]));
}

Id numpy_from_buffer(Heap& heap, Id buffer, Id type, Id shape, bool fortran) {
  return heap.add_tensor(
      make_array(heap, require_type(heap, type), read_shape(heap, shape), fortran, content(heap, buffer)));
}

Id numpy_scalar(Heap& heap, Id type, Id bytes) {
  const at::Tensor array = make_array(heap, require_type(heap, type), {}, false, content(heap, bytes));
  if (array.is_complex()) return heap.add_tensor(array);
  if (array.scalar_type() == at::kBool) return heap.add(array.item<bool>());
  if (array.is_floating_point()) return heap.add(array.to(at::kDouble).item<double>());
  return heap.add(array.to(at::kLong).item<std::int64_t>());
}

}  // namespace clipself::formats::pickle
