// Results of a function of 0, 1, 2, ... in order, computed ahead by threads.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <optional>

#include "clipself/base/thread_pool.h"

namespace clipself::evaluation {

template <typename T>
class Prefetch {
 public:
  /// `get` is called once for each index below `count`, by up to `workers` threads at once (0: by next() itself).
  Prefetch(std::int64_t count, int workers, std::function<T(std::int64_t)> get)
      : count_(count), workers_(workers), get_(std::move(get)) {
    if (workers_ > 0) pool_.emplace(workers);
  }

  T next() {
    if (!pool_) return get_(taken_++);
    // Two results a thread are enough to hide the uneven cost of images, few enough to bound memory.
    while (submitted_ < count_ && submitted_ - taken_ < 2 * workers_)
      ready_.push_back(pool_->submit([this, index = submitted_++] { return get_(index); }));
    T result = ready_.front().get();
    ready_.pop_front();
    ++taken_;
    return result;
  }

 private:
  std::int64_t count_;
  std::int64_t workers_;
  std::function<T(std::int64_t)> get_;
  std::int64_t submitted_ = 0;
  std::int64_t taken_ = 0;
  std::deque<std::future<T>> ready_;
  std::optional<ThreadPool> pool_;  // last: its destructor ends the jobs that use the rest
};

}  // namespace clipself::evaluation
