// Which of a processor's instructions our own kernels use.
//
// Found out when the program runs. The environment variable CLIPSELF_CPU=generic|avx2|avx512|amx caps it, for our
// kernels and for the libraries beneath them (ATen, oneDNN), so that a machine can try what an older one does.
#pragma once

#include <string>

#include "clipself/base/torch.h"

namespace clipself::ops::cpu {

/// Each has all of those before it. kAvx512: f, bw, dq, vl.
enum class Level { kGeneric, kAvx2, kAvx512, kAmx };

const char* name(Level level);

/// What this processor and system have.
Level detected_level();
/// That, capped by CLIPSELF_CPU. Throws Error for a value that is none of the names.
Level level();

/// Whether, at level(), there are AVX-512's instructions for bfloat16.
bool multiplies_bfloat16();
/// Whether bfloat16 operands are widened to float before they are multiplied: on x86 without those instructions.
bool widens_bfloat16();

/// What our kernels and ATen's use here, as text. Processes that are equal in it round alike.
std::string instructions();

/// Hands the cap on to ATen and oneDNN, which read their own variables once, before their first work; variables that
/// are set already stay. Called first thing in a program.
void cap_libraries();

/// Whether small matrix products of this type are worth building kernels of (matrix.h): float from AVX2 on, bfloat16
/// where the processor multiplies it. False where oneDNN, which makes them, is missing or turned off.
bool has_matrix_products(at::ScalarType type);

}  // namespace clipself::ops::cpu
