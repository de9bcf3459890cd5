#include "clipself/ops/cpu/tile_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "clipself/ops/cpu/aligned.h"
#include "clipself/ops/cpu/attention_heads.h"
#include "clipself/ops/cpu/matrix.h"
#include "clipself/ops/cpu/tile_attention_kernels.h"
#include "clipself/ops/cpu/tiles.h"
#include "clipself/ops/cpu/vector_kernels.h"

namespace clipself::ops::cpu {

#ifdef CLIPSELF_HAS_TILE_ATTENTION
namespace {

using tile_kernels::kBackwardStrips, tile_kernels::kStrip, tile_kernels::kWidth, tile_kernels::PackedRows;

/// All heads' rows packed, of `columns` and `rows`, as many of each.
AlignedVector<PackedRows> packed(const Heads<at::BFloat16>& columns, const Heads<at::BFloat16>& rows,
                                 std::int64_t head_count, std::int64_t row_count, bool lower, bool between) {
  const std::int64_t pairs = blocks_of(row_count, kTileDepth);
  AlignedVector<PackedRows> result(static_cast<std::size_t>(head_count * pairs));
  at::parallel_for(0, head_count * pairs, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / pairs, first = i % pairs * kTileDepth,
                         count = std::min(kTileDepth, row_count - first);
      auto& to = result[static_cast<std::size_t>(i)];
      tile_kernels::pack_columns(columns[head] + first * columns.row, columns.row, count, lower, to);
      tile_kernels::pack_rows(rows[head] + first * rows.row, rows.row, count, between, !lower, to);
    }
  });
  return result;
}

}  // namespace

constexpr double kLeastScale = 1e-6;  // its inverse is needed

bool has_tile_attention(at::ScalarType type, std::int64_t width, double scale) {
  static const bool looks_up_bytes = __builtin_cpu_supports("avx512vbmi") != 0;
  return on_tiles() && looks_up_bytes && type == at::kBFloat16 && width == kWidth && scale >= kLeastScale;
}

void tile_attention_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                            at::Tensor& out, at::Tensor& lse) {
  const std::int64_t heads = q.size(0) * q.size(2), queries = q.size(1), keys = k.size(1);
  const Heads<at::BFloat16> q_heads(q), k_heads(k), v_heads(v);
  const auto key_rows = packed(k_heads, v_heads, heads, keys, /*lower=*/true, /*between=*/true);
  const std::int64_t strips = blocks_of(queries, kStrip), pairs = blocks_of(keys, kTileDepth);
  at::parallel_for(0, heads * strips, 1, [&](std::int64_t begin, std::int64_t end) {
    AlignedVector<tile_kernels::ForwardScratch> scratch(1);
    AlignedVector<float> sums(kStrip * kWidth), m(kStrip), l(kStrip);
    set_up_tiles();
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / strips, first = i % strips * kStrip, count = std::min(kStrip, queries - first);
      tile_kernels::forward_strip(q_heads[head] + first * q_heads.row, q_heads.row, count,
                                  key_rows.data() + head * pairs, keys, static_cast<float>(scale), scratch.front(),
                                  sums.data(), m.data(), l.data());
      attention_loops<at::BFloat16>().finish(sums.data(), m.data(), l.data(), count, kWidth,
                                             head_of<at::BFloat16>(out, head) + first * out.stride(1), out.stride(1),
                                             lse.mutable_data_ptr<float>() + head * queries + first);
    }
    release_tiles();
  });
}

void tile_attention_backward(const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const at::Tensor& out, const at::Tensor& lse, double scale, at::Tensor& dq, at::Tensor& dk,
                             at::Tensor& dv) {
  const std::int64_t heads = q.size(0) * q.size(2), queries = q.size(1), keys = k.size(1);
  const Heads<at::BFloat16> q_heads(q), k_heads(k), v_heads(v), out_heads(out), d_out_heads(d_out);
  const std::int64_t padded = round_up(queries, kTileDepth), packed_head = padded * kWidth;
  const auto q_packed = packed(q_heads, q_heads, heads, queries, /*lower=*/true, /*between=*/false);
  const auto d_packed = packed(d_out_heads, d_out_heads, heads, queries, /*lower=*/false, /*between=*/true);
  const auto& loops = attention_loops<at::BFloat16>();
  const auto factor = static_cast<float>(scale), inverse = static_cast<float>(1 / scale);
  // Queries that are none have weights of 0, and meet rows of zeros.
  AlignedVector<float> logs(static_cast<std::size_t>(heads * padded), -std::numeric_limits<float>::infinity());
  AlignedVector<float> delta(static_cast<std::size_t>(heads * padded), 0.0F);
  at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) {
      const float* const log = lse.const_data_ptr<float>() + head * queries;
      float* const products = delta.data() + head * padded;
      loops.row_products(out_heads[head], out_heads.row, d_out_heads[head], d_out_heads.row, queries, kWidth, products);
      for (std::int64_t r = 0; r < queries; ++r) {
        logs[static_cast<std::size_t>(head * padded + r)] = log[r] * -inverse;
        products[r] = -products[r];
      }
    }
  });
  // A head's key blocks add to the same dQ, so they are one task, unless there are fewer heads than threads: then a few
  // tasks a head, each with a sum of its own.
  constexpr std::int64_t kKeys = kBackwardStrips * kStrip;
  const std::int64_t blocks = blocks_of(keys, kKeys);
  const std::int64_t parts = std::clamp<std::int64_t>(blocks_of(at::get_num_threads(), heads), 1, blocks);
  AlignedVector<float> dq_sums(static_cast<std::size_t>(heads * parts * packed_head), 0.0F);
  at::parallel_for(0, heads * parts, 1, [&](std::int64_t begin, std::int64_t end) {
    AlignedVector<tile_kernels::BackwardScratch> scratch(1);
    auto& s = scratch.front();
    set_up_tiles();
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t head = task / parts, part = task % parts, operand = head * padded / kTileDepth;
      const tile_kernels::Queries all{.pairs = padded / kTileDepth,
                                      .queries = q_packed.data() + operand,
                                      .d_out = d_packed.data() + operand,
                                      .lse = logs.data() + head * padded,
                                      .delta = delta.data() + head * padded,
                                      .dq = dq_sums.data() + task * packed_head};
      for (std::int64_t j = part * blocks / parts; j < (part + 1) * blocks / parts; ++j) {
        const std::int64_t first = j * kKeys, count = std::min(kKeys, keys - first);
        tile_kernels::backward_block(all, k_heads[head] + first * k_heads.row, k_heads.row,
                                     v_heads[head] + first * v_heads.row, v_heads.row, count, factor, s);
        loops.scaled(s.dk, kWidth, 1, count, kWidth, factor, head_of<at::BFloat16>(dk, head) + first * dk.stride(1),
                     dk.stride(1));
        loops.scaled(s.dv, kWidth, 1, count, kWidth, 1.0F, head_of<at::BFloat16>(dv, head) + first * dv.stride(1),
                     dv.stride(1));
      }
    }
    release_tiles();
  });
  at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) {
      float* sums = dq_sums.data() + head * parts * packed_head;
      for (std::int64_t part = 1; part < parts; ++part)
        for (std::int64_t i = 0; i < packed_head; ++i) sums[i] += sums[part * packed_head + i];
      for (std::int64_t first = 0; first < queries; first += kTileDepth)
        tile_kernels::write_queries(sums + first * kWidth, std::min(kTileDepth, queries - first), factor,
                                    head_of<at::BFloat16>(dq, head) + first * dq.stride(1), dq.stride(1));
    }
  });
}

#else

bool has_tile_attention(at::ScalarType, std::int64_t, double) {
  return false;
}
void tile_attention_forward(const at::Tensor&, const at::Tensor&, const at::Tensor&, double, at::Tensor&, at::Tensor&) {
  TORCH_CHECK(false, "no tiles");
}
void tile_attention_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                             const at::Tensor&, const at::Tensor&, double, at::Tensor&, at::Tensor&, at::Tensor&) {
  TORCH_CHECK(false, "no tiles");
}

#endif

}  // namespace clipself::ops::cpu
