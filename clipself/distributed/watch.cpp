#include "clipself/distributed/watch.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "clipself/base/log.h"

namespace clipself::distributed {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kBetweenSigns = 500ms;
constexpr auto kAnswer = 15s;                      // of the store to all that a failure asks
constexpr std::chrono::seconds kEndsByItself{20};  // after a failure elsewhere
constexpr const char* kFailed = "failed";
constexpr const char* kHeard = "heard";  // how many know that there is a word on the failure

std::string sign_key(int rank) {
  return "sign/" + std::to_string(rank);
}

}  // namespace

Watch::Watch(c10::intrusive_ptr<c10d::Store> store, int rank, std::vector<std::string> names, bool rank_0_hosts,
             std::string job)
    : job_(std::move(job)),
      store_(std::move(store)),
      rank_(rank),
      names_(std::move(names)),
      rank_0_hosts_(rank_0_hosts) {
  show_sign();
  thread_ = std::thread([this] { run(); });
}

Watch::~Watch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watch::at_work(const char* activity) {
  activity_.store(activity, std::memory_order_relaxed);
}

void Watch::show_sign() {
  store_->set(sign_key(rank_), as_bytes(fmt::format("{} {} {}", ++signs_, exchanges_.load(std::memory_order_relaxed),
                                                    activity_.load())));
}

std::optional<Watch::Sign> Watch::sign_of(int rank) {
  if (!store_->check({sign_key(rank)})) return std::nullopt;
  Sign sign{.text = as_text(store_->get(sign_key(rank))), .exchanges = 0, .activity = {}};
  const auto first = sign.text.find(' '), second = sign.text.find(' ', first + 1);
  if (first == std::string::npos || second == std::string::npos) return std::nullopt;
  sign.exchanges = std::strtoull(sign.text.c_str() + first + 1, nullptr, 10);
  sign.activity = sign.text.substr(second + 1);
  return sign;
}

std::string Watch::culprits() {
  const auto all = static_cast<int>(names_.size());
  std::vector<std::optional<Sign>> before;
  for (int rank = 0; rank < all; ++rank) before.push_back(sign_of(rank));
  const auto until = Clock::now() + kSilence;
  while (Clock::now() < until) {
    std::this_thread::sleep_for(kBetweenSigns);
    show_sign();
    if (has_failed(*store_)) return {};
  }
  std::string silent, behind;
  for (int rank = 0; rank < all; ++rank) {
    if (rank == rank_) continue;
    const auto& then = before[static_cast<std::size_t>(rank)];
    const auto now = sign_of(rank);
    const auto& name = names_[static_cast<std::size_t>(rank)];
    if (!now || (then && now->text == then->text)) {
      ++silent_;
      silent += (silent.empty() ? "" : " and ") + name + (now ? ", last seen at " + now->activity + "," : "");
    } else if (now->exchanges < exchanges_.load(std::memory_order_relaxed))
      behind += (behind.empty() ? "" : " and ") + name + ", which is still at " + now->activity + ",";
  }
  if (!silent.empty()) return silent + " shows no sign of life: killed, stopped or cut off";
  if (!behind.empty()) return behind + " did not come in time (--dist-timeout)";
  return {};
}

std::vector<std::uint8_t> as_bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string as_text(const std::vector<std::uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

bool has_failed(c10d::Store& store) {
  return store.check({kFailed});
}

bool announce_failure(c10d::Store& store, const std::string& who, const std::string& message) {
  // Two may say the same.
  const std::string word = who + ": " + message;
  return as_text(store.compareSet(kFailed, {}, as_bytes(word))) == word;
}

std::string Watch::host_gone() const {
  return rank_0_hosts_ ? names_.front() + " no longer answers: killed, stopped or cut off" : "the launcher is gone";
}

std::string Watch::was_stopped_message() const {
  return names_[static_cast<std::size_t>(rank_)] + " was stopped for a while: the others have gone";
}

bool Watch::speaks(std::string& message, bool lost) {
  std::unique_lock lock(mutex_);
  ending_ = true;
  question_ = message;
  question_lost_ = lost;
  changed_.notify_all();
  if (changed_.wait_for(lock, kAnswer, [&] { return answer_.has_value(); })) {
    message = answer_message_;
    return *answer_;
  }
  // The store does not answer.
  if (!lost) return true;
  message = host_gone();
  return claim_the_word(job_);
}

void Watch::wait_until_heard() {
  if (!rank_0_hosts_ || rank_ != 0) return;
  const auto until = Clock::now() + kSilence;
  while (Clock::now() < until && store_->add(kHeard, 0) < std::ssize(names_) - silent_)
    std::this_thread::sleep_for(kBetweenSigns / 10);
}

bool claim_the_word(const std::string& job) {
  // A name that one process at a time can have, and that goes with it.
  const int held = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = '\0' + job;
  const std::size_t length = std::min(name.size(), sizeof(address.sun_path));
  std::copy_n(name.begin(), length, address.sun_path);
  return ::bind(held, reinterpret_cast<const sockaddr*>(&address),
                static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length)) == 0;
}

void Watch::end(const std::string& message) {
  if (!message.empty()) std::fprintf(stderr, "clipself: error: %s\n", message.c_str());
  std::fflush(stderr);
  ::_exit(1);
}

void Watch::run() {
  std::optional<Clock::time_point> failed_at;
  bool store_gone = false, was_stopped = false;
  std::string last_word;  // that only this process is left to say
  Clock::time_point gone_at{};
  auto last_round = Clock::now();
  const auto answer = [&](bool mine, const std::string& message) {
    {
      const std::lock_guard lock(mutex_);
      answer_ = mine;
      answer_message_ = message;
    }
    changed_.notify_all();
  };
  while (true) {
    std::optional<std::string> question;
    bool lost = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kBetweenSigns, [&] { return stopping_ || (question_ && !answer_); });
      if (stopping_) return;
      if (!answer_) question = question_;
      lost = question_lost_;
      const auto patience = waiting_ ? kSilence : kEndsByItself;
      if (failed_at && !ending_ && Clock::now() - *failed_at > patience) end(last_word);
    }
    if (Clock::now() - last_round > kSilence) was_stopped = true;
    try {
      if (!store_gone) {
        show_sign();
        const bool failed = has_failed(*store_);
        if (failed && !failed_at) failed_at = Clock::now();
        if (!failed) was_stopped = false;  // in vain
        if (failed && !heard_) {
          heard_ = true;
          store_->add(kHeard, 1);
        }
        if (question) {
          if (lost && !failed)
            if (const auto found = culprits(); !found.empty()) question = found;
          const bool mine = announce_failure(*store_, fmt::format("rank {}", rank_), *question);
          if (!heard_) store_->add(kHeard, 1);
          heard_ = true;
          wait_until_heard();
          answer(mine, *question);
        }
      }
    } catch (const std::exception&) {
      store_gone = true;
      gone_at = Clock::now();
      if (!failed_at) failed_at = gone_at;
      // Now, and not when this process comes to an end: all notice at about the same time that the store is gone, but
      // some only by the end of others that they cannot go on.
      if (!heard_ && claim_the_word(job_)) last_word = was_stopped ? was_stopped_message() : host_gone();
    }
    if (store_gone && question) {
      // The claim goes with this process: the others must have met it.
      if (lost && !last_word.empty()) std::this_thread::sleep_until(gone_at + kSilence);
      answer(!lost || !last_word.empty(), lost ? last_word : *question);
    }
    last_round = Clock::now();
  }
}

}  // namespace clipself::distributed
