// Seeded randomness that depends on what it is for, not on when it is drawn.
//
// A generator is made from a seed and up to two coordinates, Rng(seed, epoch, index): the same three numbers give the
// same stream on every machine, with any number of threads or processes. No global generator exists.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

namespace clipself {

/// SplitMix64 stream (Steele, Lea, Flood 2014) keyed by (seed, stream, index).
class Rng {
 public:
  using result_type = std::uint64_t;
  explicit Rng(std::uint64_t seed, std::uint64_t stream = 0, std::uint64_t index = 0);

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()();

  /// Uniform integer in [0, n), unbiased; n > 0.
  std::uint64_t below(std::uint64_t n);
  /// Uniform real in [0, 1).
  double uniform();
  /// Uniform real in [low, high).
  double uniform(double low, double high);
  /// Standard normal.
  double normal();
  /// Uniform permutation in place (Fisher-Yates).
  template <typename T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace clipself
