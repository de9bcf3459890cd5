#include "clipself/ops/cpu/blocked_product.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "clipself/ops/cpu/aligned.h"
#include "clipself/ops/cpu/level.h"
#include "clipself/ops/cpu/matrix.h"
#include "clipself/ops/cpu/tiles.h"
#include "clipself/ops/cpu/vector_kernels.h"

namespace clipself::ops::cpu {
namespace {

constexpr std::int64_t kBlockRows = 96, kDepth = 256, kPanel = 32;
// Rows of a block a multiple of a kilobyte apart would meet in few sets of the first-level cache.
constexpr std::int64_t kBlockRow = kDepth + 16;
// Rows of b in panels at a time, where sums may wait in the result meanwhile: few enough that the memory is used again
// and not asked from the system each time.
constexpr std::int64_t kChunk = 4 * kDepth;

/// `count` x `length` numbers, of which (i, j) is at i * step + j * along, to float rows `to_step` apart.
template <typename T>
void copy_widened(const T* from, std::int64_t step, std::int64_t along, std::int64_t count, std::int64_t length,
                  float* to, std::int64_t to_step) {
  if (along == 1) {
    for (std::int64_t r = 0; r < count; ++r)
      for (std::int64_t c = 0; c < length; ++c) to[r * to_step + c] = static_cast<float>(from[r * step + c]);
    return;
  }
  constexpr std::int64_t kTile = 16;  // both what is read and what is written stay in cache
  for (std::int64_t i = 0; i < count; i += kTile) {
    const std::int64_t end_i = std::min(count, i + kTile);
    for (std::int64_t j = 0; j < length; j += kTile) {
      const std::int64_t end_j = std::min(length, j + kTile);
      for (std::int64_t c = j; c < end_j; ++c)
        for (std::int64_t r = i; r < end_i; ++r) to[r * to_step + c] = static_cast<float>(from[r * step + c * along]);
    }
  }
}

void copy_block(const at::Tensor& matrix, std::int64_t row, std::int64_t column, std::int64_t count,
                std::int64_t length, float* to, std::int64_t to_step) {
  const std::int64_t step = matrix.stride(0), along = matrix.stride(1), first = row * step + column * along;
  if (matrix.scalar_type() == at::kFloat)
    copy_widened(matrix.const_data_ptr<float>() + first, step, along, count, length, to, to_step);
  else
    copy_widened(matrix.const_data_ptr<at::BFloat16>() + first, step, along, count, length, to, to_step);
}

/// Rows `begin` to `end` of b (k, n) in blocks of kDepth, each in panels of kPanel columns one after the other, with
/// anything behind the last column.
void pack(const at::Tensor& b, std::int64_t begin, std::int64_t end, std::int64_t padded, float* to) {
  constexpr std::int64_t kRows = 64;  // a task's
  const std::int64_t n = b.size(1);
  at::parallel_for(0, blocks_of(end - begin, kRows), 1, [&](std::int64_t task, std::int64_t end_task) {
    for (; task < end_task; ++task) {
      const std::int64_t row = task * kRows, in_block = row % kDepth, block = row - in_block;
      const std::int64_t rows = std::min(kRows, end - begin - row), depth = std::min(kDepth, end - begin - block);
      for (std::int64_t column = 0; column < n; column += kPanel)
        copy_block(b, begin + row, column, rows, std::min(kPanel, n - column),
                   to + block * padded + column * depth + in_block * kPanel, kPanel);
    }
  });
}

/// What one thread makes at a time.
struct Part {
  std::int64_t row, rows, column, columns;  // the first column is a panel's first
};

/// c = or (`begun`) += rows of a times rows `begin` to `end` of b, which `panels` are made of. `block` is scratch.
void multiply(const at::Tensor& a, const float* panels, std::int64_t padded, std::int64_t begin, std::int64_t end,
              const Part& part, bool begun, float* c, std::int64_t c_row, float* block) {
  for (std::int64_t i = begin; i < end; i += kDepth, begun = true) {
    const std::int64_t depth = std::min(kDepth, end - i);
    copy_block(a, part.row, i, part.rows, depth, block, kBlockRow);
    for (std::int64_t j = 0; j < part.columns; j += kPanel)
      product(part.rows, std::min(kPanel, part.columns - j), depth, block, kBlockRow,
              panels + (i - begin) * padded + (part.column + j) * depth, kPanel, c + j, c_row, begun);
  }
}

// On tiles, of bfloat16. A block of rows of a is copied (or turned) into tiles once, over its whole depth, and stays in
// the second-level cache; 32 columns of b, up to 512 of depth at a time, come from further away and stay in the
// first-level one while 32 rows of a after the other meet them. The more rows, the less often b comes.
constexpr std::int64_t kDepthAtOnce = 512, kMostRows = 512, kLeftNumbers = 640000;
// Columns of the result done before it is written.
constexpr std::int64_t kColumns = 128, kSumsRow = kColumns + 16;

/// Rows of a matrix as bfloat16: where they are, or, rounded, in scratch.
class RoundedRows {
 public:
  RoundedRows(const at::Tensor& matrix, std::int64_t row_step, std::int64_t most_rows, std::int64_t length)
      : matrix_(matrix), row_step_(row_step), length_(length) {
    if (matrix.scalar_type() != at::kFloat) return;
    rounded_.resize(static_cast<std::size_t>(most_rows * length));
  }
  const at::BFloat16* rows(std::int64_t first, std::int64_t count) {
    if (matrix_.scalar_type() == at::kBFloat16) return matrix_.const_data_ptr<at::BFloat16>() + first * row_step_;
    attention_loops<at::BFloat16>().scaled(matrix_.const_data_ptr<float>() + first * row_step_, row_step_, 1, count,
                                           length_, 1.0F, rounded_.data(), length_);
    return rounded_.data();
  }
  std::int64_t step() const { return rounded_.empty() ? row_step_ : length_; }

 private:
  const at::Tensor& matrix_;
  std::int64_t row_step_, length_;
  AlignedVector<at::BFloat16> rounded_;
};

/// b (k, n) as panels of 32 columns, for tile_panel_product: each of `depth`, a multiple of 32, with zeros at the end.
void pack_tiles(const at::Tensor& b, std::int64_t depth, at::BFloat16* to) {
  const std::int64_t k = b.size(0), n = b.size(1), columns = round_up(n, kPanel);
  const auto& loops = panel_loops<at::BFloat16>();
  const auto tile = [&](std::int64_t row, std::int64_t column) {
    return to + column / kPanel * kPanel * depth + panel_tile(row, column % kPanel);
  };
  if (b.stride(1) == 1) {
    at::parallel_for(0, depth / kTileDepth, 1, [&](std::int64_t step, std::int64_t end) {
      RoundedRows from(b, b.stride(0), kTileDepth, n);
      for (; step < end; ++step) {
        const std::int64_t row = step * kTileDepth, count = std::min(kTileDepth, k - row);
        const at::BFloat16* x = from.rows(row, count);
        for (std::int64_t j = 0; j < columns; j += kTileSide) {
          const std::int64_t width = std::clamp<std::int64_t>(n - j, 0, kTileSide);
          loops.pack_rows(x + j, from.step(), count, kTileDepth, width, tile(row, j), kTileSide);
        }
      }
    });
  } else {
    at::parallel_for(0, columns / kTileSide, 1, [&](std::int64_t task, std::int64_t end) {
      RoundedRows from(b, b.stride(1), kTileSide, k);
      for (; task < end; ++task) {
        const std::int64_t j = task * kTileSide, count = std::clamp<std::int64_t>(n - j, 0, kTileSide);
        const at::BFloat16* x = from.rows(j, count);
        for (std::int64_t row = 0; row < depth; row += kTileDepth) {
          const std::int64_t width = std::min(kTileDepth, k - row);
          loops.pack_transposed(x + row, from.step(), count, kTileSide, width, tile(row, j));
          std::fill(tile(row, j) + width * kTileSide, tile(row, j) + kTileNumbers, at::BFloat16(0.0F));
        }
      }
    });
  }
}

/// Rows of a (m, k) from `row` on as tiles of 16 rows, in that order too.
void copy_tiles(const at::Tensor& a, std::int64_t row, std::int64_t rows, std::int64_t depth, at::BFloat16* to) {
  const auto* from = a.const_data_ptr<at::BFloat16>() + row * a.stride(0);
  const std::int64_t k = a.size(1);
  const auto& loops = panel_loops<at::BFloat16>();
  if (a.stride(1) != 1) {
    for (std::int64_t c = 0; c < k; c += kTileDepth)
      for (std::int64_t i = 0; i < rows; i += kTileSide)
        loops.transpose(from + i + c * a.stride(1), a.stride(1), std::min(kTileDepth, k - c), kTileDepth,
                        std::min(kTileSide, rows - i), to + i * depth + c * kTileSide);
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const at::BFloat16* x = from + r * a.stride(0);
    at::BFloat16* tile_row = to + r / kTileSide * kTileSide * depth + r % kTileSide * kTileDepth;
    std::int64_t c = 0;
    for (; c + kTileDepth <= k; c += kTileDepth, tile_row += kTileNumbers)
      std::memcpy(static_cast<void*>(tile_row), x + c, kTileDepth * sizeof(at::BFloat16));
    if (c == k) continue;
    std::copy_n(x + c, k - c, tile_row);
    std::fill(tile_row + (k - c), tile_row + kTileDepth, at::BFloat16(0.0F));
  }
}

/// x, or a copy, whose columns or rows follow one another.
at::Tensor dense(const at::Tensor& x) {
  return x.stride(1) == 1 || x.stride(0) == 1 ? x : x.contiguous();
}

template <typename T>
void multiply_on_tiles(const at::Tensor& a, const at::Tensor& b, const float* bias, at::Tensor& result) {
  const std::int64_t m = a.size(0), n = b.size(1), depth = round_up(a.size(1), kTileDepth);
  const auto right = at::empty({depth * round_up(n, kPanel)}, a.options());
  auto* const panels = right.mutable_data_ptr<at::BFloat16>();
  pack_tiles(b, depth, panels);
  // Blocks of rows are as many for each thread, and columns are divided among threads where there are few.
  constexpr std::int64_t kRows = 2 * kTileSide;
  const std::int64_t most = std::clamp(kLeftNumbers / depth / kRows * kRows, kRows, kMostRows);
  const std::int64_t threads = at::get_num_threads(), least = blocks_of(m, most);
  const std::int64_t row_blocks = least < threads ? least : round_up(least, threads);
  const std::int64_t pairs = blocks_of(m, kRows), groups = blocks_of(n, kColumns);
  const std::int64_t block_rows = blocks_of(pairs, row_blocks) * kRows;
  const std::int64_t parts = std::clamp<std::int64_t>(4 * threads / row_blocks, 1, groups);
  const std::int64_t at_once = round_up(blocks_of(depth, blocks_of(depth, kDepthAtOnce)), kTileDepth);
  at::parallel_for(0, row_blocks * parts, 1, [&](std::int64_t task, std::int64_t end) {
    AlignedVector<at::BFloat16> left(static_cast<std::size_t>(block_rows * depth));
    AlignedVector<float> sums(static_cast<std::size_t>(block_rows * kSumsRow));
    for (; task < end; ++task) {
      const std::int64_t block = task / parts, part = task % parts, row = block * pairs / row_blocks * kRows;
      const std::int64_t padded = (block + 1) * pairs / row_blocks * kRows - row, rows = std::min(m - row, padded);
      if (rows <= 0) continue;
      copy_tiles(a, row, rows, depth, left.data());
      for (std::int64_t group = part * groups / parts; group < (part + 1) * groups / parts; ++group) {
        const std::int64_t first = group * kColumns, count = std::min(kColumns, n - first);
        for (std::int64_t c = 0; c < count; c += kPanel)
          for (std::int64_t i = 0; i < depth; i += at_once)
            tile_panel_product(padded, std::min(at_once, depth - i), packed_tiles(left.data() + i * kTileSide, depth),
                               panels + (first + c) * depth + i * kPanel, sums.data() + c, kSumsRow, i > 0);
        panel_loops<T>().add_bias(sums.data(), kSumsRow, rows, count, bias + first,
                                  result.mutable_data_ptr<T>() + row * n + first, n);
      }
    }
    release_tiles();
  });
}

}  // namespace

bool has_blocked_product(const at::Tensor& a, const at::Tensor& b) {
  constexpr std::int64_t kFewestRows = 32, kFewestOperations = 1 << 18;
  const auto narrow = [](const at::Tensor& x) { return x.scalar_type() == at::kBFloat16; };
  const auto fits = [&](const at::Tensor& x) { return x.is_cpu() && (x.scalar_type() == at::kFloat || narrow(x)); };
  if (!fits(a) || !fits(b) || a.numel() * b.size(1) < kFewestOperations || a.numel() / a.size(-1) < kFewestRows)
    return false;
  if (on_tiles()) return narrow(a) && has_matrix_products(at::kBFloat16) && (b.size(0) % 2 == 0 || b.stride(1) == 1);
  return has_matrix_products(at::kFloat) &&
         (level() == Level::kAvx2 || (widens_bfloat16() && (narrow(a) || narrow(b))));
}

at::Tensor blocked_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias, at::ScalarType type) {
  RECORD_FUNCTION("clipself::product", std::vector<c10::IValue>());
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0), "no product of ", a.sizes(), " and ", b.sizes());
  if (on_tiles()) {
    auto result = at::empty({a.size(0), b.size(1)}, a.options().dtype(type));
    const auto sums = bias.defined() ? bias.expand({b.size(1)}).contiguous() : at::zeros({b.size(1)}, at::kFloat);
    const auto run = type == at::kFloat ? multiply_on_tiles<float> : multiply_on_tiles<at::BFloat16>;
    run(dense(a), dense(b), sums.const_data_ptr<float>(), result);
    return result;
  }
  const std::int64_t m = a.size(0), k = a.size(1), n = b.size(1), all_panels = blocks_of(n, kPanel);
  auto result = at::empty({m, n}, a.options().dtype(type));
  const auto first_sums = bias.defined() ? bias.expand({n}).contiguous() : bias;
  const bool sums_wait = type == at::kFloat;
  const std::int64_t chunk = sums_wait ? std::min(k, kChunk) : k, padded = all_panels * kPanel;
  const auto panels = at::empty({chunk, padded}, a.options().dtype(at::kFloat));
  // Where there are few rows, blocks of rows are divided among threads by columns too.
  const std::int64_t row_blocks = blocks_of(m, kBlockRows);
  const std::int64_t parts =
      std::clamp<std::int64_t>(4 * at::get_num_threads() / row_blocks, 1, blocks_of(all_panels, 8));
  for (std::int64_t begin = 0; begin < k; begin += chunk) {
    const std::int64_t end = std::min(k, begin + chunk);
    pack(b, begin, end, padded, panels.mutable_data_ptr<float>());
    at::parallel_for(0, row_blocks * parts, 1, [&](std::int64_t task, std::int64_t end_task) {
      std::vector<float> block(kBlockRows * kBlockRow), sums;
      for (; task < end_task; ++task) {
        const std::int64_t row = task / parts * kBlockRows, column = task % parts * all_panels / parts * kPanel;
        const std::int64_t end_column = std::min(n, (task % parts + 1) * all_panels / parts * kPanel);
        const Part part{row, std::min(kBlockRows, m - row), column, end_column - column};
        if (!sums_wait) sums.resize(static_cast<std::size_t>(part.rows * part.columns));
        float* c = sums_wait ? result.mutable_data_ptr<float>() + row * n + column : sums.data();
        const std::int64_t c_row = sums_wait ? n : part.columns;
        if (bias.defined() && begin == 0)
          for (std::int64_t r = 0; r < part.rows; ++r)
            std::copy_n(first_sums.const_data_ptr<float>() + column, part.columns, c + r * c_row);
        multiply(a, panels.const_data_ptr<float>(), padded, begin, end, part, begin > 0 || bias.defined(), c, c_row,
                 block.data());
        if (sums_wait) continue;
        for (std::int64_t r = 0; r < part.rows; ++r)
          std::copy_n(c + r * c_row, part.columns, result.mutable_data_ptr<at::BFloat16>() + (row + r) * n + column);
      }
      release_products(at::kFloat);
    });
  }
  return result;
}

}  // namespace clipself::ops::cpu
