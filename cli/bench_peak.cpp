#include "cli/bench_peak.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/ops/cpu/aligned.h"
#include "clipself/ops/cpu/level.h"
#include "clipself/ops/cpu/matrix.h"

namespace clipself::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Size {
  std::int64_t m, n, k;
};

/// Operations a second of one thread in a twentieth of a second.
template <typename T>
double rate_of(const Size& size) {
  const auto [m, n, k] = size;
  const ops::cpu::AlignedVector<T> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(n * k));
  ops::cpu::AlignedVector<float> c(static_cast<std::size_t>(m * n));
  const auto start = Clock::now();
  double seconds = 0, operations = 0;
  while (seconds < 0.05) {
    constexpr int kTimes = 100;
    for (int i = 0; i < kTimes; ++i)
      ops::cpu::panel_product(m, n, k, a.data(), k, b.data(), c.data(), n, /*add=*/false);
    operations += kTimes * 2.0 * static_cast<double>(m * n * k);
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  ops::cpu::release_products(c10::CppTypeToScalarType<T>::value);
  return operations / seconds;
}

template <typename T>
double rate_of_all(const Size& size) {
  const std::int64_t threads = at::get_num_threads();
  std::vector<double> rates(static_cast<std::size_t>(threads));
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; ++begin) rates[static_cast<std::size_t>(begin)] = rate_of<T>(size);
  });
  double all = 0;
  for (const double rate : rates) all += rate;
  return all;
}

}  // namespace

void bench_peak(const std::string& precision, int steps, nlohmann::ordered_json& out) {
  const auto type = parse_precision(precision);
  if (!ops::cpu::has_matrix_products(type)) {
    throw Error({.doing = "bench peak",
                 .where = precision,
                 .found = "no small products of it on this processor",
                 .expected = "fp32 with AVX2 or later; bf16 with AVX-512's bfloat16 or AMX"});
  }
  std::vector<double> rates;
  for (int i = 0; i < steps; ++i) {
    double best = 0;
    for (const Size size : {Size{32, 32, 256}, Size{64, 64, 128}})
      best = std::max(best, type == at::kFloat ? rate_of_all<float>(size) : rate_of_all<at::BFloat16>(size));
    rates.push_back(best / 1e12);
  }
  std::sort(rates.begin(), rates.end());
  out["tflop_per_second"] = rates[rates.size() / 2];
  out["tflop_per_second_fastest"] = rates.back();
}

}  // namespace clipself::cli
