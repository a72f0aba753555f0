/* The kernels for AVX2 with AVX-VNNI. */
#include "kernels.h"

#if defined(HAS_AVXVNNI_KERNELS)
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,avxvnni,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,avxvnni,popcnt")
#endif

#define SIMD_AVX_VNNI
#include "simd_avx2.h"

#define KERNELS_TABLE kernels_avxvnni
#define KERNELS_NAME "avxvnni"
#include "kernels_all.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
