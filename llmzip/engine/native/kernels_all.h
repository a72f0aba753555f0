/* All kernels for the instruction set whose simd_*.h was included before, as the table
 * KERNELS_TABLE. */
#include <float.h>
#include <math.h>

#include "kernels_elementwise.h"
#include "kernels_gemm.h"
/* in this order: attention and the MLP use the two above */
#include "kernels_attention.h"
#include "kernels_mlp.h"
#include "kernels_signatures.h"
#include "kernels_weights.h"
#if defined(HAS_TILES)
#include "kernels_tiles.h"
#else
#define MULTIPLY multiply
#endif

const struct kernels KERNELS_TABLE = {
    .name = KERNELS_NAME,
    .multiply = MULTIPLY,
    .quantize = quantize,
    .normalize = normalize,
    .gate = gate_row,
    .insert = insert,
    .attend = attend,
    .maximum = maximum_of,
    .weights = weights,
    .weight_sum = weight_sum,
    .distances = distances,
};
