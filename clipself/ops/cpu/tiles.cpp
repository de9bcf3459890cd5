#include "clipself/ops/cpu/tiles.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "clipself/ops/cpu/matrix.h"
#include "clipself/ops/cpu/tile_instructions.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define CLIPSELF_HAS_TILES
#endif

namespace clipself::ops::cpu {

#ifdef CLIPSELF_HAS_TILES
namespace {

// Tiles 0 to 3 are the result's, row by row; 4 and 5 the left operand's, one below the other; 6 and 7 the right one's,
// side by side.

/// What the tiles hold: up to 32 rows and columns of the result and 32 numbers of depth.
struct Extent {
  std::int64_t rows = 0, columns = 0, depth = 0;
  bool operator==(const Extent&) const = default;
};

// As the instruction reads it.
struct alignas(64) Palette {
  std::uint8_t palette = 1, start_row = 0;
  std::array<std::uint8_t, 14> unused{};
  std::array<std::uint16_t, 16> row_bytes{};
  std::array<std::uint8_t, 16> rows{};
  void set(std::size_t tile, std::int64_t row_count, std::int64_t bytes) {
    const bool any = row_count > 0 && bytes > 0;
    rows.at(tile) = static_cast<std::uint8_t>(any ? row_count : 0);
    row_bytes.at(tile) = static_cast<std::uint16_t>(any ? bytes : 0);
  }
};

thread_local Extent current;

void set_up(const Extent& extent) {
  if (extent == current) return;
  const std::array<std::int64_t, 2> rows{std::min(extent.rows, kTileSide),
                                         std::max<std::int64_t>(extent.rows - kTileSide, 0)};
  const std::array<std::int64_t, 2> columns{std::min(extent.columns, kTileSide),
                                            std::max<std::int64_t>(extent.columns - kTileSide, 0)};
  Palette palette;
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 2; ++j) palette.set(2 * i + j, rows.at(i), columns.at(j) * 4);
    palette.set(4 + i, rows.at(i), extent.depth * 2);
    palette.set(6 + i, extent.depth / 2, columns.at(i) * 4);
  }
  __asm__ volatile("ldtilecfg %0" ::"m"(palette));
  current = extent;
}

constexpr std::int64_t kAside = kTileSide * 4;  // from a tile of a result to the next, in bytes

/// c = or += a b of up to two by two tiles, `steps` of depth one after the other. Distances in bytes.
template <bool kTwoRows, bool kTwoColumns>
void multiply(std::int64_t steps, const TileOperand& left, const TileOperand& right, char* c, std::int64_t c_step,
              bool add) {
  const char* a = reinterpret_cast<const char*>(left.first);
  const char* b = reinterpret_cast<const char*>(right.first);
  const std::int64_t a_row = left.row * 2, b_row = right.row * 2, below = left.aside * 2, aside = right.aside * 2;
  char* const c_below = c + kTileSide * c_step;
  if (add) {
    tile_load<0>(c, c_step);
    if constexpr (kTwoColumns) tile_load<1>(c + kAside, c_step);
    if constexpr (kTwoRows) tile_load<2>(c_below, c_step);
    if constexpr (kTwoRows && kTwoColumns) tile_load<3>(c_below + kAside, c_step);
  } else {
    tile_zero<0>();
    if constexpr (kTwoColumns) tile_zero<1>();
    if constexpr (kTwoRows) tile_zero<2>();
    if constexpr (kTwoRows && kTwoColumns) tile_zero<3>();
  }
  // What a step reads is asked for as soon as the step before is through with the register.
  tile_load<6>(b, b_row);
  tile_load<4>(a, a_row);
  if constexpr (kTwoRows) tile_load<5>(a + below, a_row);
  if constexpr (kTwoColumns) tile_load<7>(b + aside, b_row);
  for (; steps > 1; --steps) {
    a += left.deeper * 2;
    b += right.deeper * 2;
    tile_multiply<0, 4, 6>();
    if constexpr (kTwoRows) tile_multiply<2, 5, 6>();
    tile_load<6>(b, b_row);
    if constexpr (kTwoColumns) tile_multiply<1, 4, 7>();
    tile_load<4>(a, a_row);
    if constexpr (kTwoRows && kTwoColumns) tile_multiply<3, 5, 7>();
    if constexpr (kTwoRows) tile_load<5>(a + below, a_row);
    if constexpr (kTwoColumns) tile_load<7>(b + aside, b_row);
  }
  tile_multiply<0, 4, 6>();
  if constexpr (kTwoRows) tile_multiply<2, 5, 6>();
  if constexpr (kTwoColumns) tile_multiply<1, 4, 7>();
  if constexpr (kTwoRows && kTwoColumns) tile_multiply<3, 5, 7>();
  tile_store<0>(c, c_step);
  if constexpr (kTwoColumns) tile_store<1>(c + kAside, c_step);
  if constexpr (kTwoRows) tile_store<2>(c_below, c_step);
  if constexpr (kTwoRows && kTwoColumns) tile_store<3>(c_below + kAside, c_step);
}

/// A tile's place in the two by two tiles of a result.
template <int kTile>
char* place(float* c, std::int64_t c_step) {
  return reinterpret_cast<char*>(c) + (kTile / 2 * kTileSide * c_step + kTile % 2 * kAside);
}
/// Stores a tile to where it belongs, if anywhere, and begins the same of another result.
template <int kTile>
[[gnu::always_inline]] inline void exchange(float* before, float* here, std::int64_t c_step, bool add) {
  if (before != nullptr) tile_store<kTile>(place<kTile>(before, c_step), c_step);
  if (add)
    tile_load<kTile>(place<kTile>(here, c_step), c_step);
  else
    tile_zero<kTile>();
}

/// c = a b of two tiles' rows, two steps of depth and any number of tiles' columns: a stays in tiles 4 to 7, so that
/// there is a read for every two products.
void multiply_narrow(std::int64_t columns, const TileOperand& left, const TileOperand& right, char* c,
                     std::int64_t c_step) {
  const std::int64_t a_row = left.row * 2, b_row = right.row * 2;
  const at::BFloat16* const below = left.first + left.aside;
  tile_load<4>(left.first, a_row);
  tile_load<5>(below, a_row);
  tile_load<6>(left.first + left.deeper, a_row);
  tile_load<7>(below + left.deeper, a_row);
  const at::BFloat16* b = right.first;
  for (; columns > 0; columns -= kTileSide, c += kTileSide * 4, b += right.aside) {
    tile_load<2>(b, b_row);
    tile_zero<0>();
    tile_multiply<0, 4, 2>();
    tile_zero<1>();
    tile_multiply<1, 5, 2>();
    tile_load<3>(b + right.deeper, b_row);
    tile_multiply<0, 6, 3>();
    tile_multiply<1, 7, 3>();
    tile_store<0>(c, c_step);
    tile_store<1>(c + kTileSide * c_step, c_step);
  }
}

void multiply_any(const Extent& extent, std::int64_t steps, const TileOperand& a, const TileOperand& b, char* c,
                  std::int64_t c_step, bool add) {
  set_up(extent);
  const bool two_rows = extent.rows > kTileSide, two_columns = extent.columns > kTileSide;
  const auto run = two_rows ? (two_columns ? multiply<true, true> : multiply<true, false>)
                            : (two_columns ? multiply<false, true> : multiply<false, false>);
  run(steps, a, b, c, c_step, add);
}

/// The operand from its i-th tile aside and its j-th of depth on.
TileOperand from(const TileOperand& x, std::int64_t i, std::int64_t j) {
  auto y = x;
  y.first += i * x.aside + j * x.deeper;
  return y;
}

}  // namespace

bool has_tiles() {
  return true;
}

void set_up_tiles() {
  set_up({2 * kTileSide, 2 * kTileSide, kTileDepth});
}

void tile_product(std::int64_t m, std::int64_t n, std::int64_t k, const TileOperand& a, const TileOperand& b, float* c,
                  std::int64_t c_row, bool add) {
  constexpr std::int64_t kPair = 2 * kTileSide;
  const std::int64_t c_step = c_row * 4;
  const auto at = [&](std::int64_t i, std::int64_t j) { return reinterpret_cast<char*>(c + i * c_row + j); };
  if (!add && k == 2 * kTileDepth && m % kPair == 0 && n % kTileSide == 0) {
    set_up({kPair, kPair, kTileDepth});
    for (std::int64_t i = 0; i < m; i += kPair) multiply_narrow(n, from(a, i / kTileSide, 0), b, at(i, 0), c_step);
    return;
  }
  // Setting up takes as long as several products, so what is whole comes first, then each kind of rest.
  const std::int64_t steps = k / kTileDepth, rest = k % kTileDepth;
  const auto run = [&](std::int64_t first_row, std::int64_t end_row, std::int64_t first_column,
                       std::int64_t end_column) {
    for (const bool whole : {true, false}) {
      if ((whole ? steps : rest) == 0) continue;
      for (std::int64_t j = first_column; j < end_column; j += kPair)
        for (std::int64_t i = first_row; i < end_row; i += kPair)
          multiply_any({std::min(kPair, m - i), std::min(kPair, n - j), whole ? kTileDepth : rest}, whole ? steps : 1,
                       from(a, i / kTileSide, whole ? 0 : steps), from(b, j / kTileSide, whole ? 0 : steps), at(i, j),
                       c_step, add || (!whole && steps > 0));
    }
  };
  const std::int64_t whole_rows = m / kPair * kPair, whole_columns = n / kPair * kPair;
  run(0, whole_rows, 0, whole_columns);
  run(0, whole_rows, whole_columns, n);
  run(whole_rows, m, 0, whole_columns);
  run(whole_rows, m, whole_columns, n);
}

void tile_panel_product(std::int64_t m, std::int64_t k, const TileOperand& a, const at::BFloat16* b, float* c,
                        std::int64_t c_row, bool add) {
  set_up_tiles();
  constexpr std::int64_t kPair = 2 * kTileSide, kLine = 64, kRow = kTileDepth * 2;
  const std::int64_t steps = k / kTileDepth, pairs = m / kPair, c_step = c_row * 4, a_row = a.row * 2;
  const std::int64_t lines = blocks_of(2 * kTileNumbers * 2 / kLine, pairs);  // to fetch in each step
  const char* behind = reinterpret_cast<const char*>(b + k * kPair);
  const char* const end = behind + k * kPair * 2;
  float* before = nullptr;  // a result is stored when the next one is begun: a store that waits holds up all others
  for (std::int64_t i = 0; i < pairs; ++i) {
    const at::BFloat16* upper = a.first + 2 * i * a.aside;
    const at::BFloat16* right = b;
    float* const here = c + i * kPair * c_row;
    for (std::int64_t step = 0; step < steps; ++step, upper += a.deeper, right += 2 * kTileNumbers) {
      tile_load<6>(right, kRow);
      tile_stream<4>(upper, a_row);
      if (step == 0) exchange<0>(before, here, c_step, add);
      tile_multiply<0, 4, 6>();
      tile_stream<5>(upper + a.aside, a_row);
      if (step == 0) exchange<2>(before, here, c_step, add);
      tile_multiply<2, 5, 6>();
      tile_load<7>(right + kTileNumbers, kRow);
      if (step == 0) exchange<1>(before, here, c_step, add);
      tile_multiply<1, 4, 7>();
      if (step == 0) exchange<3>(before, here, c_step, add);
      tile_multiply<3, 5, 7>();
      for (std::int64_t line = 0; line < lines && behind < end; ++line, behind += kLine)
        __builtin_prefetch(behind, /*rw=*/0, /*locality=*/2);
    }
    before = here;
  }
  tile_store<0>(place<0>(before, c_step), c_step);
  tile_store<2>(place<2>(before, c_step), c_step);
  tile_store<1>(place<1>(before, c_step), c_step);
  tile_store<3>(place<3>(before, c_step), c_step);
}

void release_tiles() {
  if (current == Extent{}) return;
  __asm__ volatile("tilerelease" ::);
  current = {};
}

#else

bool has_tiles() {
  return false;
}
void tile_panel_product(std::int64_t, std::int64_t, const TileOperand&, const at::BFloat16*, float*, std::int64_t,
                        bool) {
  TORCH_CHECK(false, "no tiles");
}
void tile_product(std::int64_t, std::int64_t, std::int64_t, const TileOperand&, const TileOperand&, float*,
                  std::int64_t, bool) {
  TORCH_CHECK(false, "no tiles");
}
void set_up_tiles() {}
void release_tiles() {}

#endif

}  // namespace clipself::ops::cpu
