// Tensors and storages that view a mapped file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "clipself/base/file.h"
#include "clipself/base/torch.h"
#include "clipself/formats/pickle.h"

namespace clipself::formats {

inline bool is_aligned(const void* data, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(data) % alignment == 0;
}

/// What the data of that storage must be aligned to: its elements, or any element when it is untyped.
std::size_t storage_alignment(const StorageRequest& request);

/// A storage of its own memory, not initialised.
at::Storage empty_storage(std::size_t bytes);
/// A storage over a part of the mapping, which it keeps alive.
at::Storage view_storage(const MappedFile& file, std::span<std::byte> data);
/// A storage whose bytes come later, by fill_storage.
at::Storage pending_storage(std::size_t bytes);
void fill_storage(const at::Storage& storage, const MappedFile& file, std::span<std::byte> data, std::size_t alignment);

/// A contiguous tensor over a part of the mapping, or a copy when that part is not aligned for its type.
at::Tensor mapped_tensor(const MappedFile& file, std::span<std::byte> data, at::ScalarType dtype,
                         at::IntArrayRef sizes);

}  // namespace clipself::formats
