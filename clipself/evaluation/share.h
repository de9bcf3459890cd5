// A data set divided among processes, and its results put together again in the order of one.
#pragma once

#include <cstdint>
#include <functional>

#include "clipself/distributed/processes.h"

namespace clipself::evaluation {

/// The items that a process looks at: rank, rank + size, rank + 2 size, ...
struct Share {
  std::int64_t first = 0, step = 1, count = 0;
  std::int64_t operator[](std::int64_t i) const { return first + i * step; }
};

inline Share share_of(std::int64_t items, const distributed::Processes& processes) {
  const std::int64_t rank = processes.rank(), size = processes.size();
  return {.first = rank, .step = size, .count = (items - rank + size - 1) / size};
}

/// Runs `work` on this process's share of so many items; it calls `after_item` after each, and exchanges nothing. Every
/// few items the processes ask each other whether one was interrupted or has thrown an Error: then all leave, by
/// Interrupted or by distributed::AgreedError (a process alone: by the Error itself).
void run_share(std::int64_t items, distributed::Processes& processes, const std::function<bool()>& interrupted,
               const std::function<void(const Share& mine, const std::function<void()>& after_item)>& work);

/// Rows that all processes have gathered (N, ...), put in the order of the items they are of (int64, N); those of one
/// item stay as they are.
inline at::Tensor in_order(const at::Tensor& rows, const at::Tensor& items) {
  return rows.index_select(0, std::get<1>(items.sort(/*stable=*/true, 0, /*descending=*/false)));
}

}  // namespace clipself::evaluation
