/* The kernels for NEON with the dot product, and ARMv8.6's matrix products of bytes for linear
 * layers. */
#include "kernels.h"

#if defined(HAS_I8MM_KERNELS)
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif

#include "simd_neon.h"

#define HAS_PAIRS
#define KERNELS_TABLE kernels_i8mm
#define KERNELS_NAME "i8mm"
#include "kernels_all.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
