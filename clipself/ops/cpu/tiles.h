// Small products of bfloat16 on AMX: eight tile registers of 16 rows of 64 bytes.
//
// Two by two tiles of the result stay in registers while two tiles of each operand at a time are read and multiplied:
// four products for four reads, of which one from the second-level cache takes longer than a product. So the operands'
// way just keeps up where one of them is in the first.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Rows of a tile, and of a result's its columns; numbers in an operand's row; numbers in an operand's tile.
constexpr std::int64_t kTileSide = 16, kTileDepth = 32, kTileNumbers = kTileSide * kTileDepth;

/// Whether this build has them, for where level() is kAmx.
bool has_tiles();

/// Where an operand's tiles are, each of 16 rows of 32 numbers: of the left one, 16 of its rows; of the right one, 16
/// of its columns, with 16 pairs of rows. In numbers from one to the next.
struct TileOperand {
  const at::BFloat16* first;
  std::int64_t row;     ///< of a tile
  std::int64_t deeper;  ///< to the tile that is multiplied after it
  std::int64_t aside;   ///< to the tile of the next 16 rows or columns
};
/// Rows that follow one another `row` numbers apart, as they are.
constexpr TileOperand rows_as_tiles(const at::BFloat16* first, std::int64_t row) {
  return {.first = first, .row = row, .deeper = kTileDepth, .aside = kTileSide * row};
}
/// Tiles without gaps: those of all `depth` one after another (a multiple of 32, or no more are read), then the next.
constexpr TileOperand packed_tiles(const at::BFloat16* first, std::int64_t depth) {
  return {.first = first, .row = kTileDepth, .deeper = kTileNumbers, .aside = kTileSide * depth};
}

/// c (m, n) = or += a (m, k) b (k, n), k even. Leaves the tiles set up for the thread's next one.
void tile_product(std::int64_t m, std::int64_t n, std::int64_t k, const TileOperand& a, const TileOperand& b, float* c,
                  std::int64_t c_row, bool add);
/// c (m, 32) = or += a (m, k) b (k, 32), of whole tiles: m and k are multiples of 32, not 0. b, without gaps, comes to
/// stay in the first-level cache, a from the second, to where as much as lies behind b in memory is fetched meanwhile.
void tile_panel_product(std::int64_t m, std::int64_t k, const TileOperand& a, const at::BFloat16* b, float* c,
                        std::int64_t c_row, bool add);
/// Where this b has the tile of the 32 rows from `row` on and the 16 columns from `column` on: both of 32 rows, then
/// those of the next.
constexpr std::int64_t panel_tile(std::int64_t row, std::int64_t column) {
  return (row / kTileDepth * 2 + column / kTileSide) * kTileNumbers;
}
/// Sets all tiles up as whole ones, for code with instructions of its own.
void set_up_tiles();
/// Gives this thread's tiles back, which whoever else sets them up must find so.
void release_tiles();

}  // namespace clipself::ops::cpu
