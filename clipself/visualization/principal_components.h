// The directions in which features differ most, and colours made of them.
#pragma once

#include <vector>

#include "clipself/base/torch.h"

namespace clipself::visualization {

struct PrincipalComponents {
  at::Tensor mean;                ///< double (D)
  at::Tensor directions;          ///< double (k, D), unit length; the entry of largest magnitude is positive
  std::vector<double> explained;  ///< k shares of the whole variance, falling
};

/// Of `features` (N, D), by the eigenvectors of their covariance in double precision. Throws Error unless N >= 1 and
/// 1 <= count <= D.
PrincipalComponents principal_components(const at::Tensor& features, int count);
/// (N, D) -> double (N, k).
at::Tensor project(const PrincipalComponents& components, const at::Tensor& features);

/// What counts as 0 and as 1 of each of k columns.
struct ValueRange {
  at::Tensor low, high;  ///< double (k)
};
/// The `percentile` and 100 - `percentile` percentiles of the columns of `values` (N, k), linearly interpolated, so
/// that a few stray values do not set the scale.
ValueRange robust_range(const at::Tensor& values, double percentile = 2);
/// (N, k) -> float (N, k) in 0..1, clamped; a column without extent becomes 0.5.
at::Tensor in_range(const at::Tensor& values, const ValueRange& range);

}  // namespace clipself::visualization
