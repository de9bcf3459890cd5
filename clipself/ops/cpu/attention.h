// Attention that never stores the (queries x keys) matrix (Dao et al. 2022, FlashAttention; Milakov and Gimelshein
// 2018).
//
// Forward: a block of queries meets one block of keys after the other; the scores of a pair of blocks live in cache
// alone, become weights relative to the largest score so far, and are added up with the values; what was added before
// is scaled whenever the maximum grows. Kept for the backward: the output and, per query, the logarithm of the sum of
// exponentials.
//
// Backward: a block of keys meets one block of queries after the other, with scores transposed (keys x queries), so
// that weights and their gradients are at once left operands of the products for dV and dK; for dQ they are written a
// second time as right operand. Five products where the forward has two.
//
// Heads of width 64 in bfloat16 on AMX have a form of their own (tile_attention.h).
//
// Products run on matrix.h's kernels at about 95 % of the processor's peak, so what remains is the exponential: 1 a
// score for 4 * width operations forward, 1 for 10 * width backward.
#pragma once

#include <tuple>

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Whether attention_forward and -backward take these: of fitting shapes, on the CPU, of one type that
/// has_matrix_products (bfloat16 also where it widens_bfloat16 to float), and an even d.
bool has_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

/// q (B, Q, heads, d), k and v (B, N, heads, d) -> softmax(scale * q k^T) v (B, Q, heads, d), and float (B, heads, Q):
/// the logarithms of the sums of exponentials.
std::tuple<at::Tensor, at::Tensor> attention_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                     double scale);

/// The gradients of q, k and v, given that of the output and what the forward gave.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& d_out, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor& out, const at::Tensor& lse,
                                                                  double scale);

}  // namespace clipself::ops::cpu
