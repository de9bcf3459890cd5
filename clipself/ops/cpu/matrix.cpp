#include "clipself/ops/cpu/matrix.h"

#include <ATen/native/CPUBlas.h>

#include <limits>

#include "clipself/ops/cpu/level.h"

namespace clipself::ops::cpu {
namespace {

constexpr auto kAllColumns = std::numeric_limits<std::int64_t>::max();

}  // namespace

// What the installed LibTorch lacks throws c10::Error, which has_matrix_products takes for a no.

void product(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_row, const float* b,
             std::int64_t b_row, float* c, std::int64_t c_row, bool add) {
#ifdef CPUBLAS_BRGEMM_F32F32F32
  at::native::cpublas::brgemm(m, n, k, a_row, b_row, c_row, add, a, b, c, /*is_vnni=*/false);
#else
  TORCH_CHECK(false, "LibTorch without blocked products of float", m, n, k, a, a_row, b, b_row, c, c_row, add);
#endif
}

void product(std::int64_t m, std::int64_t n, std::int64_t k, const at::BFloat16* a, std::int64_t a_row,
             const at::BFloat16* b, std::int64_t b_row, float* c, std::int64_t c_row, bool add) {
#ifdef CPUBLAS_BRGEMM_BF16BF16F32
  at::native::cpublas::brgemm(m, n, k, a_row, b_row, c_row, add, a, b, c, /*is_vnni=*/true);
#else
  TORCH_CHECK(false, "LibTorch without blocked products of bfloat16", m, n, k, a, a_row, b, b_row, c, c_row, add);
#endif
}

template <>
std::int64_t panel_columns<float>() {
  // With AVX2's few registers a panel is read again for every four to six rows of the left operand, and is best small
  // enough to stay in the first-level cache: a quarter faster than operands of 64 and 256 columns as they are.
  constexpr std::int64_t kAvx2 = 32;
  return level() == Level::kAvx2 ? kAvx2 : kAllColumns;
}

template <>
std::int64_t panel_columns<at::BFloat16>() {
  return kAllColumns;
}

void release_products(at::ScalarType type) {
#ifdef CPUBLAS_BRGEMM_BF16BF16F32
  at::native::cpublas::brgemm_release(/*is_vnni=*/type == at::kBFloat16);
#else
  static_cast<void>(type);
#endif
}

}  // namespace clipself::ops::cpu
