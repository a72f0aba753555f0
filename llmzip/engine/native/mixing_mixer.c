/* Section 6.5: online log-linear mixing. */
#include "context_mixer.h"
#include "mixing_math.h"

static const int situations[EXPERTS] = SITUATIONS;
static const double initial_weights[FEATURES] = INITIAL_WEIGHTS;

void mixer_new(struct mixer *mixer)
{
    for (int s = 0; s < situations[0]; s++)
        for (int k = 0; k < FEATURES; k++)
            mixer->weights[0][s][k] = llrint(initial_weights[k] * WEIGHT_UNIT);
}

void mixer_mix(const struct mixer *mixer, struct row *row)
{
    float scale[FEATURES];
    for (int k = 0; k < FEATURES; k++) {
        int64_t sum = 0;
        for (int e = 0; e < EXPERTS; e++)
            sum += mixer->weights[e][row->situations[e]][k];
        scale[k] = (float)sum * (1.0f / WEIGHT_UNIT);
    }
    for (size_t i = 0; i < row->count; i++) {
        float bits = scale[0] * row->features[0][i];
        for (int k = 1; k < FEATURES; k++)
            bits = bits + scale[k] * row->features[k][i];
        float factor = exp2_of(smaller_of(larger_of(bits, -MAX_BITS), MAX_BITS));
        row->mixed[i] = llrintf((float)row->weights[i] * factor);
    }
}

/* What a row says of the weights of each feature. */
static void add_slopes(const struct row *row, const struct outcome *outcome, int64_t *slopes)
{
    int64_t total = row->total;
    for (size_t i = 0; i < row->count; i++)
        total += row->mixed[i] - row->before[i];
    for (size_t i = 0; i < row->count; i++) {
        float expected = (float)row->mixed[i] / (float)total;
        float error = (outcome->place == (int)i ? 1.0f : 0.0f) - expected;
        for (int k = 0; k < FEATURES; k++)
            slopes[k] += llrintf(error * row->features[k][i] * GRADIENT_UNIT);
    }
}

static int64_t clamp(int64_t weight)
{
    return weight > WEIGHT_LIMIT ? WEIGHT_LIMIT : weight < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : weight;
}

void mixer_learn(struct mixer *mixer, const struct row *rows, const struct outcome *outcomes, size_t count)
{
    int64_t slopes[EXPERTS][MOST_SITUATIONS][FEATURES] = {0}, seen[EXPERTS][MOST_SITUATIONS] = {0};
    for (size_t r = 0; r < count; r++) {
        int64_t own[FEATURES] = {0};
        add_slopes(&rows[r], &outcomes[r], own);
        for (int e = 0; e < EXPERTS; e++) {
            seen[e][rows[r].situations[e]]++;
            for (int k = 0; k < FEATURES; k++)
                slopes[e][rows[r].situations[e]][k] += own[k];
        }
    }
    for (int e = 0; e < EXPERTS; e++)
        for (int s = 0; s < situations[e]; s++) {
            float rate = RATE + EXTRA_RATE / (RATE_STEPS + (float)mixer->seen[e][s]);
            for (int k = 0; k < FEATURES; k++)
                mixer->weights[e][s][k] =
                    clamp(mixer->weights[e][s][k] + llrintf(rate * (float)slopes[e][s][k]));
            mixer->seen[e][s] += seen[e][s];
        }
}
