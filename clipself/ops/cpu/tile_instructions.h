// AMX's instructions as they are used here, for tiles of a whole 16 rows and otherwise as set up. GCC's own intrinsics
// do not say that they read memory. Steps from row to row are in bytes.
#pragma once

#define CLIPSELF_TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile ::)
#define CLIPSELF_TILE_LOAD(tile, from, step) \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"(step) : "memory")
#define CLIPSELF_TILE_STORE(to, step, tile) \
  __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"(step) : "memory")
/// c += a b
#define CLIPSELF_TILE_PRODUCT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
