/* Online log-linear mixing of the experts' features (docs/arithmetic.md, section 6.6). */
#ifndef LLMZIP_MIXING_MIXER_H
#define LLMZIP_MIXING_MIXER_H

#include "mixing_step.h"
#include "mixing_weights.h"

struct mixer {
    int version, experts; /* one expert less in version 1 */
    int has_classes;
    struct weight_sets of_experts[EXPERT_COUNT], of_classes;
};

/* One stream's step. */
struct mixer_row {
    int contexts[EXPERT_COUNT];
    int32_t model_weights[MAX_CANDIDATES]; /* as the model gave them: 0 is possible */
    float features[FEATURE_COUNT][MAX_CANDIDATES];
    int64_t mixed[MAX_CANDIDATES];
};

void mixer_new(struct mixer *mixer, int version);
/* From contexts and features to the corrected weights. */
void mixer_mix(const struct mixer *mixer, const struct candidates *candidates,
               struct mixer_row *row);
/* What each expert adds to the bits of each candidate, [count][EXPERT_COUNT]: their sum is what
 * mixer_mix raises 2 to, before it is bounded. */
void mixer_evidence(const struct mixer *mixer, const struct candidates *candidates,
                    const struct mixer_row *row, float *evidence);
/* One step against the slope of the code length, over all rows. */
void mixer_learn(struct mixer *mixer, const struct mixer_row *rows,
                 const struct candidates *candidates, const struct observation *observations,
                 size_t rows_count);

#endif
