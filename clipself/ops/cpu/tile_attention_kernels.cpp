#include "clipself/ops/cpu/tile_attention_kernels.h"

#include <cstdint>

#include "clipself/ops/cpu/tile_instructions.h"

#ifdef CLIPSELF_HAS_TILE_ATTENTION
#include <immintrin.h>

namespace clipself::ops::cpu::tile_kernels {

#pragma GCC push_options
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC bug 105593, of its own intrinsics
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vbmi,prefer-vector-width=512")
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
constexpr std::int64_t kNarrowRow = kWidth * 2;
alignas(64) constexpr float kZeros[2 * kForwardPairs * kTileSide] = {};

// A bfloat16's bits, as a whole number, are 128 (127 + the logarithm) of it, to the base of two, but for what the
// mantissa is less than the logarithm's fraction, which a table has for each 128th. So weights are powers rounded to
// 128ths, 0.27 % away at most, of which the bfloat16 is taken, another 0.39 % at most.
constexpr float kBits = 128.0F, kOne = 127.0F * kBits, kInfinity = 255.0F * kBits;
struct alignas(64) Bend {
  std::uint8_t less[128];
  constexpr Bend() : less() {
    double power = 1.0;
    for (int i = 0; i < 128; ++i, power *= 1.0054299011128028)
      less[i] = static_cast<std::uint8_t>(i + 128.5 - 128 * power);
  }
};
constexpr Bend kBend;

/// The weights of which these are kBits times the powers, and kOne, up to kInfinity (as what is no number must be made,
/// for it to show): four of a, four of b, four of a and so on. Zero
/// for what is below bfloat16's numbers.
CLIPSELF_INLINE __m512i weights_of(__m512 a, __m512 b) {
  const __m512i bits = _mm512_packus_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
  constexpr std::uint64_t kLowBytes = 0x5555555555555555;
  return _mm512_sub_epi16(bits, _mm512_maskz_permutex2var_epi8(kLowBytes, _mm512_load_si512(kBend.less), bits,
                                                               _mm512_load_si512(kBend.less + 64)));
}

CLIPSELF_INLINE const at::BFloat16* tiles(const float* half) {
  return reinterpret_cast<const at::BFloat16*>(half);
}
CLIPSELF_INLINE at::BFloat16* tiles(float* half) {
  return reinterpret_cast<at::BFloat16*>(half);
}
CLIPSELF_INLINE std::int64_t at_most(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}
using Half = float (Page::*)[kScores];
CLIPSELF_INLINE constexpr Half half_of(bool lower) {
  return lower ? &Page::lower : &Page::upper;
}

/// Rows of a head that are at least 32: those given, or copied to `last` with zeros behind them.
struct WholeRows {
  const at::BFloat16* rows;
  std::int64_t row;
  alignas(64) at::BFloat16 last[kStrip * kWidth];
  CLIPSELF_INLINE WholeRows(const at::BFloat16* from, std::int64_t from_row, std::int64_t count)
      : rows(from), row(from_row) {
    if (count >= kStrip) return;
    for (std::int64_t r = 0; r < count; ++r)
      __builtin_memcpy(static_cast<void*>(last + r * kWidth), from + r * from_row, kNarrowRow);
    __builtin_memset(static_cast<void*>(last + count * kWidth), 0,
                     static_cast<std::size_t>((kStrip - count) * kNarrowRow));
    rows = last;
    row = kWidth;
  }
};

/// 32 rows of a head as two pages' left operands: 16 beside what is deeper of them, then those below.
CLIPSELF_INLINE void write_strip(const at::BFloat16* rows, std::int64_t row, std::int64_t count, Half half, Page* to) {
  const WholeRows whole(rows, row, count);
  for (std::int64_t r = 0; r < kStrip; ++r) {
    at::BFloat16* const tile = tiles(to[r / kTileSide].*half) + r % kTileSide * kTileDepth;
    __builtin_memcpy(static_cast<void*>(tile), whole.rows + r * whole.row, kOperandRow);
    __builtin_memcpy(static_cast<void*>(tile + kTileNumbers), whole.rows + r * whole.row + kTileDepth, kOperandRow);
  }
}

/// Products of such a strip with `pairs` of panels whose columns are in the one half of their pages, into the other
/// half of `scores`, two pages a pair. Sums begin with `first`, one for each column. A result is stored
/// when the next one's products are under way, for a store that waits for its own holds up all that follow.
CLIPSELF_INLINE void multiply(const Page* strip, Half strip_half, const PackedRows* columns, Half columns_half,
                              const float* first, std::int64_t pairs, Page* scores, Half scores_half) {
  tile_load<4>(strip[0].*strip_half, kOperandRow);
  tile_load<5>(tiles(strip[0].*strip_half) + kTileNumbers, kOperandRow);
  tile_load<6>(strip[1].*strip_half, kOperandRow);
  tile_load<7>(tiles(strip[1].*strip_half) + kTileNumbers, kOperandRow);
  float* before = nullptr;
  for (std::int64_t panel = 0; panel < 2 * pairs; ++panel) {
    const at::BFloat16* const b = tiles(columns[panel / 2].pages[panel % 2].*columns_half);
    float* const c = scores[panel].*scores_half;
    tile_stream<2>(b, kOperandRow);
    tile_stream<3>(b + kTileNumbers, kOperandRow);
    tile_load<0>(first + panel * kTileSide, 0);
    tile_multiply<0, 4, 2>();
    tile_multiply<0, 5, 3>();
    if (before != nullptr) tile_store<1>(before, kPanelRow);
    tile_load<1>(first + panel * kTileSide, 0);
    tile_multiply<1, 6, 2>();
    tile_multiply<1, 7, 3>();
    tile_store<0>(c, kPanelRow);
    before = c + kTileSide * kTileSide;
  }
  tile_store<1>(before, kPanelRow);
}

/// Adds the product of a strip's weights, which are in one half of the first of each two pages, and `pairs` right
/// operands to sums (32, kWidth), the left half, then the right one.
CLIPSELF_INLINE void add_product(const Page* weights, Half weights_half, const PackedRows* rows, Half rows_half,
                                 std::int64_t pairs, bool begun, float* sums) {
  float* const below = sums + kTileSide * kWidth;
  for (std::int64_t side = 0; side < 2; ++side) {
    const std::int64_t c = side * 2 * kTileSide;
    for (std::int64_t i = 0; i < pairs; ++i) {
      const bool first = i == 0, second_side = first && side == 1;
      const at::BFloat16 *const a = tiles(weights[2 * i].*weights_half), *const b =
                                                                             tiles(rows[i].pages[side].*rows_half);
      const auto begin = [&]<int kTile>(float* sum) {
        if (second_side) tile_store<kTile>(sum, kWideRow);
        if (first && begun) tile_load<kTile>(sum + c, kWideRow);
        if (first && !begun) tile_zero<kTile>();
      };
      tile_stream<6>(b, kOperandRow);
      tile_load<4>(a, kOperandRow);
      begin.template operator()<0>(sums);
      tile_multiply<0, 4, 6>();
      tile_load<5>(a + kTileNumbers, kOperandRow);
      begin.template operator()<2>(below);
      tile_multiply<2, 5, 6>();
      tile_stream<7>(b + kTileNumbers, kOperandRow);
      begin.template operator()<1>(sums + kTileSide);
      tile_multiply<1, 4, 7>();
      begin.template operator()<3>(below + kTileSide);
      tile_multiply<3, 5, 7>();
    }
  }
  constexpr std::int64_t kRight = 2 * kTileSide;
  tile_store<0>(sums + kRight, kWideRow);
  tile_store<2>(below + kRight, kWideRow);
  tile_store<1>(sums + kRight + kTileSide, kWideRow);
  tile_store<3>(below + kRight + kTileSide, kWideRow);
}

/// One strip of queries on its way over the keys.
struct Forward {
  const PackedRows* keys;
  std::int64_t key_count;
  float scale;  // of a score, to kBits times its power
  ForwardScratch& s;
  float* out;
  std::int64_t pairs, blocks;

  std::int64_t pairs_of(std::int64_t block) const { return at_most(kForwardPairs, pairs - block * kForwardPairs); }

  void find_scores(std::int64_t block) {
    const std::int64_t first = block * kForwardPairs, end = (first + pairs_of(block)) * kTileDepth;
    multiply(s.pages, &Page::lower, keys + first, &Page::lower, kZeros, pairs_of(block), s.pages, &Page::upper);
    for (std::int64_t key = key_count; key < end; ++key) {  // keys that are none
      const std::int64_t column = key - first * kTileDepth;
      float* const x = s.pages[column / kTileSide].upper + column % kTileSide;
      for (std::int64_t r = 0; r < kStrip; ++r) x[r * kTileSide] = -__builtin_inff();
    }
  }

  /// Of each row, the largest score of a block or of what m already is.
  void find_largest(std::int64_t block, bool begun, float* m) const {
    for (std::int64_t r = 0; r < kStrip; ++r) {
      F most = load(s.pages[0].upper + r * kTileSide);
      for (std::int64_t p = 1; p < 2 * pairs_of(block); ++p)
        most = larger(most, load(s.pages[p].upper + r * kTileSide));
      const float found = largest(most) * (scale / kBits);
      m[r] = begun && !(m[r] < found) ? m[r] : found;
    }
  }

  /// The block's scores become weights.
  void weigh(std::int64_t block) {
    const __m512 by = _mm512_set1_ps(scale), most = _mm512_set1_ps(kInfinity);
    const auto ones = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f80));
    const std::int64_t count = pairs_of(block);
#pragma GCC unroll 4
    for (std::int64_t r = 0; r < kStrip; ++r) {
      const __m512 begin = _mm512_set1_ps(s.begin[r]);
      const auto power = [&](const Page& page) {
        return _mm512_min_ps(_mm512_fmadd_ps(_mm512_load_ps(page.upper + r * kTileSide), by, begin), most);
      };
      __m512 sum = _mm512_load_ps(s.sums + r * kTileSide);
      for (std::int64_t p = 0; p < count; ++p) {
        const __m512i weights = weights_of(power(s.pages[2 * p]), power(s.pages[2 * p + 1]));
        _mm512_store_si512(tiles(s.pages[2 * p].upper) + r * kTileDepth, weights);
        sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(weights), ones);
      }
      _mm512_store_ps(s.sums + r * kTileSide, sum);
    }
  }

  /// Goes over all keys, of which the first block's scores are there. Whether that did with weights relative to m.
  bool run(const float* m, float* l) {
    for (std::int64_t r = 0; r < kStrip; ++r) {
      s.begin[r] = kOne - m[r] * kBits;
      store(s.sums + r * kTileSide, F{});
    }
    for (std::int64_t block = 0; block < blocks; ++block) {
      if (block > 0) find_scores(block);
      weigh(block);
      add_product(s.pages, &Page::upper, keys + block * kForwardPairs, &Page::upper, pairs_of(block), block > 0, out);
    }
    bool fits = true;
    for (std::int64_t r = 0; r < kStrip; ++r) {
      l[r] = total(load(s.sums + r * kTileSide));
      fits = fits && l[r] < kMostWeights;
    }
    return fits;
  }
};

}  // namespace

void pack_columns(const at::BFloat16* rows, std::int64_t row, std::int64_t count, bool lower, PackedRows& to) {
  for (std::int64_t i = 0; i < 2; ++i) {
    const std::int64_t left = count - i * kTileSide;
    pack_transposed(rows + i * kTileSide * row, row, left > 0 ? at_most(left, kTileSide) : 0, kTileSide, kWidth,
                    tiles(to.pages[i].*half_of(lower)));
  }
}

void pack_rows(const at::BFloat16* rows, std::int64_t row, std::int64_t count, bool between, bool lower,
               PackedRows& to) {
  const WholeRows whole(rows, row, count);
  for (std::int64_t r = 0; r < kTileDepth; r += 2) {
    const std::int64_t first = between ? r / 4 % 2 * kTileSide + r / 8 * 4 + r % 4 : r;
    const at::BFloat16* const x = whole.rows + first * whole.row;
    for (std::int64_t tile = 0; tile < 4; ++tile)
      *reinterpret_cast<LooseU*>(tiles(to.pages[tile / 2].*half_of(lower)) + tile % 2 * kTileNumbers + r * kTileSide) =
          paired(x + tile * kTileSide, x + whole.row + tile * kTileSide);
  }
}

void forward_strip(const at::BFloat16* queries, std::int64_t row, std::int64_t query_count, const PackedRows* keys,
                   std::int64_t key_count, float scale, ForwardScratch& s, float* out, float* m, float* l) {
  const std::int64_t pairs = (key_count + kTileDepth - 1) / kTileDepth;
  Forward forward{.keys = keys,
                  .key_count = key_count,
                  .scale = scale * kLog2E * kBits,
                  .s = s,
                  .out = out,
                  .pairs = pairs,
                  .blocks = (pairs + kForwardPairs - 1) / kForwardPairs};
  write_strip(queries, row, query_count, &Page::lower, s.pages);
  forward.find_scores(0);
  forward.find_largest(0, false, m);
  if (forward.run(m, l)) return;
  for (std::int64_t block = 0; block < forward.blocks; ++block) {
    forward.find_scores(block);
    forward.find_largest(block, block > 0, m);
  }
  forward.find_scores(0);
  forward.run(m, l);
}

namespace {

/// Of a strip of keys and a block of queries, scores become weights, weights' gradients the scores', both as left
/// operands, the latter as right one too.
CLIPSELF_INLINE void derive(Page* pages, std::int64_t pairs, float scale, std::int64_t key_count, std::int64_t strips,
                            at::BFloat16* right) {
  const __m512 by = _mm512_set1_ps(scale), one = _mm512_set1_ps(kOne), most = _mm512_set1_ps(kInfinity);
  const __m512i zero = _mm512_setzero_si512();
  for (std::int64_t p = 0; p < pairs; ++p, pages += 2, right += strips * kStrip * kTileDepth) {
#pragma GCC unroll 2
    for (std::int64_t r = 0; r < kStrip; r += 2) {
      __m512i d_scores[2];
#pragma GCC unroll 2
      for (std::int64_t i = 0; i < 2; ++i) {
        const std::int64_t at = (r + i) * kTileSide;
        const auto power = [&](const Page& page) {
          return _mm512_min_ps(_mm512_fmadd_ps(_mm512_load_ps(page.upper + at), by, one), most);
        };
        const __m512i weights = weights_of(power(pages[0]), power(pages[1]));
        const auto a = reinterpret_cast<__m512>(_mm512_unpacklo_epi16(zero, weights));
        const auto b = reinterpret_cast<__m512>(_mm512_unpackhi_epi16(zero, weights));
        d_scores[i] =
            reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(_mm512_mul_ps(b, _mm512_load_ps(pages[1].lower + at)),
                                                          _mm512_mul_ps(a, _mm512_load_ps(pages[0].lower + at))));
        _mm512_store_si512(tiles(pages[0].upper) + 2 * at, weights);
        _mm512_store_si512(tiles(pages[0].lower) + 2 * at, d_scores[i]);
        if (r + i >= key_count) d_scores[i] = zero;  // a key that is none
      }
      at::BFloat16* const to = right + r * kTileSide;
      _mm512_store_si512(to, _mm512_unpacklo_epi16(d_scores[0], d_scores[1]));
      _mm512_store_si512(to + kTileNumbers, _mm512_unpackhi_epi16(d_scores[0], d_scores[1]));
    }
  }
}

}  // namespace

void backward_block(const Queries& q, const at::BFloat16* keys, std::int64_t row, const at::BFloat16* values,
                    std::int64_t value_row, std::int64_t key_count, float scale, BackwardScratch& s) {
  const std::int64_t strips = (key_count + kStrip - 1) / kStrip, depth = strips * kStrip;
  for (std::int64_t i = 0; i < strips; ++i) {
    const std::int64_t first = i * kStrip, count = at_most(kStrip, key_count - first);
    write_strip(keys + first * row, row, count, &Page::upper, s.strips + 2 * i);
    write_strip(values + first * value_row, value_row, count, &Page::lower, s.strips + 2 * i);
    for (std::int64_t c = 0; c < kWidth; c += kTileSide)
      transpose(keys + first * row + c, row, count, kStrip, kTileSide, s.keys_turned + c * depth + first * kTileSide);
  }
  for (std::int64_t pair = 0; pair < q.pairs; pair += kBackwardPairs) {
    const std::int64_t pairs = at_most(kBackwardPairs, q.pairs - pair), query = pair * kTileDepth;
    const bool begun = pair > 0;
    for (std::int64_t i = 0; i < strips; ++i) {
      const std::int64_t to = i * kStrip * kWidth;
      multiply(s.strips + 2 * i, &Page::upper, q.queries + pair, &Page::lower, q.lse + query, pairs, s.pages,
               &Page::upper);
      multiply(s.strips + 2 * i, &Page::lower, q.d_out + pair, &Page::upper, q.delta + query, pairs, s.pages,
               &Page::lower);
      derive(s.pages, pairs, scale * kLog2E * kBits, key_count - i * kStrip, strips,
             s.d_scores + panel_tile(i * kStrip, 0));
      add_product(s.pages, &Page::upper, q.d_out + pair, &Page::lower, pairs, begun, s.dv + to);
      add_product(s.pages, &Page::lower, q.queries + pair, &Page::upper, pairs, begun, s.dk + to);
    }
    for (std::int64_t p = 0; p < pairs; ++p)
      tile_panel_product(kWidth, depth, packed_tiles(s.keys_turned, depth), s.d_scores + p * depth * kTileDepth,
                         q.dq + (query + p * kTileDepth) * kWidth, kTileDepth, /*add=*/true);
  }
}

void write_queries(const float* dq, std::int64_t count, float factor, at::BFloat16* out, std::int64_t row) {
  for (std::int64_t i = 0; i < kWidth; i += kTileSide) {
    for (std::int64_t half = 0; half < 2; ++half) {
      U square[kLanes];
      for (int r = 0; r < kLanes; ++r)
        square[r] = *reinterpret_cast<const LooseU*>(dq + (i + r) * kTileDepth + half * kTileSide);
      transpose_square(square);
      for (std::int64_t c = 0; c < kTileSide; ++c) {
        const std::int64_t query = c / 8 * kTileSide + c / 4 % 2 * 8 + half * 4 + c % 4;
        if (query < count) store(out + query * row + i, bits_to_float(square[c]) * factor);
      }
    }
  }
}

#undef CLIPSELF_INLINE
#pragma GCC diagnostic pop
#pragma GCC pop_options

}  // namespace clipself::ops::cpu::tile_kernels
#endif
