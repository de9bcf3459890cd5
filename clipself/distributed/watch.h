// Who is to blame when a job stops: every process shows a sign of life in the job's store, and leaves a word when it
// fails, so that those that only notice a closed connection, or nothing at all, can tell which process it was and why,
// and end.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "clipself/base/torch.h"

namespace c10d {
class Store;
}

namespace clipself::distributed {

/// What a store holds is bytes.
std::vector<std::uint8_t> as_bytes(const std::string& text);
std::string as_text(const std::vector<std::uint8_t>& bytes);

/// Whether somebody has left a word on the job's failure.
bool has_failed(c10d::Store& store);
/// Leaves `message` in the job's store as the word on its failure; false when somebody else has left one. `who`: by
/// rank, or the launcher.
bool announce_failure(c10d::Store& store, const std::string& who, const std::string& message);

/// How long a claim must be held, and a process be silent to count as gone.
inline constexpr std::chrono::seconds kSilence{3};

/// Whether this is the first process of `job` on this machine to ask, and so the one that tells where no store can be
/// asked. The claim goes with the process, which is to live for kSilence more: the others notice at about the same
/// time.
bool claim_the_word(const std::string& job);

class Watch {
 public:
  /// `store` is this watch's own connection: a call to a host that is stopped does not return. `names`: by rank, for
  /// messages. `job`: what sets it apart from others on the same machine. After a failure anywhere the process has a
  /// few seconds to end by itself; then it is ended.
  Watch(c10::intrusive_ptr<c10d::Store> store, int rank, std::vector<std::string> names, bool rank_0_hosts,
        std::string job);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void at_work(const char* activity);
  void count_exchange() { exchanges_.fetch_add(1, std::memory_order_relaxed); }
  /// Whether this process does nothing but wait for the others.
  void set_waiting(bool waiting) { waiting_ = waiting; }

  /// See Processes::speaks.
  bool speaks(std::string& message, bool lost);

 private:
  struct Sign {
    std::string text;
    std::uint64_t exchanges = 0;
    std::string activity;
  };
  void run();
  void show_sign();
  std::optional<Sign> sign_of(int rank);
  /// Who is silent, or behind in exchanges; empty when nobody is.
  std::string culprits();
  std::string host_gone() const;
  std::string was_stopped_message() const;
  /// The store goes with its host: it stays until all that live have heard of the failure.
  void wait_until_heard();
  [[noreturn]] void end(const std::string& message);

  std::string job_;
  c10::intrusive_ptr<c10d::Store> store_;
  int rank_;
  std::vector<std::string> names_;
  bool rank_0_hosts_;
  std::atomic<const char*> activity_{"starting"};
  std::atomic<std::uint64_t> exchanges_{0};
  std::atomic<bool> waiting_{false};
  std::uint64_t signs_ = 0;
  int silent_ = 0;      // processes found gone
  bool heard_ = false;  // of a failure, and counted

  // What the thread that failed asks of the watching one.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool ending_ = false;  // speaks() has been called: it ends the process
  std::optional<std::string> question_;
  bool question_lost_ = false;
  std::optional<bool> answer_;
  std::string answer_message_;
  std::thread thread_;
};

}  // namespace clipself::distributed
