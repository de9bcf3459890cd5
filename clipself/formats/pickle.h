// Python pickles, protocols 2 to 5, as data: read by an interpreter that runs no code, written for torch.load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "clipself/base/torch.h"
#include "clipself/formats/value.h"

namespace clipself::formats {

/// A storage as a pickle names it.
struct StorageRequest {
  at::ScalarType dtype = at::kByte;  ///< its elements; kByte also for an untyped storage
  bool typed = true;
  std::string key;         ///< names the record that holds the data
  std::int64_t numel = 0;  ///< not negative; numel * element size has been checked to fit 63 bits
};

/// Where the pickle comes from and what it may refer to.
struct PickleSource {
  std::string where;            ///< the file, for messages
  std::uint64_t file_size = 0;  ///< bounds what tensors may claim to span and objects may take
  /// Gives the storage of at least numel elements; the data may be filled in later. Throws Error when there is none.
  std::function<at::Storage(const StorageRequest&)> storage;
};

struct Unpickled {
  Value value;
  std::size_t length = 0;  ///< bytes up to and including the STOP opcode
};

/// Runs the pickle at the start of `program`. Only the globals that tensors and plain containers need are known; any
/// other is refused by its name. Throws Error for that, for broken or truncated programs, for containers that hold
/// themselves or nest deeper than 200, and for sizes that the file cannot justify.
///
/// What becomes what: set and frozenset a list; OrderedDict, defaultdict and Counter a dict; torch.Size a tuple; a
/// dtype "torch.float32", a device "cuda:0", a layout "torch.strided" strings; a bare storage a 1-D tensor; a complex
/// number a 0-dim tensor; a NumPy array a tensor, a NumPy scalar an int, float or bool. requires_grad is not restored.
Unpickled unpickle(std::span<const std::byte> program, const PickleSource& source);

/// A tensor as the file holds it.
struct StoredTensor {
  at::Tensor tensor;       ///< gives type, sizes, strides and offset
  std::string key;         ///< names its storage
  std::int64_t numel = 0;  ///< elements of the storage that are in the file
  std::int64_t first = 0;  ///< elements of the storage before those
};
using TensorStore = std::function<StoredTensor(const at::Tensor&)>;

/// Appends `value` as a protocol 2 pickle; `place` says how each tensor is stored, `where` names the file in messages.
/// Containers that occur twice are written once and shared. Throws Error for types no file can hold and for containers
/// that hold themselves or nest deeper than 200.
void write_pickle(const Value& value, const std::string& where, const TensorStore& place, std::string& out);

}  // namespace clipself::formats
