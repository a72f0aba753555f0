/* See mixing_calibration.h. */
#include "mixing_calibration.h"

/* The most likely tokens come first among the candidates. */
static size_t rank_of(const struct candidates *candidates, size_t i)
{
    return i < candidates->tops ? i : LLMZIP_TOP_TOKENS;
}

void calibration_features(const struct calibration *calibration, const struct kernels *kernels,
                          const struct candidates *candidates, float (*features)[CANDIDATES_ROOM])
{
    float of_ranks[CANDIDATES_ROOM] = {0};
    for (size_t r = 0; r < RANKS; r++)
        of_ranks[r] = ratio_of(calibration->ranks[r]);
    kernels->log2(of_ranks, RANKS);
    for (size_t i = 0; i < candidates->count; i++) {
        features[0][i] = 1.0f;
        features[1][i] = candidates->bits[i] * LOG_SCALE;
        features[2][i] = of_ranks[rank_of(candidates, i)];
    }
}

void calibration_learn(struct calibration *calibration, const struct candidates *candidates,
                       const struct observation *observations, size_t rows_count)
{
    for (size_t r = 0; r < rows_count; r++)
        for (size_t i = 0; i < candidates[r].count; i++)
            count(&calibration->ranks[rank_of(&candidates[r], i)], observations[r].index == (int)i,
                  expectation(&candidates[r], i));
}
