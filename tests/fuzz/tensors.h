// Looking at everything that a tensor file gave.
#pragma once

#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/value.h"

namespace clipself::fuzz {

/// Reads elements of `tensor`: all of a small one, otherwise the first and the last.
inline void touch(const at::Tensor& tensor) {
  constexpr std::int64_t kSmall = 1 << 12;
  if (tensor.numel() == 0) return;
  const auto* first = static_cast<const volatile char*>(tensor.const_data_ptr());
  std::int64_t last = 0;
  for (std::int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  const auto width = static_cast<std::int64_t>(tensor.element_size());
  static_cast<void>(first[0]);
  static_cast<void>(first[(last + 1) * width - 1]);
  if (tensor.numel() <= kSmall) static_cast<void>(tensor.clone(at::MemoryFormat::Contiguous));
}

/// Every tensor of a tree, each container once: containers may be shared many times over.
inline void touch(const formats::Value& root) {
  using Kind = formats::Value::Kind;
  std::vector<const formats::Value*> open{&root};
  constexpr std::size_t kMost = 1 << 14;
  for (std::size_t seen = 0; !open.empty() && seen < kMost; ++seen) {
    const formats::Value* value = open.back();
    open.pop_back();
    if (value->is(Kind::kTensor)) touch(value->as_tensor());
    if (value->is(Kind::kList) || value->is(Kind::kTuple))
      for (const auto& item : value->as_list()) open.push_back(&item);
    if (value->is(Kind::kDict))
      for (const auto& [key, item] : value->as_dict()) {
        open.push_back(&key);
        open.push_back(&item);
      }
    if (open.size() > kMost) return;
  }
}

}  // namespace clipself::fuzz
