// attention.h's attention for bfloat16 heads of width 64 on AMX's tiles.
//
// A strip of 32 queries (forward) or keys (backward) meets one block after the other: scores, their weights in their
// place, and what those add up, all within the first-level cache. Three things are made for that.
//
// Weights are made as bfloat16 at once: a power of two, rounded to a 128th, is a bfloat16 but for the mantissa's bend,
// which is looked up (tile_attention_kernels.cpp), in fewer instructions than a polynomial and the rounding after it.
//
// The forward takes a query's largest score from its first block of keys alone, as what its weights are relative to:
// float and bfloat16 reach far enough. Where the sum shows weights beyond 2^40, that strip is done again, relative to
// the maximum over all keys.
//
// What comes from the second-level cache is read by loads that take no place in the first, lies in whole tiles, and no
// read is a multiple of four kilobytes from a write under way.
//
// Bound by the second-level cache: a backward strip's operands and sums come from there.
#pragma once

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Whether the two below take heads of this type and width here, and scores times this.
bool has_tile_attention(at::ScalarType type, std::int64_t width, double scale);

/// As attention_forward's, into `out` and `lse`. Rows of each tensor follow one another or are a fixed step apart.
void tile_attention_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                            at::Tensor& out, at::Tensor& lse);

/// As attention_backward's, into dq, dk and dv.
void tile_attention_backward(const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const at::Tensor& out, const at::Tensor& lse, double scale, at::Tensor& dq, at::Tensor& dk,
                             at::Tensor& dv);

}  // namespace clipself::ops::cpu
