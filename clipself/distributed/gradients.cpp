#include "clipself/distributed/gradients.h"

#include <algorithm>
#include <new>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <unordered_map>

namespace clipself::distributed {
namespace {

// Newer LibTorch has two arguments more.
template <typename Reducer, typename... Arguments>
std::unique_ptr<Reducer> make_reducer(Arguments&&... arguments) {
  if constexpr (std::is_constructible_v<Reducer, Arguments..., std::vector<std::int64_t>>)
    return std::make_unique<Reducer>(std::forward<Arguments>(arguments)..., std::vector<std::int64_t>{});
  else
    return std::make_unique<Reducer>(std::forward<Arguments>(arguments)...);
}

}  // namespace

GradientAverage::GradientAverage(const std::vector<std::pair<std::string, at::Tensor>>& parameters,
                                 std::shared_ptr<Processes> all)
    : all_(std::move(all)) {
  std::vector<at::Tensor> tensors;
  std::unordered_map<std::size_t, std::string> names;
  for (const auto& [name, tensor] : parameters) {
    names.emplace(tensors.size(), name);
    tensors.push_back(tensor);
  }
  const std::vector<bool> sparse(tensors.size(), false);
  const auto group = all_->group(tensors.front().device().type());
  auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(
      tensors, {c10d::kDefaultFirstBucketBytes, c10d::kDefaultBucketBytesCap}, sparse);
  // The last parameters' gradients come first.
  std::reverse(buckets.begin(), buckets.end());
  reducer_ = make_reducer<c10d::Reducer>(std::move(tensors), std::move(buckets), group, sparse,
                                         std::int64_t{c10d::kDefaultBucketBytesCap}, /*find_unused_parameters=*/true,
                                         /*gradient_as_bucket_view=*/true, std::move(names),
                                         std::int64_t{c10d::kDefaultFirstBucketBytes},
                                         /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false);
}

GradientAverage::~GradientAverage() = default;

void GradientAverage::backward(const at::Tensor& loss) {
  all_->exchanging();
  reducer_->prepare_for_forward();
  reducer_->prepare_for_backward({loss});
  try {
    loss.backward();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    // Operators throw c10::Error; Gloo's exceptions are none, and c10d's are of a kind of their own.
    const bool of_operator =
        dynamic_cast<const c10::Error*>(&error) != nullptr && dynamic_cast<const c10::DistError*>(&error) == nullptr;
    if (of_operator || dynamic_cast<const std::bad_alloc*>(&error) != nullptr) throw;
    throw ConnectionLost(first_line(error.what()));
  }
}

}  // namespace clipself::distributed
