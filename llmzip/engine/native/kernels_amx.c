/* The kernels for AVX-512 with VNNI, and AMX for the products. */
#include "kernels.h"

#if defined(HAS_AMX_KERNELS)
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

#define HAS_TILES
#include "simd_amx.h"

#define KERNELS_TABLE kernels_amx
#define KERNELS_NAME "amx"
#include "kernels_all.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
