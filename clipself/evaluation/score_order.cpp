#include "clipself/evaluation/score_order.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace clipself::evaluation {
namespace {

using Position = std::ptrdiff_t;

/// Sorts positions by falling keys as described in the header.
class Quicksort {
 public:
  explicit Quicksort(std::vector<float> keys) : keys_(std::move(keys)), order_(keys_.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }

  std::vector<std::size_t> run() && {
    struct Part {
      Position first, last;
      int depth;
    };
    // Beyond that depth the parts are far from halves; another algorithm goes on, whose ties nobody has relied on.
    const int most = 2 * static_cast<int>(std::bit_width(order_.size()));
    std::vector<Part> waiting{{0, std::ssize(order_) - 1, most}};
    while (!waiting.empty()) {
      Part part = waiting.back();
      waiting.pop_back();
      while (part.last - part.first > kInsertion && part.depth > 0) {
        const Position middle = split(part.first, part.last);
        --part.depth;
        const Part lower{part.first, middle - 1, part.depth}, upper{middle + 1, part.last, part.depth};
        const bool lower_is_smaller = middle - part.first < part.last - middle;
        waiting.push_back(lower_is_smaller ? upper : lower);
        part = lower_is_smaller ? lower : upper;
      }
      // std::stable_sort and insertion sort leave equal keys alike.
      if (part.last > part.first)
        std::stable_sort(order_.begin() + part.first, order_.begin() + part.last + 1,
                         [this](std::size_t a, std::size_t b) { return keys_[a] > keys_[b]; });
    }
    return std::move(order_);
  }

 private:
  static constexpr Position kInsertion = 15;

  std::size_t& at(Position i) { return order_[static_cast<std::size_t>(i)]; }
  float key(Position i) { return keys_[at(i)]; }
  void swap_unless_falling(Position earlier, Position later) {
    if (key(later) > key(earlier)) std::swap(at(later), at(earlier));
  }

  /// Puts the median of three where it belongs, larger keys before and smaller behind it; equal ones are exchanged.
  Position split(Position first, Position last) {
    const Position middle = first + (last - first) / 2;
    swap_unless_falling(first, middle);
    swap_unless_falling(middle, last);
    swap_unless_falling(first, middle);
    const float pivot = key(middle);
    std::swap(at(middle), at(last - 1));
    Position i = first, j = last - 1;
    while (true) {
      do ++i;
      while (key(i) > pivot);
      do --j;
      while (pivot > key(j));
      if (i >= j) break;
      std::swap(at(i), at(j));
    }
    std::swap(at(i), at(last - 1));
    return i;
  }

  std::vector<float> keys_;
  std::vector<std::size_t> order_;
};

}  // namespace

std::vector<std::size_t> stable_order(std::span<const double> scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return scores[i]; });
  return order;
}

std::vector<std::size_t> numpy_order(std::span<const double> scores) {
  std::vector<float> keys;
  for (const double score : scores) keys.push_back(static_cast<float>(score));
  return Quicksort(std::move(keys)).run();
}

}  // namespace clipself::evaluation
