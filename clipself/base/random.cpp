#include "clipself/base/random.h"

#include <cmath>
#include <numbers>

namespace clipself {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

Rng::Rng(std::uint64_t seed, std::uint64_t stream, std::uint64_t index)
    : state_(mix(mix(mix(seed + kGolden) + stream + kGolden) + index + kGolden)) {}

Rng::result_type Rng::operator()() {
  return mix(state_ += kGolden);
}

std::uint64_t Rng::below(std::uint64_t n) {
  // Reject the tail that does not divide evenly, so that every value is equally likely.
  const std::uint64_t threshold = (0 - n) % n;
  std::uint64_t value = (*this)();
  while (value < threshold) value = (*this)();
  return value % n;
}

double Rng::uniform() {
  return static_cast<double>((*this)() >> 11) * 0x1.0p-53;
}

double Rng::uniform(double low, double high) {
  return low + (high - low) * uniform();
}

double Rng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace clipself
