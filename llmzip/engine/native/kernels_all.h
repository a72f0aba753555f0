/* All kernels for the instruction set whose simd_*.h was included before, as the table
 * KERNELS_TABLE. */
#include <float.h>
#include <math.h>

#include "kernels_elementwise.h"
#include "kernels_gemm.h"
#if defined(HAS_TILES)
#include "kernels_tiles.h"
#elif defined(HAS_PAIRS)
#include "kernels_pairs.h"
#else
#define MULTIPLY multiply
#define ROWS_PER_THREAD 16
#endif
#include "kernels_wide.h"

#include "kernels_mlp.h"
/* in this order: each uses some of those above */
#include "kernels_features.h"

#include "kernels_attention.h"
#include "kernels_ceiling.h"
#include "kernels_mixing.h"
#include "kernels_signatures.h"
#include "kernels_weights.h"

const struct kernels KERNELS_TABLE = {
    .name = KERNELS_NAME,
    .rows_per_thread = ROWS_PER_THREAD,
    .multiply = MULTIPLY,
    .quantize = quantize,
    .normalize = normalize,
    .gate = gate_row,
    .scale_and_shift = scale_and_shift,
    .gain_norm = gain_norm,
    .add_normed = add_normed,
    .finish = finish,
    .activate = activate,
    .quantize_wide = quantize_wide,
    .normalize_wide = normalize_wide,
    .insert = insert,
    .attend = attend,
    .maximum = maximum_of,
    .weights = weights,
    .weight_sum = weight_sum,
    .distances = distances,
    .exp2_within = exp2_within,
    .log2 = log2_of_all,
    .at_most = at_most,
    .sum_evidence = sum_evidence,
    .solve = solve,
    .peak = peak,
    .read_through = read_through,
};
