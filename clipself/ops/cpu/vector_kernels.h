// Loops over numbers in cache or on their way through it, once for each set of instructions (vector_loops.inc), and the
// choice among them.
#pragma once

#include <cstdint>

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Rows of a block of attention scores are this much of a multiple wide, so that no loop has a rest.
constexpr std::int64_t kRowMultiple = 16;

/// For T float or bfloat16 (rounded to nearest even). Nothing may overlap but where it says so; `*_row` are distances
/// from a row to the next in numbers.
template <typename T>
struct AttentionLoops {
  /// A block of scores becomes weights: of each row, maxima m and sums l go on from those of the blocks before
  /// (`begun`), and `out` (rows, width), what was added up with them, is scaled to the new maximum.
  ///   weights[r, c] = exp(scale * scores[r, c]) / 2^m[r] for c < valid, next to 0 up to `columns`, a multiple of
  /// kRowMultiple. `scores` is changed; it may be `weights` where T is float.
  void (*weigh)(float* scores, std::int64_t rows, std::int64_t columns, std::int64_t valid, float scale, bool begun,
                float* m, float* l, float* out, std::int64_t width, T* weights);
  /// out (rows, width) = sums / l and lse = log(2^m l).
  void (*finish)(const float* sums, const float* m, const float* l, std::int64_t rows, std::int64_t width, T* out,
                 std::int64_t out_row, float* lse);
  /// A block of scores (rows: keys, columns: queries) and of d loss / d weights becomes
  ///   weights = exp(scale * scores - lse[c]), d_scores = weights * (d_weights - delta[c])
  /// both (rows, columns) of T, the latter also as a right operand of product(): pairs. `weights` may be `scores` and
  /// `d_scores` may be `d_weights` where T is float, which needs no pairs. `columns` is a multiple of kRowMultiple, and
  /// `row` what lies from a row to the next of each.
  void (*derive)(const float* scores, const float* d_weights, std::int64_t rows, std::int64_t columns, std::int64_t row,
                 float scale, const float* lse, const float* delta, T* weights, T* d_scores, T* pairs);
  /// delta[r] = sum over width of a[r] * b[r].
  void (*row_products)(const T* a, std::int64_t a_row, const T* b, std::int64_t b_row, std::int64_t n,
                       std::int64_t width, float* delta);
  /// to (n, width) = factor * from, where element (r, c) of `from` is at r * from_row + c * from_column.
  void (*scaled)(const float* from, std::int64_t from_row, std::int64_t from_column, std::int64_t n, std::int64_t width,
                 float factor, T* to, std::int64_t to_row);
};

/// Operands of product() from rows of numbers, and what its results become, for T float or bfloat16.
template <typename T>
struct PanelLoops {
  /// Right operands from n rows of `from`, with zeros beyond: the rows themselves, (padded, to_width) in pairs
  /// of which the first `width` are written, and transposed, (width, padded) in pairs. `padded` is even in the one,
  /// `width` in the other.
  void (*pack_rows)(const T* from, std::int64_t from_row, std::int64_t n, std::int64_t padded, std::int64_t width,
                    T* to, std::int64_t to_width);
  void (*pack_transposed)(const T* from, std::int64_t from_row, std::int64_t n, std::int64_t padded, std::int64_t width,
                          T* to);
  /// to (width, padded), transposed, without pairs, with zeros beyond n.
  void (*transpose)(const T* from, std::int64_t from_row, std::int64_t n, std::int64_t padded, std::int64_t width,
                    T* to);
  /// to (n, width) = from + bias (width), past the caches where AVX-512 can write whole lines.
  void (*add_bias)(const float* from, std::int64_t from_row, std::int64_t n, std::int64_t width, const float* bias,
                   T* to, std::int64_t to_row);
};

/// Work on tokens, for T float or bfloat16; sums and what is between are float.
template <typename T>
struct TokenLoops {
  /// Neighbouring numbers of each head as a complex one, times cos + i * direction * sin: `x` (heads, width), of which
  /// head h begins at h * x_step, to `y` (heads, width); cos and sin (width), equal for neighbours.
  void (*turn)(const T* x, std::int64_t x_step, std::int64_t heads, std::int64_t width, const float* cos,
               const float* sin, float direction, T* y);
  /// y = LayerNorm(silu(gate) * value) of `width` numbers, and the mean and 1 / deviation that it took. `h` (width) is
  /// scratch.
  void (*swiglu_norm)(const T* gate, const T* value, std::int64_t width, const float* weight, const float* bias,
                      float eps, float* h, T* y, float* mean, float* rstd);
  /// Its gradients; those of weight and bias are added to. `h` and `s` (width each) are scratch.
  void (*swiglu_norm_backward)(const T* dy, const T* gate, const T* value, std::int64_t width, const float* weight,
                               float mean, float rstd, float* h, float* s, T* d_gate, T* d_value, float* d_weight,
                               float* d_bias);
  /// sums (width) += each of n rows.
  void (*add_rows)(const T* from, std::int64_t from_row, std::int64_t n, std::int64_t width, float* sums);
};

/// Those of level().
template <typename T>
const AttentionLoops<T>& attention_loops();
template <typename T>
const PanelLoops<T>& panel_loops();
template <typename T>
const TokenLoops<T>& token_loops();

}  // namespace clipself::ops::cpu
