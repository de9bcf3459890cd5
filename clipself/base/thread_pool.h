// A fixed number of worker threads taking jobs in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace clipself {

/// Jobs run in the order they were submitted, each on any thread. The destructor drops the jobs not yet begun, waits
/// for those that were, and joins.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// The future holds the job's result or its exception (std::future_error when the pool went away first).
  template <typename F>
  auto submit(F&& job) -> std::future<std::invoke_result_t<F>> {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<F>()>>(std::forward<F>(job));
    auto result = task->get_future();
    push([task] { (*task)(); });
    return result;
  }
  int size() const { return static_cast<int>(threads_.size()); }

 private:
  void push(std::function<void()> job);
  void work();
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace clipself
