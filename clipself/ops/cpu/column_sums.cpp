#include "clipself/ops/cpu/column_sums.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "clipself/ops/cpu/matrix.h"
#include "clipself/ops/cpu/vector_kernels.h"

namespace clipself::ops::cpu {
namespace {

template <typename T>
at::Tensor sums(const at::Tensor& x) {
  constexpr std::int64_t kRows = 128;
  const std::int64_t rows = x.size(0), n = x.size(1);
  auto parts = at::zeros({blocks_of(rows, kRows), n}, at::kFloat);
  at::parallel_for(0, parts.size(0), 1, [&](std::int64_t part, std::int64_t end) {
    for (; part < end; ++part)
      token_loops<T>().add_rows(x.const_data_ptr<T>() + part * kRows * x.stride(0), x.stride(0),
                                std::min(kRows, rows - part * kRows), n, parts.mutable_data_ptr<float>() + part * n);
  });
  auto all = at::zeros({n}, at::kFloat);
  token_loops<float>().add_rows(parts.const_data_ptr<float>(), n, parts.size(0), n, all.mutable_data_ptr<float>());
  return all;
}

}  // namespace

at::Tensor column_sums(const at::Tensor& x) {
  RECORD_FUNCTION("clipself::column_sums", std::vector<c10::IValue>());
  TORCH_CHECK(x.dim() == 2, "sums over rows of ", x.sizes());
  const bool fits = x.is_cpu() && x.stride(1) == 1;
  if (fits && x.scalar_type() == at::kBFloat16) return sums<at::BFloat16>(x);
  if (fits && x.scalar_type() == at::kFloat) return sums<float>(x);
  return x.sum(0, /*keepdim=*/false, at::kFloat);
}

}  // namespace clipself::ops::cpu
