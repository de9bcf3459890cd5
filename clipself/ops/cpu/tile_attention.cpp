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

using interleaved::kBackwardStrips, interleaved::kStrip, interleaved::kWide, interleaved::kWidth;

using Packed = AlignedVector<at::BFloat16>;

/// All heads' rows, as right operands a head's width deep: panels of 16 rows, an even number of them.
Packed turned_panels(const Heads<at::BFloat16>& heads, std::int64_t head_count, std::int64_t rows) {
  const std::int64_t panels = blocks_of(rows, kTileDepth) * 2;
  Packed result(static_cast<std::size_t>(head_count * panels * kWide));
  at::parallel_for(0, head_count * panels, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i % panels * kTileSide;
      panel_loops<at::BFloat16>().pack_transposed(heads[i / panels] + first * heads.row, heads.row,
                                                  std::clamp<std::int64_t>(rows - first, 0, kTileSide), kTileSide,
                                                  kWidth, result.data() + i * kWide);
    }
  });
  return result;
}

/// The same as right operands of a head's width of columns: 32 rows after 32, four tiles each.
Packed row_tiles(const Heads<at::BFloat16>& heads, std::int64_t head_count, std::int64_t rows) {
  const std::int64_t steps = blocks_of(rows, kTileDepth);
  Packed result(static_cast<std::size_t>(head_count * steps * kTileDepth * kWidth));
  at::parallel_for(0, head_count * steps, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i % steps * kTileDepth;
      for (std::int64_t c = 0; c < kWidth; c += kTileSide)
        panel_loops<at::BFloat16>().pack_rows(heads[i / steps] + first * heads.row + c, heads.row,
                                              std::min(kTileDepth, rows - first), kTileDepth, kTileSide,
                                              result.data() + (i * kWidth + c) * kTileDepth, kTileSide);
    }
  });
  return result;
}

/// Up to `rows` rows side by side, with zeros behind.
void copy_rows(const at::BFloat16* from, std::int64_t row, std::int64_t count, std::int64_t rows, at::BFloat16* to) {
  for (std::int64_t r = 0; r < count; ++r) std::copy_n(from + r * row, kWidth, to + r * kWidth);
  std::fill(to + count * kWidth, to + rows * kWidth, at::BFloat16(0.0F));
}

constexpr float kToPower = 1.44269504F;

}  // namespace

bool has_tile_attention(at::ScalarType type, std::int64_t width) {
  return on_tiles() && type == at::kBFloat16 && width == kWidth;
}

void tile_attention_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                            at::Tensor& out, at::Tensor& lse) {
  const std::int64_t heads = q.size(0) * q.size(2), queries = q.size(1), keys = k.size(1);
  const Heads<at::BFloat16> q_heads(q), k_heads(k), v_heads(v);
  const auto k_packed = turned_panels(k_heads, heads, keys), v_packed = row_tiles(v_heads, heads, keys);
  const std::int64_t strips = blocks_of(queries, kStrip), packed_head = round_up(keys, kTileDepth) * kWidth;
  const float to_power = static_cast<float>(scale) * kToPower;
  at::parallel_for(0, heads * strips, 1, [&](std::int64_t begin, std::int64_t end) {
    AlignedVector<interleaved::ForwardScratch> scratch(1);
    AlignedVector<float> sums(kStrip * kWidth), m(kStrip), l(kStrip);
    Packed last(kStrip * kWidth);
    set_up_tiles();
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / strips, first = i % strips * kStrip, count = std::min(kStrip, queries - first);
      const at::BFloat16* rows = q_heads[head] + first * q_heads.row;
      if (count < kStrip) copy_rows(rows, q_heads.row, count, kStrip, last.data());
      interleaved::forward_strip(count < kStrip ? last.data() : rows, count < kStrip ? kWidth : q_heads.row,
                                 k_packed.data() + head * packed_head, v_packed.data() + head * packed_head, keys,
                                 to_power, scratch.front(), sums.data(), m.data(), l.data());
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
  const auto q_turned = turned_panels(q_heads, heads, queries), d_turned = turned_panels(d_out_heads, heads, queries);
  const auto q_rows = row_tiles(q_heads, heads, queries), d_rows = row_tiles(d_out_heads, heads, queries);
  const auto& loops = attention_loops<at::BFloat16>();
  // Queries that are none have weights next to 0, and meet rows of zeros.
  AlignedVector<float> logs(static_cast<std::size_t>(heads * padded), std::numeric_limits<float>::infinity());
  AlignedVector<float> delta(static_cast<std::size_t>(heads * padded), 0.0F);
  at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) {
      std::copy_n(lse.const_data_ptr<float>() + head * queries, queries, logs.data() + head * padded);
      loops.row_products(out_heads[head], out_heads.row, d_out_heads[head], d_out_heads.row, queries, kWidth,
                         delta.data() + head * padded);
    }
  });
  // A head's key blocks add to the same dQ, so they are one task, unless there are fewer heads than threads: then a few
  // tasks a head, each with a sum of its own.
  constexpr std::int64_t kKeys = kBackwardStrips * kStrip;
  const std::int64_t blocks = blocks_of(keys, kKeys);
  const std::int64_t parts = std::clamp<std::int64_t>(blocks_of(at::get_num_threads(), heads), 1, blocks);
  AlignedVector<float> dq_sums(static_cast<std::size_t>(heads * parts * packed_head), 0.0F);
  const auto factor = static_cast<float>(scale);
  at::parallel_for(0, heads * parts, 1, [&](std::int64_t begin, std::int64_t end) {
    AlignedVector<interleaved::BackwardScratch> scratch(1);
    auto& s = scratch.front();
    set_up_tiles();
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t head = task / parts, part = task % parts, operand = head * packed_head;
      const interleaved::Queries all{.panels = padded / kTileSide,
                                     .turned = q_turned.data() + operand,
                                     .d_out_turned = d_turned.data() + operand,
                                     .rows = q_rows.data() + operand,
                                     .d_out_rows = d_rows.data() + operand,
                                     .lse = logs.data() + head * padded,
                                     .delta = delta.data() + head * padded,
                                     .dq = dq_sums.data() + task * packed_head};
      for (std::int64_t j = part * blocks / parts; j < (part + 1) * blocks / parts; ++j) {
        const std::int64_t first = j * kKeys, count = std::min(kKeys, keys - first), rows = round_up(count, kStrip);
        copy_rows(k_heads[head] + first * k_heads.row, k_heads.row, count, rows, s.keys);
        copy_rows(v_heads[head] + first * v_heads.row, v_heads.row, count, rows, s.values);
        for (std::int64_t r = 0; r < rows; r += kStrip)
          for (std::int64_t c = 0; c < kWidth; c += kTileSide)
            panel_loops<at::BFloat16>().transpose(s.keys + r * kWidth + c, kWidth, kStrip, kStrip, kTileSide,
                                                  s.keys_turned + c * rows + r * kTileSide);
        interleaved::backward_block(all, count, factor * kToPower, s);
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
        loops.scaled(sums + first * kWidth, 1, kTileDepth, std::min(kTileDepth, queries - first), kWidth, factor,
                     head_of<at::BFloat16>(dq, head) + first * dq.stride(1), dq.stride(1));
    }
  });
}

#else

bool has_tile_attention(at::ScalarType, std::int64_t) {
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
