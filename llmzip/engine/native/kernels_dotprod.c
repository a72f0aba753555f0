/* The kernels for NEON with the dot product of ARMv8.2. */
#include "kernels.h"

#if defined(HAS_DOTPROD_KERNELS)
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#include "simd_neon.h"

#define KERNELS_TABLE kernels_dotprod
#define KERNELS_NAME "dotprod"
#include "kernels_all.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
