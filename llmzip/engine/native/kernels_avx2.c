/* The kernels for AVX2. */
#if defined(__x86_64__)
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,popcnt")
#endif

#include "simd_avx2.h"

#define KERNELS_TABLE kernels_avx2
#define KERNELS_NAME "avx2"
#include "kernels_all.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
