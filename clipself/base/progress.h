// A progress line for people: redrawn in place on a terminal, silent otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace clipself {

/// "label  [#####-----]  12/100  01:23 left  loss 0.123". Draws on stderr at most ten times a second, and only when
/// stderr is a terminal. The destructor ends the line.
class Progress {
 public:
  Progress(std::string label, std::int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` items so far; `note` is free text shown behind the time left.
  void update(std::int64_t done, const std::string& note = {});
  /// Clears the line so that a log message can be printed; the next update draws it again.
  void clear();

 private:
  std::string label_;
  std::int64_t total_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_{};
};

/// "1 image", "3 images"; `many` for plurals that are not one "s" longer.
std::string counted(std::int64_t number, std::string_view one, std::string_view many = {});
/// Seconds as "1 h 02 min", "3 min 20 s" or "4.2 s".
std::string format_duration(double seconds);
/// Bytes as "1.5 GB", "320 MB", "12 kB" (powers of 1000).
std::string format_bytes(double bytes);

}  // namespace clipself
