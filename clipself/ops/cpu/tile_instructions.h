// AMX's instructions as they are used here, for tiles of a whole 16 rows and otherwise as set up. GCC's own intrinsics
// do not say that they read memory. Steps from row to row are in bytes.
#pragma once

#include <cstdint>

namespace clipself::ops::cpu {

#if defined(__x86_64__) && defined(__GNUC__)
#define CLIPSELF_TILE [[gnu::always_inline]] inline

template <int kTile>
CLIPSELF_TILE void tile_load(const void* from, std::int64_t step) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(step), "i"(kTile) : "memory");
}
/// The same of what is read once for a long time: it takes no place of others in the first-level cache.
template <int kTile>
CLIPSELF_TILE void tile_stream(const void* from, std::int64_t step) {
  __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(step), "i"(kTile) : "memory");
}
template <int kTile>
CLIPSELF_TILE void tile_store(void* to, std::int64_t step) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(step), "i"(kTile) : "memory");
}
/// c += a b
template <int kC, int kA, int kB>
CLIPSELF_TILE void tile_multiply() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
/// By a load, for the instruction that makes a tile zero waits for what was in it.
template <int kTile>
CLIPSELF_TILE void tile_zero() {
  alignas(64) static constexpr float kZeros[16] = {};
  tile_load<kTile>(kZeros, 0);
}

#undef CLIPSELF_TILE
#endif

}  // namespace clipself::ops::cpu
