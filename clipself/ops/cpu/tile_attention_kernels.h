// The parts of tile_attention.h's attention that run on tiles, one strip of queries or block of keys at a time:
// products with what lies between them. Each thread calls set_up_tiles() before and release_tiles() after.
#pragma once

#include "clipself/ops/cpu/tiles.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLIPSELF_HAS_TILE_ATTENTION
#endif

namespace clipself::ops::cpu::interleaved {

constexpr std::int64_t kWidth = 64;                       // of a head: two tiles' depth, four tiles' columns
constexpr std::int64_t kScores = kTileDepth * kTileSide;  // a panel of them: two result tiles, one below the other
constexpr std::int64_t kStrip = 32;                       // queries forward, keys backward
constexpr std::int64_t kWide = 2 * kTileNumbers;          // an operand of 16 rows or columns, a head's width deep
constexpr std::int64_t kForwardPanels = 8;                // of 16 keys a block
constexpr std::int64_t kBackwardPanels = 8;               // of 16 queries a block
constexpr std::int64_t kBackwardStrips = 16;              // of keys a block

// What is written for the next block while this one is read lies beside it, panel by panel and tile by tile: then no
// address is one that is being written a multiple of four kilobytes on, for which a processor would wait.
constexpr std::int64_t kPanelStep = 2 * kScores;

/// What a strip of the forward works in, for one block and the next.
struct ForwardScratch {
  alignas(4096) float scores[kForwardPanels * kPanelStep];
  alignas(4096) float sums[kPanelStep];
  alignas(4096) at::BFloat16 weights[2 * kForwardPanels * kTileNumbers];  // two times four tiles
  alignas(64) float all_sums[kStrip * kTileSide];
};

/// 32 queries, `row` numbers apart, and all keys: what was added up of the values (32, kWidth), the power of two that
/// each row's weights are relative to, and their sum.
void forward_strip(const at::BFloat16* queries, std::int64_t row, const at::BFloat16* keys, const at::BFloat16* values,
                   std::int64_t key_count, float to_power, ForwardScratch& s, float* out, float* m, float* l);

/// What a block of keys of the backward works in.
struct BackwardScratch {
  alignas(4096) float scores[kBackwardPanels * kPanelStep];
  alignas(4096) float d_weights[kBackwardPanels * kPanelStep];
  alignas(4096) at::BFloat16 weights[2 * kBackwardPanels * kTileNumbers];  // two times two tiles
  alignas(4096) at::BFloat16 d_scores[2 * kBackwardPanels * kTileNumbers];
  alignas(64) at::BFloat16 pairs[kBackwardPanels * kBackwardStrips * kTileNumbers];
  alignas(64) at::BFloat16 keys[kBackwardStrips * kStrip * kWidth], values[kBackwardStrips * kStrip * kWidth];
  alignas(64) at::BFloat16 keys_turned[kWidth * kBackwardStrips * kStrip];
  alignas(64) float dk[kBackwardStrips * kStrip * kWidth], dv[kBackwardStrips * kStrip * kWidth];
};

/// All queries of a head, packed. Panels of 16, an even number of them, and their rows 32 after 32.
struct Queries {
  std::int64_t panels;
  const at::BFloat16 *turned, *d_out_turned, *rows, *d_out_rows;
  const float *lse, *delta;
  float* dq;  // (kWidth, 32) of 32 after 32 queries
};

/// A block of keys meets all queries: adds to dq, and makes dk and dv, unscaled.
void backward_block(const Queries& q, std::int64_t key_count, float to_power, BackwardScratch& s);

}  // namespace clipself::ops::cpu::interleaved
