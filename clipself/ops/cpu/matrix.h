// Small matrix products for kernels that keep their operands in cache: of bfloat16 on AMX our own (tiles.h), which the
// kernels with operands in whole tiles need anyway; else oneDNN's blocked product through ATen, which builds code for
// each shape and for the processor at hand (AVX-512, AVX2) and runs at some 95 % of its peak.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// How many blocks of `block` hold `count` things.
constexpr std::int64_t blocks_of(std::int64_t count, std::int64_t block) {
  return (count + block - 1) / block;
}
/// The first multiple that is not less.
constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return blocks_of(value, multiple) * multiple;
}

/// Whether products of bfloat16 are made on AMX's tiles by our own kernel (tiles.h).
bool on_tiles();

/// c (m, n) = or += a (m, k) b (k, n), all row by row, with that many numbers from a row to the next.
void product(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_row, const float* b,
             std::int64_t b_row, float* c, std::int64_t c_row, bool add);
/// The same of bfloat16 with sums in float. k is even, and b has its rows in pairs: (k / 2, n, 2).
void product(std::int64_t m, std::int64_t n, std::int64_t k, const at::BFloat16* a, std::int64_t a_row,
             const at::BFloat16* b, std::int64_t b_row, float* c, std::int64_t c_row, bool add);
/// Right operands of this type are best multiplied that many columns at a time, each such panel's rows one after
/// another.
template <typename T>
std::int64_t panel_columns();
/// product() with b in such panels one after another, the last one narrower.
template <typename T>
void panel_product(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t a_row, const T* b, float* c,
                   std::int64_t c_row, bool add);
/// Each thread calls this after its products: it gives the tile registers back.
void release_products(at::ScalarType type);

}  // namespace clipself::ops::cpu
