/* Calibration of the model's probabilities (docs/arithmetic.md, section 6.5). */
#ifndef LLMZIP_MIXING_CALIBRATION_H
#define LLMZIP_MIXING_CALIBRATION_H

#include "kernels.h"
#include "mixing_counts.h"

struct calibration {
    struct counts ranks[RANKS];
};

/* FEATURE_ONE, FEATURE_BITS, FEATURE_RANK. */
void calibration_features(const struct calibration *calibration, const struct kernels *kernels,
                          const struct candidates *candidates, float (*features)[CANDIDATES_ROOM]);
void calibration_learn(struct calibration *calibration, const struct candidates *candidates,
                       const struct observation *observations, size_t rows_count);

#endif
