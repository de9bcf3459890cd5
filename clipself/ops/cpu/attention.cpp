#include "clipself/ops/cpu/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "clipself/ops/cpu/aligned.h"
#include "clipself/ops/cpu/attention_heads.h"
#include "clipself/ops/cpu/level.h"
#include "clipself/ops/cpu/matrix.h"
#include "clipself/ops/cpu/tile_attention.h"
#include "clipself/ops/cpu/tiles.h"
#include "clipself/ops/cpu/vector_kernels.h"

namespace clipself::ops::cpu {
namespace {

// Blocks whose scores, weights and operands fit into a second-level cache of half a megabyte.
constexpr std::int64_t kForwardQueries = 128, kForwardKeys = 256;
constexpr std::int64_t kBackwardKeys = 128, kBackwardQueries = 256;

/// Part i of `count` things in blocks.
struct Block {
  std::int64_t first, size, padded;
  Block(std::int64_t i, std::int64_t count, std::int64_t block)
      : first(i * block), size(std::min(block, count - first)), padded(round_up(size, kRowMultiple)) {}
};

/// All heads' rows in blocks, each block a right operand of panel_product(), as `pack` makes it. A head takes (padded
/// rows) * width numbers, and block i begins at its first row * width.
template <typename T, typename Pack>
AlignedVector<T> packed(const Heads<T>& heads, std::int64_t head_count, std::int64_t rows, std::int64_t width,
                        std::int64_t block, const Pack& pack) {
  const std::int64_t blocks = blocks_of(rows, block), each = round_up(rows, kRowMultiple) * width;
  AlignedVector<T> result(static_cast<std::size_t>(head_count * each));
  at::parallel_for(0, head_count * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / blocks;
      const Block part(i % blocks, rows, block);
      pack(heads[head] + part.first * heads.row, heads.row, part.size, part.padded, width,
           result.data() + head * each + part.first * width);
    }
  });
  return result;
}

/// Rows in blocks of `block`, for panel_product: (rows, width) each.
template <typename T>
AlignedVector<T> packed_rows(const Heads<T>& heads, std::int64_t head_count, std::int64_t rows, std::int64_t width,
                             std::int64_t block) {
  const auto pack = panel_loops<T>().pack_rows;
  return packed(heads, head_count, rows, width, block,
                [pack, panel = panel_columns<T>()](const T* from, std::int64_t from_row, std::int64_t n,
                                                   std::int64_t padded, std::int64_t columns, T* to) {
                  for (std::int64_t j = 0; j < columns; j += panel) {
                    const std::int64_t own = std::min(panel, columns - j);
                    pack(from + j, from_row, n, padded, own, to + j * padded, own);
                  }
                });
}

/// Rows transposed, in blocks of `block`, for panel_product: (width, rows) each.
template <typename T>
AlignedVector<T> packed_transposed(const Heads<T>& heads, std::int64_t head_count, std::int64_t rows,
                                   std::int64_t width, std::int64_t block) {
  return packed(heads, head_count, rows, width, std::min(block, panel_columns<T>()), panel_loops<T>().pack_transposed);
}

template <typename T>
void forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale, at::Tensor& out,
             at::Tensor& lse) {
  const std::int64_t heads = q.size(0) * q.size(2), queries = q.size(1), keys = k.size(1), width = q.size(3);
  const auto& loops = attention_loops<T>();
  const Heads<T> q_heads(q), k_heads(k), v_heads(v);
  const auto k_packed = packed_transposed(k_heads, heads, keys, width, kForwardKeys);
  const auto v_packed = packed_rows(v_heads, heads, keys, width, kForwardKeys);
  const std::int64_t query_blocks = blocks_of(queries, kForwardQueries), key_blocks = blocks_of(keys, kForwardKeys);
  const std::int64_t packed_head = round_up(keys, kRowMultiple) * width;
  auto* logs = lse.mutable_data_ptr<float>();
  at::parallel_for(0, heads * query_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    AlignedVector<float> scores(kForwardQueries * kForwardKeys),
        sums(static_cast<std::size_t>(kForwardQueries * width)), m(kForwardQueries), l(kForwardQueries);
    AlignedVector<T> weights(kForwardQueries * kForwardKeys);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / query_blocks;
      const Block rows(i % query_blocks, queries, kForwardQueries);
      for (std::int64_t j = 0; j < key_blocks; ++j) {
        const Block columns(j, keys, kForwardKeys);
        const std::int64_t operand = head * packed_head + columns.first * width;
        panel_product(rows.size, columns.padded, width, q_heads[head] + rows.first * q_heads.row, q_heads.row,
                      k_packed.data() + operand, scores.data(), columns.padded, /*add=*/false);
        loops.weigh(scores.data(), rows.size, columns.padded, columns.size, static_cast<float>(scale), j > 0, m.data(),
                    l.data(), sums.data(), width, weights.data());
        panel_product(rows.size, width, columns.padded, weights.data(), columns.padded, v_packed.data() + operand,
                      sums.data(), width, /*add=*/j > 0);
      }
      loops.finish(sums.data(), m.data(), l.data(), rows.size, width,
                   head_of<T>(out, head) + rows.first * out.stride(1), out.stride(1),
                   logs + head * queries + rows.first);
    }
    release_products(q.scalar_type());
  });
}

/// What one thread needs for the backward.
template <typename T>
struct Scratch {
  // For dQ, columns of the scores' gradients are a right operand where they are: rows a multiple of a kilobyte apart
  // would meet in few sets of the first-level cache.
  static constexpr std::int64_t kRow = kBackwardQueries + kRowMultiple;
  explicit Scratch(std::int64_t width)
      : scores(kBackwardKeys * kRow),
        d_weights(kBackwardKeys * kRow),
        weights(kBackwardKeys * kRow),
        d_scores(kBackwardKeys * kRow),
        pairs(kBackwardKeys * kRow),
        dk(static_cast<std::size_t>(kBackwardKeys * width)),
        dv(static_cast<std::size_t>(kBackwardKeys * width)),
        k_transposed(static_cast<std::size_t>(kBackwardKeys * width)) {}
  AlignedVector<float> scores, d_weights;
  AlignedVector<T> weights, d_scores, pairs;
  AlignedVector<float> dk, dv;
  AlignedVector<T> k_transposed;
};

template <typename T>
void backward(const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
              const at::Tensor& out, const at::Tensor& lse, double scale, at::Tensor& dq, at::Tensor& dk,
              at::Tensor& dv) {
  const std::int64_t heads = q.size(0) * q.size(2), queries = q.size(1), keys = k.size(1), width = q.size(3);
  const auto& loops = attention_loops<T>();
  const Heads<T> q_heads(q), k_heads(k), v_heads(v), out_heads(out), d_out_heads(d_out);
  const std::int64_t padded = round_up(queries, kRowMultiple), packed_head = padded * width;
  const auto q_rows = packed_rows(q_heads, heads, queries, width, kBackwardQueries);
  const auto q_transposed = packed_transposed(q_heads, heads, queries, width, kBackwardQueries);
  const auto d_rows = packed_rows(d_out_heads, heads, queries, width, kBackwardQueries);
  const auto d_transposed = packed_transposed(d_out_heads, heads, queries, width, kBackwardQueries);
  // Queries that are none have weights next to 0, and meet rows of zeros.
  AlignedVector<float> logs(static_cast<std::size_t>(heads * padded), std::numeric_limits<float>::infinity());
  AlignedVector<float> delta(static_cast<std::size_t>(heads * padded), 0.0F);
  at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) {
      std::copy_n(lse.const_data_ptr<float>() + head * queries, queries, logs.data() + head * padded);
      loops.row_products(out_heads[head], out_heads.row, d_out_heads[head], d_out_heads.row, queries, width,
                         delta.data() + head * padded);
    }
  });

  // A head's key blocks add to the same dQ, so they are one task, unless there are fewer heads than threads: then a few
  // tasks a head, each with a sum of its own.
  const std::int64_t key_blocks = blocks_of(keys, kBackwardKeys), query_blocks = blocks_of(queries, kBackwardQueries);
  const std::int64_t parts = std::clamp<std::int64_t>(blocks_of(at::get_num_threads(), heads), 1, key_blocks);
  // Transposed, in blocks, and those in panels, so that what a product adds to lies together.
  const std::int64_t sum_columns = on_tiles() && sizeof(T) == 2 ? 2 * kTileSide : panel_columns<T>();
  AlignedVector<float> dq_sums(static_cast<std::size_t>(heads * parts * packed_head), 0.0F);
  at::parallel_for(0, heads * parts, 1, [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> s(width);
    // In float the results take the place of what they are made from.
    const bool in_place = q.scalar_type() == at::kFloat;
    T* weights = in_place ? reinterpret_cast<T*>(s.scores.data()) : s.weights.data();
    T* d_scores = in_place ? reinterpret_cast<T*>(s.d_weights.data()) : s.d_scores.data();
    const T* d_scores_right = in_place ? d_scores : s.pairs.data();
    constexpr std::int64_t row = Scratch<T>::kRow;
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t head = task / parts, part = task % parts;
      float* sums = dq_sums.data() + task * packed_head;
      for (std::int64_t j = part * key_blocks / parts; j < (part + 1) * key_blocks / parts; ++j) {
        const Block rows(j, keys, kBackwardKeys);
        const std::int64_t even = round_up(rows.size, 2);  // a last row of zeros
        const T* k_rows = k_heads[head] + rows.first * k_heads.row;
        const T* v_rows = v_heads[head] + rows.first * v_heads.row;
        panel_loops<T>().transpose(k_rows, k_heads.row, rows.size, even, width, s.k_transposed.data());
        for (std::int64_t i = 0; i < query_blocks; ++i) {
          const Block columns(i, queries, kBackwardQueries);
          const std::int64_t operand = head * packed_head + columns.first * width;
          panel_product(rows.size, columns.padded, width, k_rows, k_heads.row, q_transposed.data() + operand,
                        s.scores.data(), row, /*add=*/false);
          panel_product(rows.size, columns.padded, width, v_rows, v_heads.row, d_transposed.data() + operand,
                        s.d_weights.data(), row, /*add=*/false);
          loops.derive(s.scores.data(), s.d_weights.data(), rows.size, columns.padded, row, static_cast<float>(scale),
                       logs.data() + head * padded + columns.first, delta.data() + head * padded + columns.first,
                       weights, d_scores, s.pairs.data());
          panel_product(rows.size, width, columns.padded, weights, row, d_rows.data() + operand, s.dv.data(), width,
                        /*add=*/i > 0);
          panel_product(rows.size, width, columns.padded, d_scores, row, q_rows.data() + operand, s.dk.data(), width,
                        /*add=*/i > 0);
          for (std::int64_t c = 0; c < columns.padded; c += sum_columns) {
            const std::int64_t count = std::min(sum_columns, columns.padded - c);
            product(width, count, in_place ? rows.size : even, s.k_transposed.data(), even,
                    d_scores_right + c * (in_place ? 1 : 2), row, sums + (columns.first + c) * width, count,
                    /*add=*/true);
          }
        }
        loops.scaled(s.dk.data(), width, 1, rows.size, width, static_cast<float>(scale),
                     head_of<T>(dk, head) + rows.first * dk.stride(1), dk.stride(1));
        loops.scaled(s.dv.data(), width, 1, rows.size, width, 1.0F, head_of<T>(dv, head) + rows.first * dv.stride(1),
                     dv.stride(1));
      }
    }
    release_products(q.scalar_type());
  });
  at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) {
      float* sums = dq_sums.data() + head * parts * packed_head;
      for (std::int64_t part = 1; part < parts; ++part)
        for (std::int64_t i = 0; i < packed_head; ++i) sums[i] += sums[part * packed_head + i];
      for (std::int64_t i = 0; i < query_blocks; ++i) {
        const Block rows(i, queries, kBackwardQueries);
        for (std::int64_t c = 0; c < rows.padded; c += sum_columns) {
          const std::int64_t first = rows.first + c, count = std::min(sum_columns, rows.padded - c);
          loops.scaled(sums + first * width, 1, count, std::min(count, queries - first), width,
                       static_cast<float>(scale), head_of<T>(dq, head) + first * dq.stride(1), dq.stride(1));
        }
      }
    }
  });
}

/// Rows that follow one another, each of numbers that do; not one row seen many times, which products cannot take.
at::Tensor side_by_side(const at::Tensor& tensor) {
  const bool rows = tensor.size(1) == 1 || tensor.stride(1) >= tensor.size(3);
  return tensor.stride(3) == 1 && rows ? tensor : tensor.contiguous();
}

/// Whether these are multiplied as float.
bool widened(const at::Tensor& q) {
  return q.scalar_type() == at::kBFloat16 && widens_bfloat16();
}

}  // namespace

bool has_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto type = q.scalar_type();
  const bool fit = k.sizes() == v.sizes() && k.size(0) == q.size(0) && k.size(2) == q.size(2) && k.size(3) == q.size(3);
  return q.is_cpu() && k.is_cpu() && v.is_cpu() && k.scalar_type() == type && v.scalar_type() == type && fit &&
         q.size(3) % 2 == 0 && q.numel() > 0 && k.numel() > 0 && has_matrix_products(widened(q) ? at::kFloat : type);
}

std::tuple<at::Tensor, at::Tensor> attention_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                     double scale) {
  if (widened(q)) {
    auto [out, lse] = attention_forward(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), scale);
    return {out.to(q.scalar_type()), std::move(lse)};
  }
  RECORD_FUNCTION("clipself::attention", std::vector<c10::IValue>());
  auto out = at::empty(q.sizes(), q.options());
  auto lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(at::kFloat));
  const auto run = [&]<typename T>(T /*type*/) {
    forward<T>(side_by_side(q), side_by_side(k), side_by_side(v), scale, out, lse);
  };
  if (has_tile_attention(q.scalar_type(), q.size(3), scale))
    tile_attention_forward(side_by_side(q), side_by_side(k), side_by_side(v), scale, out, lse);
  else
    q.scalar_type() == at::kFloat ? run(0.0F) : run(at::BFloat16());
  return {std::move(out), std::move(lse)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& d_out, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor& out, const at::Tensor& lse,
                                                                  double scale) {
  if (widened(q)) {
    const auto [dq, dk, dv] = attention_backward(d_out.to(at::kFloat), q.to(at::kFloat), k.to(at::kFloat),
                                                 v.to(at::kFloat), out.to(at::kFloat), lse, scale);
    return {dq.to(q.scalar_type()), dk.to(q.scalar_type()), dv.to(q.scalar_type())};
  }
  RECORD_FUNCTION("clipself::attention_backward", std::vector<c10::IValue>());
  auto dq = at::empty(q.sizes(), q.options()), dk = at::empty(k.sizes(), k.options()),
       dv = at::empty(v.sizes(), v.options());
  const auto run = [&]<typename T>(T /*type*/) {
    backward<T>(side_by_side(d_out.to(q.scalar_type())), side_by_side(q), side_by_side(k), side_by_side(v), out, lse,
                scale, dq, dk, dv);
  };
  if (has_tile_attention(q.scalar_type(), q.size(3), scale))
    tile_attention_backward(side_by_side(d_out.to(q.scalar_type())), side_by_side(q), side_by_side(k), side_by_side(v),
                            out, lse, scale, dq, dk, dv);
  else
    q.scalar_type() == at::kFloat ? run(0.0F) : run(at::BFloat16());
  return {std::move(dq), std::move(dk), std::move(dv)};
}

}  // namespace clipself::ops::cpu
