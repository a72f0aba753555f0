/* See mixing_mixer.h. */
#include "mixing_mixer.h"

#include "mixing_math.h"

static const int context_counts[EXPERT_COUNT] = CONTEXT_COUNTS;
static const double initial_weights[FEATURE_COUNT] = INITIAL_WEIGHTS;

void mixer_new(struct mixer *mixer) /* the other experts' weights start at 0 */
{
    for (int c = 0; c < context_counts[0]; c++)
        for (int k = 0; k < FEATURE_COUNT; k++)
            mixer->weights[0][c][k] = llrint(initial_weights[k] * WEIGHT_UNIT);
}

void mixer_mix(const struct mixer *mixer, const struct candidates *candidates,
               struct mixer_row *row)
{
    float scale[FEATURE_COUNT];
    for (int k = 0; k < FEATURE_COUNT; k++) {
        int64_t sum = 0;
        for (int e = 0; e < EXPERT_COUNT; e++)
            sum += mixer->weights[e][row->contexts[e]][k];
        scale[k] = (float)sum * (1.0f / WEIGHT_UNIT);
    }
    for (size_t i = 0; i < candidates->count; i++) {
        float bits = scale[0] * row->features[0][i];
        for (int k = 1; k < FEATURE_COUNT; k++)
            bits = bits + scale[k] * row->features[k][i];
        float factor = exp2_of(smaller_of(larger_of(bits, -MAX_BITS), MAX_BITS));
        row->mixed[i] = llrintf((float)candidates->weights[i] * factor);
    }
}

/* What a row adds to the gradient of each feature's weight. */
static void add_gradients(const struct mixer_row *row, const struct candidates *candidates,
                          const struct observation *observation, int64_t *gradients)
{
    int64_t total = candidates->total;
    for (size_t i = 0; i < candidates->count; i++)
        total += row->mixed[i] - row->model_weights[i];
    for (size_t i = 0; i < candidates->count; i++) {
        float expected = (float)row->mixed[i] / (float)total;
        float error = (observation->index == (int)i ? 1.0f : 0.0f) - expected;
        for (int k = 0; k < FEATURE_COUNT; k++)
            gradients[k] += llrintf(error * row->features[k][i] * GRADIENT_UNIT);
    }
}

static int64_t clamp(int64_t weight)
{
    return weight > WEIGHT_LIMIT ? WEIGHT_LIMIT : weight < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : weight;
}

void mixer_learn(struct mixer *mixer, const struct mixer_row *rows,
                 const struct candidates *candidates, const struct observation *observations,
                 size_t count)
{
    int64_t gradients[EXPERT_COUNT][MAX_CONTEXT_COUNT][FEATURE_COUNT] = {0};
    int64_t seen[EXPERT_COUNT][MAX_CONTEXT_COUNT] = {0};
    for (size_t r = 0; r < count; r++) {
        int64_t own[FEATURE_COUNT] = {0};
        add_gradients(&rows[r], &candidates[r], &observations[r], own);
        for (int e = 0; e < EXPERT_COUNT; e++) {
            seen[e][rows[r].contexts[e]]++;
            for (int k = 0; k < FEATURE_COUNT; k++)
                gradients[e][rows[r].contexts[e]][k] += own[k];
        }
    }
    for (int e = 0; e < EXPERT_COUNT; e++)
        for (int c = 0; c < context_counts[e]; c++) {
            float rate = RATE + EXTRA_RATE / (RATE_STEPS + (float)mixer->seen[e][c]);
            for (int k = 0; k < FEATURE_COUNT; k++)
                mixer->weights[e][c][k] =
                    clamp(mixer->weights[e][c][k] + llrintf(rate * (float)gradients[e][c][k]));
            mixer->seen[e][c] += seen[e][c];
        }
}
