#include "clipself/visualization/row_sample.h"

#include <algorithm>

#include "clipself/base/error.h"

namespace clipself::visualization {

void RowSample::add(const at::Tensor& rows) {
  const at::Tensor from = rows.to(at::kFloat).contiguous();
  const std::int64_t width = from.size(1);
  if (!kept_.defined()) kept_ = at::empty({limit_, width}, at::kFloat);
  const float* source = from.const_data_ptr<float>();
  auto* const kept = kept_.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < from.size(0); ++i, ++seen_) {
    const std::int64_t place =
        seen_ < limit_ ? seen_ : static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(seen_ + 1)));
    if (place < limit_) std::copy_n(source + i * width, width, kept + place * width);
  }
}

at::Tensor RowSample::rows() const {
  if (seen_ == 0) throw Error({.doing = "sampling rows", .found = "none", .expected = "at least one"});
  return kept_.narrow(0, 0, std::min(seen_, limit_));
}

}  // namespace clipself::visualization
