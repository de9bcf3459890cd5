#include "clipself/visualization/clustering.h"

#include <algorithm>
#include <numeric>

#include "clipself/base/error.h"
#include "clipself/models/layers.h"

namespace clipself::visualization {

namespace {

// Each next centre is a feature drawn with probability proportional to 1 - cosine with the nearest one so far (half the
// squared distance of unit vectors).
at::Tensor first_centres(const at::Tensor& points, int clusters, Rng& rng) {
  const std::int64_t count = points.size(0);
  std::vector<std::int64_t> chosen{static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(count)))};
  at::Tensor distance = at::full({count}, 2.0, at::kDouble);
  while (static_cast<int>(chosen.size()) < clusters) {
    const at::Tensor cosine = points.matmul(points[chosen.back()]).to(at::kDouble);
    distance = at::minimum(distance, 1 - cosine);
    // Below this two features are the same but for rounding.
    distance = at::where(distance < 1e-6, at::zeros_like(distance), distance).contiguous();
    const double* weights = distance.const_data_ptr<double>();
    const double total = std::accumulate(weights, weights + count, 0.0);
    if (total <= 0) break;
    double rest = rng.uniform() * total;
    std::int64_t next = -1;
    for (std::int64_t i = 0; i < count && (next < 0 || rest >= 0); ++i) {
      if (weights[i] <= 0) continue;
      next = i;
      rest -= weights[i];
    }
    chosen.push_back(next);
  }
  return points.index_select(0, at::tensor(chosen, at::kLong));
}

struct Attempt {
  at::Tensor centres, assignment;
  double mean_cosine = -2;
};

Attempt attempt(const at::Tensor& points, const ClusterOptions& options, Rng& rng) {
  Attempt now;
  now.centres = first_centres(points, options.clusters, rng);
  for (int iteration = 0; iteration < options.max_iterations; ++iteration) {
    const auto [cosine, assignment] = points.matmul(now.centres.t()).max(1);
    now.mean_cosine = cosine.to(at::kDouble).mean().item<double>();
    if (iteration > 0 && at::equal(assignment, now.assignment)) break;
    now.assignment = assignment;
    at::Tensor sums = at::zeros_like(now.centres);
    sums.index_add_(0, assignment, points);
    // A centre that lost all its features stays where it is.
    const at::Tensor filled = at::bincount(assignment, {}, now.centres.size(0)).gt(0).unsqueeze(1);
    now.centres = at::where(filled, models::unit_length(sums), now.centres);
  }
  now.assignment = nearest_centre(points, now.centres);
  return now;
}

}  // namespace

Clusters cluster(const at::Tensor& features, const ClusterOptions& options, Rng& rng) {
  const at::NoGradGuard no_grad;
  if (options.clusters < 1 || features.dim() != 2 || features.size(0) == 0)
    throw Error({.doing = "clustering features",
                 .found = c10::str(options.clusters, " clusters of an array of shape ", features.sizes()),
                 .expected = "at least one cluster and one row"});
  const at::Tensor points = models::unit_length(features.to(at::kFloat)).contiguous();
  Attempt best;
  for (int i = 0; i < std::max(1, options.restarts); ++i) {
    Attempt next = attempt(points, options, rng);
    if (next.mean_cosine > best.mean_cosine) best = std::move(next);
  }
  const std::int64_t found = best.centres.size(0);
  const at::Tensor counts = at::bincount(best.assignment, {}, found).contiguous();
  const auto size_of = [&](std::int64_t i) { return counts.const_data_ptr<std::int64_t>()[i]; };
  std::vector<std::int64_t> order(static_cast<std::size_t>(found));
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](std::int64_t i) { return size_of(i) == 0; });
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return size_of(a) > size_of(b); });
  Clusters result;
  at::Tensor new_index = at::full({found}, -1, at::kLong);
  for (std::size_t i = 0; i < order.size(); ++i) {
    new_index[order[i]] = static_cast<std::int64_t>(i);
    result.sizes.push_back(size_of(order[i]));
  }
  result.centres = best.centres.index_select(0, at::tensor(order, at::kLong));
  result.assignment = new_index.index_select(0, best.assignment);
  result.mean_cosine = best.mean_cosine;
  return result;
}

at::Tensor nearest_centre(const at::Tensor& features, const at::Tensor& centres) {
  return features.to(at::kFloat).matmul(centres.t()).argmax(1);
}

}  // namespace clipself::visualization
