#include "clipself/ops/cpu/level.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <string>
#include <torch/version.h>

#include "clipself/base/error.h"
#include "clipself/ops/cpu/matrix.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace clipself::ops::cpu {
namespace {

constexpr std::array<const char*, 4> kLevelNames{"generic", "avx2", "avx512", "amx"};

#if defined(__x86_64__)
// Linux lends the tile registers to who asks.
bool tiles_granted() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestComponent = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestComponent, kTileData) == 0;
#else
  return false;
#endif
}

Level look() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Level::kGeneric;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!wide) return Level::kAvx2;
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  constexpr unsigned kTiles = 1U << 24U, kTileBfloat16 = 1U << 22U;
  const bool tiles = (d & kTiles) != 0 && (d & kTileBfloat16) != 0 && __builtin_cpu_supports("avx512bf16");
  return tiles && tiles_granted() ? Level::kAmx : Level::kAvx512;
}
#else
Level look() {
  return Level::kGeneric;
}
#endif

// Whether the products come out right: a library without them refuses or, worse, does not.
bool try_products(at::ScalarType type) {
  constexpr std::int64_t kSide = 16;
  try {
    const auto a = at::eye(kSide, at::TensorOptions(type)) * 2;
    const auto b = at::arange(kSide * kSide, at::kFloat).view({kSide, kSide}).remainder(97);
    auto c = at::zeros({kSide, kSide});
    if (type == at::kFloat) {
      product(kSide, kSide, kSide, a.const_data_ptr<float>(), kSide, b.const_data_ptr<float>(), kSide,
              c.mutable_data_ptr<float>(), kSide, /*add=*/false);
    } else {
      const auto pairs = b.to(type).view({kSide / 2, 2, kSide}).transpose(1, 2).contiguous();
      product(kSide, kSide, kSide, a.const_data_ptr<at::BFloat16>(), kSide, pairs.const_data_ptr<at::BFloat16>(), kSide,
              c.mutable_data_ptr<float>(), kSide, /*add=*/false);
    }
    release_products(type);
    return at::equal(c, b * 2);
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

const char* name(Level level) {
  return kLevelNames.at(static_cast<std::size_t>(level));
}

Level detected_level() {
  static const Level found = look();
  return found;
}

Level level() {
  static const Level chosen = [] {
    const char* asked = std::getenv("CLIPSELF_CPU");
    if (asked == nullptr || *asked == '\0') return detected_level();
    const auto* found = std::ranges::find(kLevelNames, std::string(asked));
    if (found == kLevelNames.end())
      throw Error({.doing = "CLIPSELF_CPU",
                   .where = asked,
                   .found = "no kind of processor",
                   .expected = "generic, avx2, avx512 or amx"});
    return std::min(detected_level(), static_cast<Level>(found - kLevelNames.begin()));
  }();
  return chosen;
}

bool multiplies_bfloat16() {
#if defined(__x86_64__)
  static const bool found = level() >= Level::kAvx512 && __builtin_cpu_supports("avx512bf16");
  return found;
#else
  return false;
#endif
}

bool widens_bfloat16() {
#if defined(__x86_64__)
  return !multiplies_bfloat16();
#else
  return false;
#endif
}

std::string instructions() {
  return c10::str(name(level()), ", ATen's of ", at::get_cpu_capability(), ", LibTorch " TORCH_VERSION);
}

void cap_libraries() {
  const char* asked = std::getenv("CLIPSELF_CPU");
  if (asked == nullptr || *asked == '\0') return;
  constexpr std::array<const char*, 4> kAten{"default", "avx2", "avx512", "avx512"};
  constexpr std::array<const char*, 4> kOneDnn{"SSE41", "AVX2", "AVX512_CORE_BF16", "AVX512_CORE_AMX"};
  const auto index = static_cast<std::size_t>(level());
  ::setenv("ATEN_CPU_CAPABILITY", kAten.at(index), /*replace=*/0);
  ::setenv("ONEDNN_MAX_CPU_ISA", kOneDnn.at(index), /*replace=*/0);
}

bool has_matrix_products(at::ScalarType type) {
  if (!at::globalContext().userEnabledMkldnn()) return false;
  if (type == at::kFloat) {
    static const bool works = level() >= Level::kAvx2 && try_products(at::kFloat);
    return works;
  }
  if (type == at::kBFloat16) {
    static const bool works = multiplies_bfloat16() && try_products(at::kBFloat16);
    return works;
  }
  return false;
}

}  // namespace clipself::ops::cpu
