// Some rows of many, in bounded memory.
#pragma once

#include <cstdint>

#include "clipself/base/random.h"
#include "clipself/base/torch.h"

namespace clipself::visualization {

/// A uniform sample without replacement of the rows that are added (reservoir sampling, Vitter 1985, algorithm R): all
/// of them, in their order, up to `limit`. The same seed and rows give the same sample.
class RowSample {
 public:
  RowSample(std::int64_t limit, std::uint64_t seed) : limit_(limit), rng_(seed) {}

  /// float (n, D), the same D each time.
  void add(const at::Tensor& rows);
  std::int64_t seen() const { return seen_; }
  /// (min(seen, limit), D), sharing memory with this. Throws Error when nothing was added.
  at::Tensor rows() const;

 private:
  std::int64_t limit_, seen_ = 0;
  Rng rng_;
  at::Tensor kept_;  ///< (limit, D)
};

}  // namespace clipself::visualization
