// attention.h's attention for bfloat16 heads of width 64 on AMX's tiles.
//
// A product of tiles and a register of exponentials take about equally long and are different units' work, so they are
// interleaved: while a strip of 32 queries (forward) or keys (backward) meets one block, the weights of the block
// before are made in small pieces between the products, which the processor then works on at the same time. Everything
// between them stays in the first-level cache, in whole tiles.
//
// For that the forward takes a query's largest score from its first block of keys alone, as what its weights are
// relative to: float and bfloat16 reach far enough. Where a later sum shows weights beyond 2^40, that row is done
// again, relative to the new maximum.
//
// Bound by the tiles: the reads of operands beside the products.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Whether the two below take heads of this type and width here.
bool has_tile_attention(at::ScalarType type, std::int64_t width);

/// As attention_forward's, into `out` and `lse`. Rows of each tensor follow one another or are a fixed step apart.
void tile_attention_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                            at::Tensor& out, at::Tensor& lse);

/// As attention_backward's, into dq, dk and dv.
void tile_attention_backward(const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const at::Tensor& out, const at::Tensor& lse, double scale, at::Tensor& dq, at::Tensor& dk,
                             at::Tensor& dv);

}  // namespace clipself::ops::cpu
