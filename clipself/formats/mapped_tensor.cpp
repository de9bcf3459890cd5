#include "clipself/formats/mapped_tensor.h"

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <memory>

namespace clipself::formats {
namespace {

using Owner = std::shared_ptr<const void>;

c10::DataPtr view_pointer(const MappedFile& file, std::span<std::byte> data) {
  return {data.data(), new Owner(file.owner()), [](void* owner) { delete static_cast<Owner*>(owner); }, at::kCPU};
}

at::Storage make_storage(std::size_t bytes, c10::DataPtr pointer) {
  return c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(),
                                               c10::SymInt(static_cast<std::int64_t>(bytes)), std::move(pointer),
                                               nullptr, false);
}

}  // namespace

std::size_t storage_alignment(const StorageRequest& request) {
  constexpr std::size_t kLargestElement = 16;
  return request.typed ? c10::elementSize(request.dtype) : kLargestElement;
}

at::Storage empty_storage(std::size_t bytes) {
  return make_storage(bytes, c10::GetCPUAllocator()->allocate(bytes));
}

at::Storage view_storage(const MappedFile& file, std::span<std::byte> data) {
  return make_storage(data.size(), view_pointer(file, data));
}

at::Storage pending_storage(std::size_t bytes) {
  return make_storage(bytes, c10::DataPtr());
}

void fill_storage(const at::Storage& storage, const MappedFile& file, std::span<std::byte> data,
                  std::size_t alignment) {
  c10::DataPtr pointer;
  if (is_aligned(data.data(), alignment)) {
    pointer = view_pointer(file, data);
  } else {
    pointer = c10::GetCPUAllocator()->allocate(data.size());
    std::copy(data.begin(), data.end(), static_cast<std::byte*>(pointer.get()));
  }
  storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(pointer));
}

at::Tensor mapped_tensor(const MappedFile& file, std::span<std::byte> data, at::ScalarType dtype,
                         at::IntArrayRef sizes) {
  const auto options = at::TensorOptions().dtype(dtype);
  if (data.empty()) return at::empty(sizes, options);
  if (!is_aligned(data.data(), c10::elementSize(dtype))) {
    at::Tensor copy = at::empty(sizes, options);
    std::copy(data.begin(), data.end(), static_cast<std::byte*>(copy.data_ptr()));
    return copy;
  }
  return at::from_blob(
      data.data(), sizes, [owner = file.owner()](void*) mutable { owner.reset(); }, options);
}

}  // namespace clipself::formats
