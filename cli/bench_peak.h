// clipself bench peak: what the processor's cores could do at most.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace clipself::cli {

/// Adds to `out` the rate of the kernels' small products (ops/cpu/matrix.h) of operands in cache, on all threads at
/// once: "tflop_per_second" of the median run and "tflop_per_second_fastest". Throws Error where there are none of this
/// precision, "fp32" or "bf16".
void bench_peak(const std::string& precision, int steps, nlohmann::ordered_json& out);

}  // namespace clipself::cli
