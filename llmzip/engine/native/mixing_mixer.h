/* Online log-linear mixing of the experts' features (docs/arithmetic.md, section 6.6). */
#ifndef LLMZIP_MIXING_MIXER_H
#define LLMZIP_MIXING_MIXER_H

#include "mixing_step.h"
#include "mixing_weights.h"

struct mixer {
    int version;
    int experts; /* one less in version 1 */
    struct weight_sets of_experts[EXPERT_COUNT], of_classes;
};

/* One stream's step. */
struct mixer_row {
    int contexts[EXPERT_COUNT];
    int32_t model_weights[CANDIDATES_ROOM]; /* as the model gave them: 0 is possible */
    float features[FEATURE_COUNT][CANDIDATES_ROOM];
    int64_t mixed[CANDIDATES_ROOM];
};

void mixer_new(struct mixer *mixer, int version);
/* From contexts and features to the corrected weights. */
void mixer_mix(const struct mixer *mixer, const struct kernels *kernels,
               const struct candidates *candidates, struct mixer_row *row);
/* What each expert adds to the bits of each candidate, [count][EXPERT_COUNT]: their sum is what
 * mixer_mix raises 2 to, before it is bounded. */
void mixer_evidence(const struct mixer *mixer, const struct candidates *candidates,
                    const struct mixer_row *row, float *evidence);
/* What rows say about all sets: summed in parts, which are added. */
struct mixer_sums {
    struct step_sums of_experts[EXPERT_COUNT], of_classes;
};

/* There are no rows yet. */
void mixer_begin_sums(struct mixer_sums *sums);
void mixer_sum(const struct mixer *mixer, const struct kernels *kernels,
               const struct mixer_row *rows, const struct candidates *candidates,
               const struct observation *observations, size_t rows_count, struct mixer_sums *sums);
void mixer_add_sums(const struct mixer *mixer, struct mixer_sums *sums,
                    const struct mixer_sums *others);
/* One step against the slope of the code length, over all rows. */
void mixer_learn(struct mixer *mixer, const struct kernels *kernels, const struct mixer_sums *sums);

#endif
