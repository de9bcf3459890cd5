// Orders of found regions by falling score, and what becomes of equal scores.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace clipself::evaluation {

/// Positions by falling score; equal ones stay in order.
std::vector<std::size_t> stable_order(std::span<const double> scores);

/// Positions by falling score, in float32, equal ones as numpy's default argsort leaves them where it does not use
/// vector instructions: what MMDetection's numbers for VOC come from. (Quicksort by the median of first, middle and
/// last, parts of at most 16 by insertion; the larger part waits.)
std::vector<std::size_t> numpy_order(std::span<const double> scores);

}  // namespace clipself::evaluation
