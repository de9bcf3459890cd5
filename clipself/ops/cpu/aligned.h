// Numbers that begin where a cache line does, for kernels that read whole lines.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace clipself::ops::cpu {

template <typename T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{alignof(T) > 64 ? alignof(T) : 64};
  LineAllocator() = default;
  template <typename U>
  explicit LineAllocator(const LineAllocator<U>& /*other*/) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
  void deallocate(T* p, std::size_t /*n*/) { ::operator delete(p, kLine); }
  bool operator==(const LineAllocator& /*other*/) const { return true; }
};

template <typename T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

}  // namespace clipself::ops::cpu
