/* See mixing_mixer.h. */
#include "mixing_mixer.h"

#include "mixing_math.h"

_Static_assert(CLASSES <= MAX_CONTEXT_COUNT, "classes have sets of weights, too");

static const double initial_weights[FEATURE_COUNT] = INITIAL_WEIGHTS;

void mixer_new(struct mixer *mixer, int version) /* the other experts' weights start at 0 */
{
    mixer->version = version;
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

/* What a step says about all sets. */
struct mixer_sums {
    struct step_sums of_experts[EXPERT_COUNT], of_classes;
};

/* How fast the slopes of a candidate that is expected so much rise: added to `own` and to
 * `of_class`. */
static void add_curvature(const struct mixer_row *row, size_t i, float expected, int64_t *own,
                          int64_t *of_class)
{
    int32_t features[FEATURE_COUNT];
    float probable = smaller_of(expected, 1.0f);
    int32_t spread = (int32_t)lrintf(probable * (1.0f - probable) * SPREAD_UNIT);
    for (int k = 0; k < FEATURE_COUNT; k++) {
        float f = smaller_of(larger_of(row->features[k][i], -EVIDENCE_LIMIT), EVIDENCE_LIMIT);
        features[k] = (int32_t)lrintf(f * EVIDENCE_UNIT);
    }
    for (int k = 0, n = 0; k < FEATURE_COUNT; k++) {
        int32_t spread_feature = spread * features[k];
        for (int l = 0; l <= k; l++, n++) {
            int64_t product = (int64_t)spread_feature * features[l];
            own[n] += product;
            of_class[n] += product;
        }
    }
}

static void add_row(const struct mixer *mixer, const struct mixer_row *row,
                    const struct candidates *candidates, const struct observation *observation,
                    struct mixer_sums *sums)
{
    int64_t slope[FEATURE_COUNT] = {0}, curvature[CURVATURE_COUNT] = {0}, total = candidates->total;
    for (size_t i = 0; i < candidates->count; i++)
        total += row->mixed[i] - row->model_weights[i];
    for (size_t i = 0; i < candidates->count; i++) {
        int class = candidates->classes[i];
        int64_t *of_class = sums->of_classes.slopes[class];
        float expected = (float)row->mixed[i] / (float)total;
        float error = (observation->index == (int)i ? 1.0f : 0.0f) - expected;
        sums->of_classes.counts[class]++;
        for (int k = 0; k < FEATURE_COUNT; k++) {
            int64_t gradient = llrintf(error * row->features[k][i] * GRADIENT_UNIT);
            slope[k] += gradient;
            of_class[k] += gradient;
        }
        if (mixer->version >= 3)
            add_curvature(row, i, expected, curvature, sums->of_classes.curvatures[class]);
    }
    for (int e = 0; e < mixer->experts; e++) {
        struct step_sums *of_expert = &sums->of_experts[e];
        int context = row->contexts[e];
        of_expert->counts[context]++;
        for (int k = 0; k < FEATURE_COUNT; k++)
            of_expert->slopes[context][k] += slope[k];
        for (int k = 0; mixer->version >= 3 && k < CURVATURE_COUNT; k++)
            of_expert->curvatures[context][k] += curvature[k];
    }
}

void mixer_learn(struct mixer *mixer, const struct mixer_row *rows,
                 const struct candidates *candidates, const struct observation *observations,
                 size_t rows_count)
{
    void (*learn)(struct weight_sets *, const struct step_sums *) =
        mixer->version >= 3 ? weights_newton : weights_descend;
    struct mixer_sums sums = {0};
    for (size_t r = 0; r < rows_count; r++)
        add_row(mixer, &rows[r], &candidates[r], &observations[r], &sums);
    for (int e = 0; e < mixer->experts; e++)
        learn(&mixer->of_experts[e], &sums.of_experts[e]);
    if (mixer->has_classes)
        learn(&mixer->of_classes, &sums.of_classes);
}
