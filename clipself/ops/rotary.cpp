#include "clipself/ops/rotary.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "clipself/base/error.h"
#include "clipself/ops/cpu/vector_kernels.h"
#include "clipself/ops/once_differentiable.h"

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

at::Tensor plain_rotary(const at::Tensor& x, const RotaryTables& tables) {
  const auto pairs = at::view_as_complex(x.to(at::kFloat).unflatten(-1, {-1, 2}).contiguous());
  return at::view_as_real(pairs * tables.factors).flatten(-2).to(x.scalar_type());
}

namespace {

template <typename T>
void turn_tokens(const at::Tensor& x, const RotaryTables& tables, float direction, at::Tensor& y) {
  const std::int64_t tokens = x.size(1), heads = x.size(2), width = x.size(3);
  const auto* from = x.const_data_ptr<T>();
  auto* to = y.mutable_data_ptr<T>();
  const auto* cos = tables.cos.const_data_ptr<float>();
  const auto* sin = tables.sin.const_data_ptr<float>();
  const auto& loops = cpu::token_loops<T>();
  at::parallel_for(0, x.size(0) * tokens, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t token = i % tokens;
      const T* own = from + i / tokens * x.stride(0) + token * x.stride(1);
      T* turned = to + i * heads * width;
      if (token == 0) {
        for (std::int64_t h = 0; h < heads; ++h) std::copy_n(own + h * x.stride(2), width, turned + h * width);
      } else {
        loops.turn(own, x.stride(2), heads, width, cos + (token - 1) * width, sin + (token - 1) * width, direction,
                   turned);
      }
    }
  });
}

at::Tensor turned_on_cpu(const at::Tensor& x, const RotaryTables& tables, float direction) {
  RECORD_FUNCTION("clipself::rotary", std::vector<c10::IValue>());
  const auto rows = x.stride(3) == 1 ? x : x.contiguous();
  auto y = at::empty(x.sizes(), x.options());
  x.scalar_type() == at::kFloat ? turn_tokens<float>(rows, tables, direction, y)
                                : turn_tokens<at::BFloat16>(rows, tables, direction, y);
  return y;
}

struct CpuRotary : torch::autograd::Function<CpuRotary> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const RotaryTables& tables) {
    ctx->saved_data["cos"] = tables.cos;
    ctx->saved_data["sin"] = tables.sin;
    return turned_on_cpu(x, tables, 1.0F);
  }
  // A turn's transpose is the turn back.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& gradients) {
    refuse_gradients_of_gradients("apply_rotary");
    const RotaryTables tables{
        .cos = ctx->saved_data["cos"].toTensor(), .sin = ctx->saved_data["sin"].toTensor(), .factors = {}};
    return {turned_on_cpu(gradients[0], tables, -1.0F), at::Tensor()};
  }
};

}  // namespace

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTables& tables) {
  const bool ours = x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
                    tables.cos.is_cpu() && tables.cos.is_contiguous() && tables.sin.is_contiguous() &&
                    tables.cos.sizes() == at::IntArrayRef({x.size(1) - 1, x.size(3)});
  if (!ours) return plain_rotary(x, tables);
  return at::GradMode::is_enabled() && x.requires_grad() ? CpuRotary::apply(x, tables) : turned_on_cpu(x, tables, 1.0F);
}

}  // namespace clipself::ops
