#include "clipself/ops/cpu/matrix.h"

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <limits>

#include "clipself/ops/cpu/level.h"
#include "clipself/ops/cpu/tiles.h"

namespace clipself::ops::cpu {
namespace {

constexpr auto kAllColumns = std::numeric_limits<std::int64_t>::max();

}  // namespace

bool on_tiles() {
  static const bool found = has_tiles() && level() == Level::kAmx;
  return found;
}

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
  if (on_tiles()) {
    tile_product(m, n, k, rows_as_tiles(a, a_row),
                 {.first = b, .row = 2 * b_row, .deeper = 32 * b_row, .aside = 2 * kTileSide}, c, c_row, add);
    return;
  }
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
  return on_tiles() ? kTileSide : kAllColumns;
}

template <typename T>
void panel_product(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t a_row, const T* b, float* c,
                   std::int64_t c_row, bool add) {
  const std::int64_t panel = panel_columns<T>();
  std::int64_t j = 0;
  if constexpr (sizeof(T) == 2) {
    if (on_tiles()) {
      j = n / panel * panel;
      tile_product(m, j, k, rows_as_tiles(a, a_row), packed_tiles(b, k), c, c_row, add);
    }
  }
  for (; j < n; j += panel) {
    const std::int64_t columns = std::min(panel, n - j);
    product(m, columns, k, a, a_row, b + j * k, columns, c + j, c_row, add);
  }
}
template void panel_product(std::int64_t, std::int64_t, std::int64_t, const float*, std::int64_t, const float*, float*,
                            std::int64_t, bool);
template void panel_product(std::int64_t, std::int64_t, std::int64_t, const at::BFloat16*, std::int64_t,
                            const at::BFloat16*, float*, std::int64_t, bool);

void release_products(at::ScalarType type) {
  if (type == at::kBFloat16 && on_tiles()) return release_tiles();
#ifdef CPUBLAS_BRGEMM_BF16BF16F32
  at::native::cpublas::brgemm_release(/*is_vnni=*/type == at::kBFloat16);
#else
  static_cast<void>(type);
#endif
}

}  // namespace clipself::ops::cpu
