/* See mixing_mixer.h. */
#include "mixing_mixer.h"

#include <string.h>

#include "mixing_math.h"

_Static_assert(CLASSES <= MAX_CONTEXT_COUNT, "classes have sets of weights, too");

static const double initial_weights[FEATURE_COUNT] = INITIAL_WEIGHTS;

void mixer_new(struct mixer *mixer, int version) /* the other experts' weights start at 0 */
{
    mixer->version = version;
    mixer->experts = version >= 2 ? EXPERT_COUNT : EXPERT_CALIBRATION;
    for (int c = 0; c < MAX_CONTEXT_COUNT; c++)
        for (int k = 0; k < FEATURE_COUNT; k++)
            mixer->of_experts[0].weights[c][k] = llrint(initial_weights[k] * WEIGHT_UNIT);
}

/* Classes of tokens have weights from version 2 on. */
static int has_classes(const struct mixer *mixer) { return mixer->version >= 2; }

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

void mixer_mix(const struct mixer *mixer, const struct kernels *kernels,
               const struct candidates *candidates, struct mixer_row *row)
{
    float factors[CANDIDATES_ROOM] = {0};
    float scales[CLASSES][FEATURE_COUNT];
    int known[CLASSES] = {0};
    for (size_t i = 0; i < candidates->count; i++) {
        int class = has_classes(mixer) ? candidates->classes[i] : 0;
        const float *scale = scales[class];
        if (!known[class]++)
            add_sets(mixer, row, class, scales[class]);
        float bits = scale[0] * row->features[0][i];
        for (int k = 1; k < FEATURE_COUNT; k++)
            bits = bits + scale[k] * row->features[k][i];
        factors[i] = bits;
    }
    kernels->exp2_within(factors, candidates->count, -MAX_BITS, MAX_BITS);
    for (size_t i = 0; i < candidates->count; i++)
        row->mixed[i] = llrintf((float)candidates->weights[i] * factors[i]);
}

static const int first_features[EXPERT_COUNT + 1] = {FEATURE_MATCH, FEATURE_SHARE, FEATURE_BIAS,
                                                     FEATURE_ONE, FEATURE_COUNT};

void mixer_evidence(const struct mixer *mixer, const struct candidates *candidates,
                    const struct mixer_row *row, float *evidence)
{
    for (size_t i = 0; i < candidates->count; i++) {
        float scale[FEATURE_COUNT];
        add_sets(mixer, row, has_classes(mixer) ? candidates->classes[i] : 0, scale);
        for (int e = 0; e < EXPERT_COUNT; e++) {
            float bits = 0.0f;
            for (int k = first_features[e]; k < first_features[e + 1]; k++)
                bits += scale[k] * row->features[k][i];
            *evidence++ = bits;
        }
    }
}

void mixer_begin_sums(struct mixer_sums *sums)
{
    memset(sums->of_classes.counts, 0, sizeof sums->of_classes.counts);
    for (int e = 0; e < EXPERT_COUNT; e++)
        memset(sums->of_experts[e].counts, 0, sizeof sums->of_experts[e].counts);
}

/* A row's candidates by class. */
struct ordered {
    size_t ends[CLASSES]; /* of each class, among those in order */
    float features[MAX_CANDIDATES][EVIDENCE_STRIDE], errors[MAX_CANDIDATES],
        spreads[MAX_CANDIDATES];
};

/* How far off the expectation of each candidate is, and how fast that changes. */
static void compare(const struct mixer_row *row, const struct candidates *candidates, int observed,
                    float *errors, float *spreads)
{
    int64_t total = candidates->total;
    for (size_t i = 0; i < candidates->count; i++)
        total += row->mixed[i] - row->model_weights[i];
    for (size_t i = 0; i < candidates->count; i++) {
        float expected = (float)row->mixed[i] / (float)total;
        float probable = smaller_of(expected, 1.0f);
        errors[i] = (observed == (int)i ? 1.0f : 0.0f) - expected;
        spreads[i] = (float)lrintf(probable * (1.0f - probable) * SPREAD_UNIT);
    }
}

static void order(const struct mixer_row *row, const struct candidates *candidates,
                  const float *errors, const float *spreads, struct ordered *ordered)
{
    size_t next[CLASSES + 1] = {0};
    for (size_t i = 0; i < candidates->count; i++)
        next[candidates->classes[i] + 1]++;
    for (int c = 0; c < CLASSES; c++)
        ordered->ends[c] = next[c + 1] += next[c];
    for (size_t i = 0; i < candidates->count; i++) {
        size_t place = next[candidates->classes[i]]++;
        ordered->errors[place] = errors[i];
        ordered->spreads[place] = spreads[i];
        for (int k = 0; k < FEATURE_COUNT; k++)
            ordered->features[place][k] = row->features[k][i];
        for (int k = FEATURE_COUNT; k < EVIDENCE_STRIDE; k++)
            ordered->features[place][k] = 0.0f;
    }
}

static void add_row(const struct mixer *mixer, const struct kernels *kernels,
                    const struct mixer_row *row, const struct candidates *candidates, int observed,
                    struct mixer_sums *sums)
{
    float errors[MAX_CANDIDATES], spreads[MAX_CANDIDATES];
    struct ordered ordered;
    int64_t own[EVIDENCE_SUMS] = {0};
    int has_curvature = mixer->version >= 3;
    size_t used = has_curvature ? EVIDENCE_SUMS : EVIDENCE_COLUMNS;
    compare(row, candidates, observed, errors, spreads);
    order(row, candidates, errors, spreads, &ordered);
    for (size_t c = 0, first = 0; c < CLASSES; first = ordered.ends[c++]) {
        size_t count = ordered.ends[c] - first;
        if (count)
            kernels->sum_evidence(&ordered.features[first], ordered.errors + first,
                                  ordered.spreads + first, count, has_curvature, own,
                                  step_sums_of(&sums->of_classes, (int)c, (int64_t)count));
    }
    for (int e = 0; e < mixer->experts; e++) {
        int64_t *of_expert = step_sums_of(&sums->of_experts[e], row->contexts[e], 1);
        for (size_t i = 0; i < used; i++)
            of_expert[i] += own[i];
    }
}

void mixer_sum(const struct mixer *mixer, const struct kernels *kernels,
               const struct mixer_row *rows, const struct candidates *candidates,
               const struct observation *observations, size_t rows_count, struct mixer_sums *sums)
{
    for (size_t r = 0; r < rows_count; r++)
        add_row(mixer, kernels, &rows[r], &candidates[r], observations[r].index, sums);
}

void mixer_add_sums(const struct mixer *mixer, struct mixer_sums *sums,
                    const struct mixer_sums *others)
{
    for (int e = 0; e < mixer->experts; e++)
        step_sums_add(&sums->of_experts[e], &others->of_experts[e]);
    if (has_classes(mixer))
        step_sums_add(&sums->of_classes, &others->of_classes);
}

void mixer_learn(struct mixer *mixer, const struct kernels *kernels, const struct mixer_sums *sums)
{
    struct weight_sets *sets[EXPERT_COUNT + 1];
    const struct step_sums *of_sets[EXPERT_COUNT + 1];
    size_t count = 0;
    for (int e = 0; e < mixer->experts; e++, count++) {
        sets[count] = &mixer->of_experts[e];
        of_sets[count] = &sums->of_experts[e];
    }
    if (has_classes(mixer)) {
        sets[count] = &mixer->of_classes;
        of_sets[count++] = &sums->of_classes;
    }
    if (mixer->version >= 3)
        weights_newton(kernels, sets, of_sets, count);
    for (size_t i = 0; mixer->version < 3 && i < count; i++)
        weights_descend(sets[i], of_sets[i]);
}
