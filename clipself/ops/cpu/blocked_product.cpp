#include "clipself/ops/cpu/blocked_product.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "clipself/ops/cpu/level.h"
#include "clipself/ops/cpu/matrix.h"

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

}  // namespace

bool has_blocked_product(const at::Tensor& a, const at::Tensor& b) {
  constexpr std::int64_t kLeastRows = 32, kLeastOperations = 1 << 18;
  const auto narrow = [](const at::Tensor& x) { return x.scalar_type() == at::kBFloat16; };
  const auto fits = [&](const at::Tensor& x) { return x.is_cpu() && (x.scalar_type() == at::kFloat || narrow(x)); };
  return fits(a) && fits(b) && a.numel() * b.size(1) >= kLeastOperations && a.numel() / a.size(-1) >= kLeastRows &&
         has_matrix_products(at::kFloat) &&
         (level() == Level::kAvx2 || (widens_bfloat16() && (narrow(a) || narrow(b))));
}

at::Tensor blocked_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias, at::ScalarType type) {
  RECORD_FUNCTION("clipself::product", std::vector<c10::IValue>());
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0), "no product of ", a.sizes(), " and ", b.sizes());
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
