/* Sets of the mixer's weights, and how they learn (docs/arithmetic.md, section 6.6). */
#ifndef LLMZIP_MIXING_WEIGHTS_H
#define LLMZIP_MIXING_WEIGHTS_H

#include "kernels.h"

/* For the mixer contexts of an expert, or for classes of tokens. */
struct weight_sets {
    int64_t weights[MAX_CONTEXT_COUNT][FEATURE_COUNT];
    int64_t seen[MAX_CONTEXT_COUNT];                       /* until version 2 */
    double curvatures[MAX_CONTEXT_COUNT][CURVATURE_COUNT]; /* from version 3 on */
};

/* Sums over the candidates of a set: of the slopes, and of the products of each two features. These
 * lie in rows: the first of four numbers, the fifth and more of eight, the ninth and more of
 * twelve; those behind the diagonal are nobody's. */
#define EVIDENCE_SUMS (EVIDENCE_COLUMNS + 4 * 4 + 4 * 8 + 3 * 12)

static inline size_t product_index(size_t k, size_t l)
{
    static const uint8_t rows[FEATURE_COUNT] = {0, 4, 8, 12, 16, 24, 32, 40, 48, 60, 72};
    return EVIDENCE_COLUMNS + rows[k] + l;
}

/* What a step says about sets. */
struct step_sums {
    int64_t counts[MAX_CONTEXT_COUNT]; /* of rows, or candidates; where 0, the sums are not set */
    int64_t sums[MAX_CONTEXT_COUNT][EVIDENCE_SUMS];
};

/* The sums of a set, to which `count` more rows or candidates will be added. */
int64_t *step_sums_of(struct step_sums *sums, int set, int64_t count);
/* Adds others. */
void step_sums_add(struct step_sums *sums, const struct step_sums *others);

/* Until version 2. */
void weights_descend(struct weight_sets *sets, const struct step_sums *sums);
/* From version 3 on: of `count` kinds of sets. */
void weights_newton(const struct kernels *kernels, struct weight_sets *const *sets,
                    const struct step_sums *const *sums, size_t count);

#endif
