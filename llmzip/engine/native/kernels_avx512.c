/* The kernels for AVX-512 with VNNI. */
#if defined(__x86_64__)
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(                                                        \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,popcnt"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,popcnt,prefer-vector-width=512")
#endif

#include "simd_avx512.h"

#define KERNELS_TABLE kernels_avx512
#define KERNELS_NAME "avx512vnni"
#include "kernels_all.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
