// Loops compiled twice, for the base instruction set and for AVX2, whose byte shuffles alone are several times faster; the
// better one is chosen when the program starts. (A sanitizer is not ready by then.)
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLIPSELF_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define CLIPSELF_CLONES
#endif
