// Groups of like features, found without names.
#pragma once

#include <cstdint>
#include <vector>

#include "clipself/base/random.h"
#include "clipself/base/torch.h"

namespace clipself::visualization {

/// Clusters by size, the largest first.
struct Clusters {
  at::Tensor centres;               ///< float (k, D), unit length
  at::Tensor assignment;            ///< int64 (N): the centre of highest cosine
  std::vector<std::int64_t> sizes;  ///< k counts, none zero
  double mean_cosine = 0;           ///< of the features with their centres: what is maximised
};

struct ClusterOptions {
  int clusters = 8;
  int restarts = 4;  ///< the best of as many independent beginnings counts
  int max_iterations = 100;
};

/// Spherical k-means (Dhillon and Modha 2001) of `features` (N, D), brought to unit length here, from k-means++
/// beginnings (Arthur and Vassilvitskii 2007) drawn from `rng`; the same rng gives the same result. Fewer clusters come
/// back when fewer features differ. Throws Error when there are no features or clusters < 1.
Clusters cluster(const at::Tensor& features, const ClusterOptions& options, Rng& rng);

/// The index of the nearest centre of each of `features` (N, D): int64 (N).
at::Tensor nearest_centre(const at::Tensor& features, const at::Tensor& centres);

}  // namespace clipself::visualization
