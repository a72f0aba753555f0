/* See mixing_weights.h. */
#include "mixing_weights.h"

#include <math.h>
#include <string.h>

static int64_t clamp(int64_t weight)
{
    return weight > WEIGHT_LIMIT ? WEIGHT_LIMIT : weight < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : weight;
}

int64_t *step_sums_of(struct step_sums *sums, int set, int64_t count)
{
    if (!sums->counts[set])
        memset(sums->sums[set], 0, sizeof sums->sums[set]);
    sums->counts[set] += count;
    return sums->sums[set];
}

void step_sums_add(struct step_sums *sums, const struct step_sums *others)
{
    for (int c = 0; c < MAX_CONTEXT_COUNT; c++) {
        if (!others->counts[c])
            continue;
        int64_t *own = step_sums_of(sums, c, others->counts[c]);
        for (int i = 0; i < EVIDENCE_SUMS; i++)
            own[i] += others->sums[c][i];
    }
}

void weights_descend(struct weight_sets *sets, const struct step_sums *sums)
{
    for (int c = 0; c < MAX_CONTEXT_COUNT; c++) {
        if (!sums->counts[c])
            continue;
        float rate = RATE + EXTRA_RATE / (RATE_STEPS + (float)sets->seen[c]);
        for (int k = 0; k < FEATURE_COUNT; k++)
            sets->weights[c][k] =
                clamp(sets->weights[c][k] + llrintf(rate * (float)sums->sums[c][k]));
        sets->seen[c] += sums->counts[c];
    }
}

/* Sets whose equations are solved together. */
struct equations {
    size_t count;
    int64_t *weights[SOLVED_TOGETHER];
    double a[CURVATURE_COUNT][SOLVED_TOGETHER], b[FEATURE_COUNT][SOLVED_TOGETHER];
};

static void take_steps(const struct kernels *kernels, struct equations *equations)
{
    /* The others are as the first, and nobody reads them. */
    for (size_t s = equations->count; s < SOLVED_TOGETHER; s++) {
        for (int n = 0; n < CURVATURE_COUNT; n++)
            equations->a[n][s] = equations->a[n][0];
        for (int k = 0; k < FEATURE_COUNT; k++)
            equations->b[k][s] = equations->b[k][0];
    }
    kernels->solve(equations->a, equations->b);
    for (size_t s = 0; s < equations->count; s++)
        for (int k = 0; k < FEATURE_COUNT; k++)
            equations->weights[s][k] =
                clamp(equations->weights[s][k] + llrint(STEP * equations->b[k][s]));
    equations->count = 0;
}

/* The equations of one more set. */
static void add_equations(struct weight_sets *sets, const struct step_sums *sums, int set,
                          struct equations *equations)
{
    const int64_t *own = sums->sums[set];
    double kept = MEMORY / (MEMORY + (double)sums->counts[set]),
           *curvatures = sets->curvatures[set];
    size_t s = equations->count++;
    equations->weights[s] = sets->weights[set];
    for (size_t k = 0, n = 0; k < FEATURE_COUNT; k++) {
        for (size_t l = 0; l <= k; l++, n++) {
            double now = (double)own[product_index(k, l)] / CURVATURE_UNIT;
            curvatures[n] = curvatures[n] * kept + now;
            equations->a[n][s] = curvatures[n];
        }
        equations->a[n - 1][s] += RIDGE;
        equations->b[k][s] = (double)own[k];
    }
}

void weights_newton(const struct kernels *kernels, struct weight_sets *const *sets,
                    const struct step_sums *const *sums, size_t count)
{
    struct equations equations;
    equations.count = 0;
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < MAX_CONTEXT_COUNT; c++) {
            if (!sums[i]->counts[c])
                continue;
            add_equations(sets[i], sums[i], c, &equations);
            if (equations.count == SOLVED_TOGETHER)
                take_steps(kernels, &equations);
        }
    if (equations.count)
        take_steps(kernels, &equations);
}
