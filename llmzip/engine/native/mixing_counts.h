/* Counts of observed and expected occurrences, in units of OCCURRENCE (docs/arithmetic.md, section
 * 6.4). */
#ifndef LLMZIP_MIXING_COUNTS_H
#define LLMZIP_MIXING_COUNTS_H

#include "mixing_math.h"
#include "mixing_step.h"

struct counts {
    int64_t observed, expected;
};

/* How much more often than expected: log2 of it is the excess. */
static inline float ratio_of(struct counts counts)
{
    return (float)(counts.observed + OCCURRENCE) / (float)(counts.expected + OCCURRENCE);
}

/* What the model expects of candidate i. */
static inline int64_t expectation(const struct candidates *candidates, size_t i)
{
    return llrintf(smaller_of(candidates->probabilities[i], 1.0f) * (float)OCCURRENCE);
}

static inline void count(struct counts *counts, int is_observed, int64_t expected)
{
    counts->observed += is_observed ? OCCURRENCE : 0;
    counts->expected += expected;
}

#endif
