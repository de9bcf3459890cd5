#include "clipself/ops/cpu/tile_attention_kernels.h"

#include <cstdint>

#include "clipself/ops/cpu/tile_instructions.h"

#ifdef CLIPSELF_HAS_TILE_ATTENTION
#include <immintrin.h>

namespace clipself::ops::cpu::interleaved {

#pragma GCC push_options
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593, of its own intrinsics
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")
namespace {

constexpr float kMostWeights = 1099511627776.0F;  // 2^40
constexpr int kLanes = 16;
#define CLIPSELF_AVX512
#define CLIPSELF_AVX512_BF16
#include "clipself/ops/cpu/vector_loops.inc"
#undef CLIPSELF_AVX512_BF16
#undef CLIPSELF_AVX512
#define CLIPSELF_INLINE [[gnu::always_inline]] inline

constexpr std::int64_t kOperandRow = kTileDepth * 2, kPanelRow = kTileSide * 4, kWideRow = kWidth * 4;  // in bytes

/// Weights' tiles: two of a block's, then, kNextTiles numbers on, two of the next's.
CLIPSELF_INLINE constexpr std::int64_t weights_tile(std::int64_t i) {
  return i / 2 * 4 * kTileNumbers + i % 2 * kTileNumbers;
}
constexpr std::int64_t kNextTiles = 2 * kTileNumbers;

/// Tiles 4 to 7: 32 rows of a head, `row` numbers apart: 16 beside what is deeper of them, then those below.
CLIPSELF_INLINE void read_strip(const at::BFloat16* rows, std::int64_t row) {
  const std::int64_t step = row * 2;
  CLIPSELF_TILE_LOAD(4, rows, step);
  CLIPSELF_TILE_LOAD(5, rows + kTileDepth, step);
  CLIPSELF_TILE_LOAD(6, rows + kTileSide * row, step);
  CLIPSELF_TILE_LOAD(7, rows + kTileSide * row + kTileDepth, step);
}

/// Their products with 16 rows that are packed as columns.
CLIPSELF_INLINE void multiply_strip(const at::BFloat16* columns, float* scores) {
  CLIPSELF_TILE_LOAD(2, columns, kOperandRow);
  CLIPSELF_TILE_ZERO(0);
  CLIPSELF_TILE_PRODUCT(0, 4, 2);
  CLIPSELF_TILE_ZERO(1);
  CLIPSELF_TILE_PRODUCT(1, 6, 2);
  CLIPSELF_TILE_LOAD(3, columns + kTileNumbers, kOperandRow);
  CLIPSELF_TILE_PRODUCT(0, 5, 3);
  CLIPSELF_TILE_PRODUCT(1, 7, 3);
  CLIPSELF_TILE_STORE(scores, kPanelRow, 0);
  CLIPSELF_TILE_STORE(scores + kTileSide * kTileSide, kPanelRow, 1);
}

/// One of 2 * steps that add the product of a strip's weights, two times `steps_each` tiles, and `steps` times 32 rows
/// of heads to sums (32, kWidth): first all that make the left half.
CLIPSELF_INLINE void add_step(std::int64_t step, std::int64_t steps, const at::BFloat16* weights,
                              std::int64_t steps_each, const at::BFloat16* rows, bool begun, float* sums) {
  const std::int64_t half = step / steps, depth = step % steps;
  float* const c = sums + half * 2 * kTileSide;
  float* const below = c + kTileSide * kWidth;
  if (depth == 0 && begun) {
    CLIPSELF_TILE_LOAD(0, c, kWideRow);
    CLIPSELF_TILE_LOAD(1, c + kTileSide, kWideRow);
    CLIPSELF_TILE_LOAD(2, below, kWideRow);
    CLIPSELF_TILE_LOAD(3, below + kTileSide, kWideRow);
  } else if (depth == 0) {
    CLIPSELF_TILE_ZERO(0);
    CLIPSELF_TILE_ZERO(1);
    CLIPSELF_TILE_ZERO(2);
    CLIPSELF_TILE_ZERO(3);
  }
  const at::BFloat16* const a = weights + weights_tile(depth);
  const at::BFloat16* const b = rows + (depth * 4 + half * 2) * kTileNumbers;
  CLIPSELF_TILE_LOAD(6, b, kOperandRow);
  CLIPSELF_TILE_LOAD(4, a, kOperandRow);
  CLIPSELF_TILE_PRODUCT(0, 4, 6);
  CLIPSELF_TILE_LOAD(5, weights + weights_tile(steps_each + depth), kOperandRow);
  CLIPSELF_TILE_PRODUCT(2, 5, 6);
  CLIPSELF_TILE_LOAD(7, b + kTileNumbers, kOperandRow);
  CLIPSELF_TILE_PRODUCT(1, 4, 7);
  CLIPSELF_TILE_PRODUCT(3, 5, 7);
  if (depth + 1 < steps) return;
  CLIPSELF_TILE_STORE(c, kWideRow, 0);
  CLIPSELF_TILE_STORE(c + kTileSide, kWideRow, 1);
  CLIPSELF_TILE_STORE(below, kWideRow, 2);
  CLIPSELF_TILE_STORE(below + kTileSide, kWideRow, 3);
}

constexpr std::int64_t kForwardSteps = kForwardPanels / 2;

/// A piece of a block's weights: 16 rows of a panel of scores.
CLIPSELF_INLINE void weigh_piece(std::int64_t piece, const float* scores, float to_power, const float* m, float* sums,
                                 at::BFloat16* weights) {
  const std::int64_t panel = piece / 2, below = piece % 2;
  const float* s = scores + panel * kPanelStep + below * kTileSide * kTileSide;
  at::BFloat16* w = weights + weights_tile(below * kForwardSteps + panel / 2) + panel % 2 * kTileSide;
  m += below * kTileSide;
  sums += below * kTileSide * kTileSide;
#pragma GCC unroll 4
  for (std::int64_t r = 0; r < kTileSide; ++r) {
    const F e = power_of_two<at::BFloat16>(load(s + r * kTileSide) * to_power - m[r]);
    store(sums + r * kTileSide, load(sums + r * kTileSide) + e);
    store(w + r * kTileDepth, e);
  }
}

CLIPSELF_INLINE F largest_of_row(const float* scores, std::int64_t panels, std::int64_t r) {
  F most = load(scores + r * kTileSide);
  for (std::int64_t p = 1; p < panels; ++p) most = larger(most, load(scores + p * kPanelStep + r * kTileSide));
  return most;
}

/// The row's weights anew, relative to its maximum in this block, to which what was added up before is scaled.
void weigh_again(std::int64_t r, const float* scores, std::int64_t panels, float to_power, float* m, float* all_sums,
                 float* values, at::BFloat16* weights) {
  const float now = largest(largest_of_row(scores, panels, r)) * to_power;
  const F factor = power_of_two<float>(all(m[r] - now));
  m[r] = now;
  F sum = load(all_sums + r * kTileSide) * factor;
  for (std::int64_t i = 0; i < kWidth; i += kLanes) {
    float* v = values + r * kWidth + i;
    store(v, load(v) * factor);
  }
  for (std::int64_t p = 0; p < panels; ++p) {
    const F e = power_of_two<at::BFloat16>(load(scores + p * kPanelStep + r * kTileSide) * to_power - now);
    sum += e;
    store(
        weights + weights_tile(r / kTileSide * kForwardSteps + p / 2) + r % kTileSide * kTileDepth + p % 2 * kTileSide,
        e);
  }
  store(all_sums + r * kTileSide, sum);
}

}  // namespace

void forward_strip(const at::BFloat16* queries, std::int64_t row, const at::BFloat16* keys, const at::BFloat16* values,
                   std::int64_t key_count, float to_power, ForwardScratch& s, float* out, float* m, float* l) {
  constexpr std::int64_t kBlock = kForwardPanels * kTileSide;
  const std::int64_t all_panels = (key_count + kTileDepth - 1) / kTileDepth * 2;
  const std::int64_t blocks = (all_panels + kForwardPanels - 1) / kForwardPanels;
  const auto panels_of = [&](std::int64_t block) {
    const std::int64_t left = all_panels - block * kForwardPanels;
    return left < kForwardPanels ? left : kForwardPanels;
  };
  // Keys that are none.
  const auto mask = [&](std::int64_t block) {
    for (std::int64_t p = 0; p < panels_of(block); ++p)
      for (std::int64_t c = key_count - block * kBlock - p * kTileSide; c < kTileSide; ++c)
        for (std::int64_t r = 0; c >= 0 && r < kStrip; ++r)
          s.scores[p * kPanelStep + block % 2 * kScores + r * kTileSide + c] = -__builtin_inff();
  };
  read_strip(queries, row);
  for (std::int64_t p = 0; p < panels_of(0); ++p) multiply_strip(keys + p * kWide, s.scores + p * kPanelStep);
  if (blocks == 1) mask(0);
  for (std::int64_t r = 0; r < kStrip; ++r) {
    m[r] = largest(largest_of_row(s.scores, panels_of(0), r)) * to_power;
    store(s.sums + r * kTileSide, F{});
    store(s.sums + kScores + r * kTileSide, F{});
    store(s.all_sums + r * kTileSide, F{});
  }
  for (std::int64_t j = 0; j < blocks; ++j) {
    const std::int64_t now = j % 2, other = 1 - now;
    const float* const scores = s.scores + now * kScores;
    float* const block_sums = s.sums + now * kScores;
    at::BFloat16* const weights = s.weights + other * kNextTiles;
    const std::int64_t pieces = 2 * panels_of(j);
    std::int64_t piece = 0;
    const auto weigh_next = [&] {
      if (piece < pieces) weigh_piece(piece++, scores, to_power, m, block_sums, weights);
    };
    if (j + 1 < blocks) {
      read_strip(queries, row);
      const at::BFloat16* const next = keys + (j + 1) * kForwardPanels * kWide;
      for (std::int64_t p = 0; p < panels_of(j + 1); ++p) {
        multiply_strip(next + p * kWide, s.scores + p * kPanelStep + other * kScores);
        weigh_next();
      }
      if (j + 2 == blocks) mask(j + 1);
    }
    for (std::int64_t step = 0; j > 0 && step < 2 * kForwardSteps; ++step) {
      add_step(step, kForwardSteps, s.weights + now * kNextTiles, kForwardSteps, values + (j - 1) * kBlock * kWidth,
               j > 1, out);
      weigh_next();
    }
    while (piece < pieces) weigh_next();
    for (std::int64_t r = 0; r < kStrip; ++r) {
      float* const sums = block_sums + r * kTileSide;
      const F sum = load(sums);
      if (_mm512_cmp_ps_mask(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512>(all(kMostWeights)), _CMP_NLE_UQ) ==
          0)
        store(s.all_sums + r * kTileSide, load(s.all_sums + r * kTileSide) + sum);
      else
        weigh_again(r, scores, panels_of(j), to_power, m, s.all_sums, out, weights);
      store(sums, F{});
    }
  }
  const std::int64_t last = blocks - 1, steps = panels_of(last) / 2;
  for (std::int64_t step = 0; step < 2 * steps; ++step)
    add_step(step, steps, s.weights + (1 - last % 2) * kNextTiles, kForwardSteps, values + last * kBlock * kWidth,
             last > 0, out);
  for (std::int64_t r = 0; r < kStrip; ++r) l[r] = total(load(s.all_sums + r * kTileSide));
}

namespace {

constexpr std::int64_t kBackwardSteps = kBackwardPanels / 2;

alignas(64) constexpr std::uint16_t kInterleave[2 * kTileSide] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                                  21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                                  11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

/// 16 numbers of a row and of the next, rounded.
CLIPSELF_INLINE __m512i both(F low, F high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low)));
}
CLIPSELF_INLINE void put_rows(at::BFloat16* p, __m512i rows) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(rows));
  _mm256_store_si256(reinterpret_cast<__m256i*>(p + kTileDepth), _mm512_extracti64x4_epi64(rows, 1));
}

/// 8 keys of a strip and 16 queries: weights and the scores' gradients as left operands, the latter as right one too.
CLIPSELF_INLINE void derive_piece(std::int64_t piece, const float* scores, const float* d_weights, float to_power,
                                  const float* lse, const float* delta, at::BFloat16* weights, at::BFloat16* d_scores,
                                  at::BFloat16* pairs, std::int64_t strips, std::int64_t keys) {
  constexpr std::int64_t kRows = 8;
  const std::int64_t panel = piece / 4, first = piece % 4 * kRows;
  const F by = load(lse + panel * kTileSide) * kLog2E, mean = load(delta + panel * kTileSide);
  const std::int64_t from = panel * kPanelStep + first * kTileSide;
  const std::int64_t to = weights_tile(first / kTileSide * kBackwardSteps + panel / 2) +
                          first % kTileSide * kTileDepth + panel % 2 * kTileSide;
  pairs += panel * strips * kTileNumbers + first / 2 * kTileDepth;
  const __m512i interleave = _mm512_load_si512(kInterleave);
#pragma GCC unroll 4
  for (std::int64_t r = 0; r < kRows; r += 2) {
    const float* const s = scores + from + r * kTileSide;
    const float* const d = d_weights + from + r * kTileSide;
    const F w0 = power_of_two<at::BFloat16>(load(s) * to_power - by);
    const F w1 = power_of_two<at::BFloat16>(load(s + kTileSide) * to_power - by);
    put_rows(weights + to + r * kTileDepth, both(w0, w1));
    const __m512i ds = both(w0 * (load(d) - mean), w1 * (load(d + kTileSide) - mean));
    put_rows(d_scores + to + r * kTileDepth, ds);
    _mm512_store_si512(pairs + r / 2 * kTileDepth, _mm512_permutexvar_epi16(interleave, ds));
  }
  if (keys >= first + kRows) return;
  for (std::int64_t r = 0; r < kRows; ++r)  // keys that are none
    for (std::int64_t c = 0; first + r >= keys && c < kTileSide; ++c) pairs[r / 2 * kTileDepth + 2 * c + r % 2].x = 0;
}

}  // namespace

void backward_block(const Queries& q, std::int64_t key_count, float to_power, BackwardScratch& s) {
  const std::int64_t strips = (key_count + kStrip - 1) / kStrip;
  const std::int64_t blocks = (q.panels + kBackwardPanels - 1) / kBackwardPanels;
  const auto panels_of = [&](std::int64_t block) {
    const std::int64_t left = q.panels - block * kBackwardPanels;
    return left < kBackwardPanels ? left : kBackwardPanels;
  };
  // One strip after the other meets one block of queries, then the next.
  const std::int64_t meetings = blocks * strips;
  const auto products = [&](std::int64_t meeting, auto&& between) {
    const std::int64_t block = meeting / strips, strip = meeting % strips, first = block * kBackwardPanels * kWide;
    read_strip(s.keys + strip * kStrip * kWidth, kWidth);
    for (std::int64_t p = 0; p < panels_of(block); ++p) {
      multiply_strip(q.turned + first + p * kWide, s.scores + p * kPanelStep + meeting % 2 * kScores);
      between();
    }
    read_strip(s.values + strip * kStrip * kWidth, kWidth);
    for (std::int64_t p = 0; p < panels_of(block); ++p) {
      multiply_strip(q.d_out_turned + first + p * kWide, s.d_weights + p * kPanelStep + meeting % 2 * kScores);
      between();
    }
  };
  const auto sums = [&](std::int64_t meeting, auto&& between) {
    const std::int64_t block = meeting / strips, strip = meeting % strips, steps = panels_of(block) / 2;
    const std::int64_t first = block * kBackwardPanels * kWide, to = strip * kStrip * kWidth;
    for (std::int64_t step = 0; step < 2 * steps; ++step) {
      add_step(step, steps, s.weights + (1 - meeting % 2) * kNextTiles, kBackwardSteps, q.d_out_rows + first, block > 0,
               s.dv + to);
      between();
    }
    for (std::int64_t step = 0; step < 2 * steps; ++step) {
      add_step(step, steps, s.d_scores + (1 - meeting % 2) * kNextTiles, kBackwardSteps, q.rows + first, block > 0,
               s.dk + to);
      between();
    }
  };
  products(0, [] {});
  for (std::int64_t meeting = 0; meeting < meetings; ++meeting) {
    const std::int64_t block = meeting / strips, strip = meeting % strips, now = meeting % 2;
    const std::int64_t query = block * kBackwardPanels * kTileSide, pieces = 4 * panels_of(block);
    std::int64_t piece = 0;
    const auto derive_next = [&] {
      if (piece < pieces)
        derive_piece(piece++, s.scores + now * kScores, s.d_weights + now * kScores, to_power, q.lse + query,
                     q.delta + query, s.weights + (1 - now) * kNextTiles, s.d_scores + (1 - now) * kNextTiles,
                     s.pairs + strip * kTileNumbers, strips, key_count - strip * kStrip);
    };
    if (meeting + 1 < meetings) products(meeting + 1, derive_next);
    if (meeting > 0) sums(meeting - 1, derive_next);
    while (piece < pieces) derive_next();
    if (strip + 1 < strips) continue;
    for (std::int64_t p = 0; p < panels_of(block); p += 2)
      tile_product(kWidth, kTileDepth, strips * kStrip, packed_tiles(s.keys_turned, strips * kStrip),
                   packed_tiles(s.pairs + p * strips * kTileNumbers, strips * kStrip),
                   q.dq + (query + p * kTileSide) * kWidth, kTileDepth,
                   /*add=*/true);
  }
  sums(meetings - 1, [] {});
}

#undef CLIPSELF_INLINE
#pragma GCC diagnostic pop
#pragma GCC pop_options

}  // namespace clipself::ops::cpu::interleaved
#endif
