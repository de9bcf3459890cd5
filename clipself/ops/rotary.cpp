#include "clipself/ops/rotary.h"

#include "clipself/base/error.h"

namespace clipself::ops {

RotaryTables rotary_tables(std::int64_t h, std::int64_t w, int head_width, int pt_seq_len, const at::Device& device) {
  if (head_width % 4 != 0) {
    throw Error(
        {.doing = "rotary embedding", .found = c10::str("heads of width ", head_width), .expected = "a multiple of 4"});
  }
  const std::int64_t half = head_width / 2;
  const auto exponents = at::arange(0, half, 2, at::kFloat) / static_cast<double>(half);
  const auto frequencies = 1.0 / at::pow(10000.0, exponents);
  const auto angles = [&](std::int64_t side) {
    const auto positions = at::arange(side, at::kFloat) / static_cast<double>(side) * static_cast<double>(pt_seq_len);
    return at::outer(positions, frequencies);  // side, half / 2
  };
  const auto grid =
      at::cat({angles(h).unsqueeze(1).expand({h, w, half / 2}), angles(w).unsqueeze(0).expand({h, w, half / 2})}, -1)
          .reshape({h * w, half});
  const auto cos = grid.cos();
  const auto sin = grid.sin();
  const auto factors = at::cat({at::ones({1, half}, at::kComplexFloat), at::complex(cos, sin)});
  return {.cos = cos.repeat_interleave(2, -1).to(device),
          .sin = sin.repeat_interleave(2, -1).to(device),
          .factors = factors.unsqueeze(1).to(device)};
}

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTables& tables) {
  const auto pairs = at::view_as_complex(x.to(at::kFloat).unflatten(-1, {-1, 2}).contiguous());
  return at::view_as_real(pairs * tables.factors).flatten(-2).to(x.scalar_type());
}

}  // namespace clipself::ops
