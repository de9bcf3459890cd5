// Where the time of a piece of work goes, by operator.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace clipself::training {

/// Times every operator of torch, ours among them, that the thread which made it calls while it lives. An operator's
/// time is its own, without that of the operators it calls itself, so that all parts, and what was spent outside of
/// operators, add up to the whole. On CUDA these are the times of launching. One at a time a thread.
class Profiler {
 public:
  struct Part {
    std::string name;
    std::int64_t calls = 0;
    double seconds = 0;
  };

  Profiler();
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// Of the time from the making to now, slowest first; among them "(outside operators)".
  std::vector<Part> parts() const;

 private:
  struct Calls;
  using Clock = std::chrono::steady_clock;
  void enter(const char* name);
  void leave();

  struct Frame {
    std::string name;
    Clock::time_point start;
    Clock::duration inside{};  ///< of operators that it called
  };
  std::vector<Frame> stack_;
  std::map<std::string, Part> parts_;
  Clock::time_point start_ = Clock::now();
  Clock::duration covered_{};
  std::uint64_t callback_ = 0;
};

}  // namespace clipself::training
