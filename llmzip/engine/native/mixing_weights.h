/* Sets of the mixer's weights, and how they learn (docs/arithmetic.md, section 6.6). */
#ifndef LLMZIP_MIXING_WEIGHTS_H
#define LLMZIP_MIXING_WEIGHTS_H

#include "mixing_constants.h"

/* Of each two features: the lower triangle, by rows. */
#define CURVATURE_COUNT (FEATURE_COUNT * (FEATURE_COUNT + 1) / 2)

/* For the mixer contexts of an expert, or for classes of tokens. */
struct weight_sets {
    int64_t weights[MAX_CONTEXT_COUNT][FEATURE_COUNT];
    int64_t seen[MAX_CONTEXT_COUNT];                       /* until version 2 */
    double curvatures[MAX_CONTEXT_COUNT][CURVATURE_COUNT]; /* from version 3 on */
};

/* What a step says about them. */
struct step_sums {
    int64_t counts[MAX_CONTEXT_COUNT]; /* of rows, or candidates */
    int64_t slopes[MAX_CONTEXT_COUNT][FEATURE_COUNT];
    int64_t curvatures[MAX_CONTEXT_COUNT][CURVATURE_COUNT];
};

/* Until version 2. */
void weights_descend(struct weight_sets *sets, const struct step_sums *sums);
/* From version 3 on. */
void weights_newton(struct weight_sets *sets, const struct step_sums *sums);

#endif
