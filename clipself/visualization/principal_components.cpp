#include "clipself/visualization/principal_components.h"

#include <algorithm>

#include "clipself/base/error.h"

namespace clipself::visualization {

PrincipalComponents principal_components(const at::Tensor& features, int count) {
  const at::NoGradGuard no_grad;
  if (features.dim() != 2 || features.size(0) < 1 || count < 1 || count > features.size(1))
    throw Error({.doing = "finding principal components",
                 .found = c10::str(count, " of an array of shape ", features.sizes()),
                 .expected = "rows, and at most as many components as columns"});
  PrincipalComponents result;
  const at::Tensor rows = features.to(at::kDouble);
  result.mean = rows.mean(0);
  const at::Tensor centred = rows - result.mean;
  const auto [values, vectors] = at::linalg_eigh(centred.t().matmul(centred));  // rising
  const double total = std::max(values.clamp_min(0).sum().item<double>(), 1e-300);
  for (int i = 0; i < count; ++i)
    result.explained.push_back(std::max(0.0, values[values.size(0) - 1 - i].item<double>()) / total);
  const at::Tensor directions = vectors.narrow(1, values.size(0) - count, count).flip(1).t().contiguous();
  const at::Tensor largest = directions.gather(1, directions.abs().argmax(1, /*keepdim=*/true));
  result.directions = directions * at::where(largest < 0, -1.0, 1.0);
  return result;
}

at::Tensor project(const PrincipalComponents& components, const at::Tensor& features) {
  return (features.to(at::kDouble) - components.mean).matmul(components.directions.t());
}

ValueRange robust_range(const at::Tensor& values, double percentile) {
  // Sorted by hand: at::quantile takes no more than 16 million numbers.
  const at::Tensor sorted = std::get<0>(values.to(at::kDouble).sort(0));
  const auto at_share = [&](double share) {
    const double position = share * static_cast<double>(sorted.size(0) - 1);
    const auto below = static_cast<std::int64_t>(position);
    const std::int64_t above = std::min(below + 1, sorted.size(0) - 1);
    return at::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
  };
  return {at_share(percentile / 100), at_share(1 - percentile / 100)};
}

at::Tensor in_range(const at::Tensor& values, const ValueRange& range) {
  const at::Tensor extent = range.high - range.low;
  const at::Tensor scaled = (values.to(at::kDouble) - range.low) / extent.clamp_min(1e-12);
  return at::where(extent > 1e-12, scaled.clamp(0, 1), 0.5).to(at::kFloat);
}

}  // namespace clipself::visualization
