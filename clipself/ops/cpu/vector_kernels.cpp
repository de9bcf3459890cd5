#include "clipself/ops/cpu/vector_kernels.h"

#include "clipself/ops/cpu/level.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace clipself::ops::cpu {
namespace {

namespace plain {
constexpr int kLanes = 4;
#include "clipself/ops/cpu/vector_loops.inc"
}  // namespace plain

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLIPSELF_HAS_WIDE_LOOPS
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
constexpr int kLanes = 8;
#define CLIPSELF_AVX2
#include "clipself/ops/cpu/vector_loops.inc"
#undef CLIPSELF_AVX2
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593, of its own intrinsics
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
namespace avx512 {
constexpr int kLanes = 16;
#define CLIPSELF_AVX512
#include "clipself/ops/cpu/vector_loops.inc"
}  // namespace avx512
#pragma GCC pop_options

// With the instruction that rounds to bfloat16.
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")
namespace avx512_bf16 {
constexpr int kLanes = 16;
#define CLIPSELF_AVX512_BF16
#include "clipself/ops/cpu/vector_loops.inc"
#undef CLIPSELF_AVX512_BF16
#undef CLIPSELF_AVX512
}  // namespace avx512_bf16
#pragma GCC diagnostic pop
#pragma GCC pop_options
#endif

}  // namespace

// The best set's table.
#ifdef CLIPSELF_HAS_WIDE_LOOPS
#define CLIPSELF_CHOOSE(table)                               \
  if (multiplies_bfloat16()) return avx512_bf16::table<T>(); \
  if (level() >= Level::kAvx512) return avx512::table<T>();  \
  if (level() >= Level::kAvx2) return avx2::table<T>();      \
  return plain::table<T>();
#else
#define CLIPSELF_CHOOSE(table) return plain::table<T>();
#endif

template <typename T>
const AttentionLoops<T>& attention_loops() {
  CLIPSELF_CHOOSE(attention_table)
}

template <typename T>
const PanelLoops<T>& panel_loops() {
  CLIPSELF_CHOOSE(panel_table)
}

template <typename T>
const TokenLoops<T>& token_loops() {
  CLIPSELF_CHOOSE(token_table)
}

template const AttentionLoops<float>& attention_loops();
template const AttentionLoops<at::BFloat16>& attention_loops();
template const PanelLoops<float>& panel_loops();
template const PanelLoops<at::BFloat16>& panel_loops();
template const TokenLoops<float>& token_loops();
template const TokenLoops<at::BFloat16>& token_loops();

}  // namespace clipself::ops::cpu
