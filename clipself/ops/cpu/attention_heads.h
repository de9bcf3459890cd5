// Heads of a tensor one by one.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Heads of a (B, N, heads, d) tensor: rows of d numbers.
template <typename T>
struct Heads {
  explicit Heads(const at::Tensor& tensor)
      : data(tensor.const_data_ptr<T>()),
        count(tensor.size(2)),
        batch_step(tensor.stride(0)),
        row(tensor.size(1) == 1 ? tensor.size(3) : tensor.stride(1)),  // of a single row the stride may be anything
        step(tensor.stride(2)) {}
  const T* operator[](std::int64_t head) const { return data + head / count * batch_step + head % count * step; }
  const T* data;
  std::int64_t count, batch_step, row, step;
};

/// The same to write to.
template <typename T>
T* head_of(at::Tensor& tensor, std::int64_t head) {
  return tensor.mutable_data_ptr<T>() + head / tensor.size(2) * tensor.stride(0) +
         head % tensor.size(2) * tensor.stride(2);
}

}  // namespace clipself::ops::cpu
