/* The kernels for any processor. */
#include "kernels.h"

#include <string.h>

#include "simd_portable.h"

#define KERNELS_TABLE kernels_portable
#define KERNELS_NAME "portable"
#include "kernels_all.h"
