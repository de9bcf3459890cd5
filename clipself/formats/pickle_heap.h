// The objects of a running pickle program: nodes that refer to each other by number.
//
// Numbers instead of pointers make everything a hostile program can build harmless: a list that holds itself is no
// leak, and freeing a million nested lists is no recursion. to_value() turns the finished graph into a Value.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/pickle.h"

namespace clipself::formats::pickle {

struct Global;  // a row of the table in pickle_calls.cpp

using Id = std::uint32_t;

struct Text {
  std::string_view text;
};
struct Bytes {
  std::string_view bytes;
};
struct Sequence {
  std::vector<Id> items;
  bool tuple = false;
};
struct Mapping {
  std::vector<Id> items;  ///< key, value, key, value ...
};
struct StorageNode {
  std::size_t index;  ///< into Heap::storages
};
/// numpy.dtype: the element type and whether its bytes are swapped.
struct NumpyType {
  at::ScalarType type = at::kByte;
  bool big_endian = false;
};
/// An object of a TorchScript program: its attributes come with BUILD, its code is never looked at.
struct ScriptObject {};
/// What numpy.core.multiarray._reconstruct makes: an array whose content comes with BUILD.
struct NumpyShell {};

using Node = std::variant<std::monostate, bool, std::int64_t, double, Text, Bytes, Sequence, Mapping, const Global*,
                          StorageNode, at::Tensor, NumpyType, NumpyShell, ScriptObject>;

/// A storage seen through an element type, possibly a part of it.
struct TypedStorage {
  at::Storage storage;
  at::ScalarType dtype = at::kByte;
  std::int64_t first = 0;  ///< elements before this view
  std::int64_t numel = 0;
};

class Heap {
 public:
  /// `source.file_size` bounds the memory that its objects may take: 64 MiB + 64 times that.
  explicit Heap(const PickleSource& source);

  /// Throws Error("reading checkpoint '<file>' ...").
  [[noreturn]] void fail(const std::string& found, const std::string& expected = {},
                         const std::string& hint = {}) const;

  Id add(Node node);
  Node& operator[](Id id) { return nodes_[id]; }
  /// Counts bytes of memory that the program takes. Throws Error when it is too many.
  void charge(std::size_t bytes);
  /// The same for a container copied, each item of which becomes a Value in the end.
  void charge_items(std::size_t items);
  /// A text that no part of the program holds; `charge` has been called for it.
  std::string_view keep(std::string text);
  /// The finished object. Throws Error when it holds itself, nests too deep, or is no value (a class, for example).
  Value to_value(Id id);
  /// Adds `tensor` after checking that there are not too many.
  Id add_tensor(at::Tensor tensor);

  // A node of one kind; each throws Error naming `what` when it is another.
  std::string_view text(Id id, const char* what);
  std::int64_t integer(Id id, const char* what);
  std::vector<Id>& sequence(Id id, const char* what);  ///< list or tuple
  std::string describe(Id id);

  const PickleSource& source;
  std::vector<TypedStorage> storages;

 private:
  void count_tensor();
  Value convert(Id id, int depth);
  List convert_items(const std::vector<Id>& items, int depth);
  Dict convert_pairs(const std::vector<Id>& items, int depth);

  enum class State : std::uint8_t { kNew, kOpen, kDone };
  std::deque<Node> nodes_;
  std::deque<std::string> texts_;
  std::vector<State> states_;
  std::unordered_map<Id, Value> finished_;
  std::size_t charged_ = 0;
  std::size_t charge_limit_;
  std::size_t tensors_ = 0;
};

}  // namespace clipself::formats::pickle
