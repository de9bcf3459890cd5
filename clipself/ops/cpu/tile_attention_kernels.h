// The parts of tile_attention.h's attention that run on tiles, one strip of queries or block of keys at a time. Each
// thread calls set_up_tiles() before and release_tiles() after.
#pragma once

#include "clipself/ops/cpu/tiles.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLIPSELF_HAS_TILE_ATTENTION
#endif

namespace clipself::ops::cpu::tile_kernels {

constexpr std::int64_t kWidth = 64;                       // of a head: two tiles' depth, four tiles' columns
constexpr std::int64_t kScores = kTileDepth * kTileSide;  // a panel of them: two result tiles, one below the other
constexpr std::int64_t kStrip = 32;                       // queries forward, keys backward
constexpr std::int64_t kForwardPairs = 4;                 // of panels of 16 keys a block
constexpr std::int64_t kBackwardPairs = 3;                // of panels of 16 queries a block
constexpr std::int64_t kBackwardStrips = 16;              // of keys a block

/// Four kilobytes in halves, each of a panel of scores, two tiles of an operand, or a panel of 16 of a head's rows. A
/// processor that reads at a multiple of four kilobytes from where it is about to write waits for that. So what is read
/// while scores are written to one half is in the other one.
struct alignas(4096) Page {
  float lower[kScores], upper[kScores];
};

/// 32 rows of heads, packed twice: as columns of two panels, and as a right operand of kWidth columns, four tiles, two
/// each page.
struct PackedRows {
  Page pages[2];
};
/// Of `count` rows, with zeros behind them, the panels, in the lower halves or the upper ones.
void pack_columns(const at::BFloat16* rows, std::int64_t row, std::int64_t count, bool lower, PackedRows& to);
/// And the right operand. `between`: in the order in which weights of a pair of panels stand, four of the one after
/// four of the other.
void pack_rows(const at::BFloat16* rows, std::int64_t row, std::int64_t count, bool between, bool lower,
               PackedRows& to);

/// What a strip of the forward works in: scores of a block, which become weights, in the upper halves; the strip in
/// lower ones.
struct ForwardScratch {
  Page pages[2 * kForwardPairs];
  alignas(64) float sums[kStrip * kTileSide], begin[kStrip];
};

/// Up to 32 queries, `row` numbers apart, and all keys, whose columns are in the lower halves and whose values are the
/// right operands, between: what was added up of the values (32, kWidth), the power of two that each row's weights are
/// relative to, and their sum.
void forward_strip(const at::BFloat16* queries, std::int64_t row, std::int64_t query_count, const PackedRows* keys,
                   std::int64_t key_count, float scale, ForwardScratch& s, float* out, float* m, float* l);

/// What a block of keys of the backward works in: of a strip and a block of queries the scores, which become weights,
/// in the upper halves, and in the lower ones the weights' gradients, which become the scores'.
struct BackwardScratch {
  Page pages[2 * kBackwardPairs];
  Page strips[2 * kBackwardStrips];  // keys in the upper halves, values in the lower ones
  alignas(64) at::BFloat16 d_scores[kBackwardPairs * kTileDepth * kBackwardStrips * kStrip];  // as right operands
  alignas(64) at::BFloat16 keys_turned[kWidth * kBackwardStrips * kStrip];
  alignas(64) float dk[kBackwardStrips * kStrip * kWidth], dv[kBackwardStrips * kStrip * kWidth];
};

/// All queries of a head, 32 after 32: `queries` with columns in the lower halves, `d_out` with columns in the upper
/// ones and rows between.
struct Queries {
  std::int64_t pairs;
  const PackedRows *queries, *d_out;
  const float *lse, *delta;  // what scores and weights' gradients begin with: -lse / scale and -delta
  float* dq;                 // (kWidth, 32) of 32 after 32 queries, in an order that write_queries() knows
};

/// A block of keys, `row` and `value_row` numbers apart, meets all queries: adds to dq, and makes dk and dv, unscaled.
void backward_block(const Queries& q, const at::BFloat16* keys, std::int64_t row, const at::BFloat16* values,
                    std::int64_t value_row, std::int64_t key_count, float scale, BackwardScratch& s);

/// `count` rows, up to 32, of what backward_block() left in dq, times `factor`.
void write_queries(const float* dq, std::int64_t count, float factor, at::BFloat16* out, std::int64_t row);

}  // namespace clipself::ops::cpu::tile_kernels
