// The globals a checkpoint may name, and what calling each one means here.
#pragma once

#include <string>
#include <string_view>

#include "clipself/formats/pickle_heap.h"

namespace clipself::formats::pickle {

/// The global of that module and name (Python 2 module names included). Throws Error, naming it, when it is unknown.
const Global* find_global(const Heap& heap, std::string_view module, std::string_view name);
/// "torch.FloatStorage"
std::string full_name(const Global& global);
/// The string that stands for a global which is a value by itself ("torch.float32"), or "".
std::string value_name(const Global& global);

/// REDUCE and NEWOBJ: `callable`(*`arguments`). Throws Error when it is no callable or the arguments are not its own.
Id call(Heap& heap, Id callable, Id arguments);
/// BUILD: gives `object` its state. Throws Error when the object has none here.
void build(Heap& heap, Id object, Id state);
/// BINPERSID: the storage that the tuple `name` stands for.
Id load_persistent(Heap& heap, Id name);
/// A 1-D tensor over the whole storage.
at::Tensor storage_as_tensor(const TypedStorage& storage);

}  // namespace clipself::formats::pickle
