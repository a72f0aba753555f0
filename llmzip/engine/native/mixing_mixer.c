/* See mixing_mixer.h. */
#include "mixing_mixer.h"

#include "mixing_math.h"

_Static_assert(CLASSES <= MAX_CONTEXT_COUNT, "classes have sets of weights, too");

static const double initial_weights[FEATURE_COUNT] = INITIAL_WEIGHTS;

void mixer_new(struct mixer *mixer, int version) /* the other experts' weights start at 0 */
{
    mixer->experts = version >= 2 ? EXPERT_COUNT : EXPERT_CALIBRATION;
    mixer->has_classes = version >= 2;
    for (int c = 0; c < MAX_CONTEXT_COUNT; c++)
        for (int k = 0; k < FEATURE_COUNT; k++)
            mixer->of_experts[0].weights[c][k] = llrint(initial_weights[k] * WEIGHT_UNIT);
}

/* The weights of a row's features for a class of tokens. */
static void add_sets(const struct mixer *mixer, const struct mixer_row *row, int class,
                     float *scale)
{
    for (int k = 0; k < FEATURE_COUNT; k++) {
        int64_t sum = mixer->of_classes.weights[class][k];
        for (int e = 0; e < mixer->experts; e++)
            sum += mixer->of_experts[e].weights[row->contexts[e]][k];
        scale[k] = (float)sum * (1.0f / WEIGHT_UNIT);
    }
}

void mixer_mix(const struct mixer *mixer, const struct candidates *candidates,
               struct mixer_row *row)
{
    float scales[CLASSES][FEATURE_COUNT];
    int known[CLASSES] = {0};
    for (size_t i = 0; i < candidates->count; i++) {
        int class = mixer->has_classes ? candidates->classes[i] : 0;
        const float *scale = scales[class];
        if (!known[class]++)
            add_sets(mixer, row, class, scales[class]);
        float bits = scale[0] * row->features[0][i];
        for (int k = 1; k < FEATURE_COUNT; k++)
            bits = bits + scale[k] * row->features[k][i];
        float factor = exp2_of(smaller_of(larger_of(bits, -MAX_BITS), MAX_BITS));
        row->mixed[i] = llrintf((float)candidates->weights[i] * factor);
    }
}

static const int first_features[EXPERT_COUNT + 1] = {FEATURE_MATCH, FEATURE_SHARE, FEATURE_BIAS,
                                                     FEATURE_ONE, FEATURE_COUNT};

void mixer_evidence(const struct mixer *mixer, const struct candidates *candidates,
                    const struct mixer_row *row, float *evidence)
{
    for (size_t i = 0; i < candidates->count; i++) {
        float scale[FEATURE_COUNT];
        add_sets(mixer, row, mixer->has_classes ? candidates->classes[i] : 0, scale);
        for (int e = 0; e < EXPERT_COUNT; e++) {
            float bits = 0.0f;
            for (int k = first_features[e]; k < first_features[e + 1]; k++)
                bits += scale[k] * row->features[k][i];
            *evidence++ = bits;
        }
    }
}

/* What a step adds to the weights. */
struct gradients {
    struct gradient_sets {
        int64_t sums[MAX_CONTEXT_COUNT][FEATURE_COUNT], seen[MAX_CONTEXT_COUNT];
    } of_experts[EXPERT_COUNT], of_classes;
};

static void add_row(const struct mixer *mixer, const struct mixer_row *row,
                    const struct candidates *candidates, const struct observation *observation,
                    struct gradients *gradients)
{
    int64_t own[FEATURE_COUNT] = {0}, total = candidates->total;
    for (size_t i = 0; i < candidates->count; i++)
        total += row->mixed[i] - row->model_weights[i];
    for (size_t i = 0; i < candidates->count; i++) {
        int64_t *of_class = gradients->of_classes.sums[candidates->classes[i]];
        float expected = (float)row->mixed[i] / (float)total;
        float error = (observation->index == (int)i ? 1.0f : 0.0f) - expected;
        gradients->of_classes.seen[candidates->classes[i]]++;
        for (int k = 0; k < FEATURE_COUNT; k++) {
            int64_t gradient = llrintf(error * row->features[k][i] * GRADIENT_UNIT);
            own[k] += gradient;
            of_class[k] += gradient;
        }
    }
    for (int e = 0; e < mixer->experts; e++) {
        struct gradient_sets *sets = &gradients->of_experts[e];
        sets->seen[row->contexts[e]]++;
        for (int k = 0; k < FEATURE_COUNT; k++)
            sets->sums[row->contexts[e]][k] += own[k];
    }
}

static int64_t clamp(int64_t weight)
{
    return weight > WEIGHT_LIMIT ? WEIGHT_LIMIT : weight < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : weight;
}

static void descend(struct weight_sets *sets, const struct gradient_sets *gradients)
{
    for (int c = 0; c < MAX_CONTEXT_COUNT; c++) {
        if (!gradients->seen[c])
            continue;
        float rate = RATE + EXTRA_RATE / (RATE_STEPS + (float)sets->seen[c]);
        for (int k = 0; k < FEATURE_COUNT; k++)
            sets->weights[c][k] =
                clamp(sets->weights[c][k] + llrintf(rate * (float)gradients->sums[c][k]));
        sets->seen[c] += gradients->seen[c];
    }
}

void mixer_learn(struct mixer *mixer, const struct mixer_row *rows,
                 const struct candidates *candidates, const struct observation *observations,
                 size_t rows_count)
{
    struct gradients gradients = {0};
    for (size_t r = 0; r < rows_count; r++)
        add_row(mixer, &rows[r], &candidates[r], &observations[r], &gradients);
    for (int e = 0; e < mixer->experts; e++)
        descend(&mixer->of_experts[e], &gradients.of_experts[e]);
    if (mixer->has_classes)
        descend(&mixer->of_classes, &gradients.of_classes);
}
