/* See mixing_weights.h. */
#include "mixing_weights.h"

#include <math.h>
#include <string.h>

static int64_t clamp(int64_t weight)
{
    return weight > WEIGHT_LIMIT ? WEIGHT_LIMIT : weight < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : weight;
}

void weights_descend(struct weight_sets *sets, const struct step_sums *sums)
{
    for (int c = 0; c < MAX_CONTEXT_COUNT; c++) {
        if (!sums->counts[c])
            continue;
        float rate = RATE + EXTRA_RATE / (RATE_STEPS + (float)sets->seen[c]);
        for (int k = 0; k < FEATURE_COUNT; k++)
            sets->weights[c][k] =
                clamp(sets->weights[c][k] + llrintf(rate * (float)sums->slopes[c][k]));
        sets->seen[c] += sums->counts[c];
    }
}

/* The x of a·x = b for a symmetric positive definite matrix, whose lower triangle `a` is; x takes
 * the place of b. */
static void solve(double a[FEATURE_COUNT][FEATURE_COUNT], double *b)
{
    for (int j = 0; j < FEATURE_COUNT; j++) {
        double column[FEATURE_COUNT];
        for (int i = j + 1; i < FEATURE_COUNT; i++)
            column[i] = a[i][j];
        for (int i = j + 1; i < FEATURE_COUNT; i++) {
            double ratio = column[i] / a[j][j];
            for (int l = j + 1; l <= i; l++)
                a[i][l] -= ratio * column[l];
            b[i] -= ratio * b[j];
        }
    }
    for (int i = FEATURE_COUNT - 1; i >= 0; i--) {
        for (int j = i + 1; j < FEATURE_COUNT; j++)
            b[i] -= a[j][i] * b[j];
        b[i] /= a[i][i];
    }
}

void weights_newton(struct weight_sets *sets, const struct step_sums *sums)
{
    for (int c = 0; c < MAX_CONTEXT_COUNT; c++) {
        if (!sums->counts[c])
            continue;
        double kept = MEMORY / (MEMORY + (double)sums->counts[c]), *own = sets->curvatures[c];
        double a[FEATURE_COUNT][FEATURE_COUNT], b[FEATURE_COUNT];
        for (int k = 0; k < CURVATURE_COUNT; k++)
            own[k] = own[k] * kept + (double)sums->curvatures[c][k] / CURVATURE_UNIT;
        for (int i = 0; i < FEATURE_COUNT; i++) {
            memcpy(a[i], own + i * (i + 1) / 2, (size_t)(i + 1) * sizeof *own);
            a[i][i] += RIDGE;
            b[i] = (double)sums->slopes[c][i];
        }
        solve(a, b);
        for (int k = 0; k < FEATURE_COUNT; k++)
            sets->weights[c][k] = clamp(sets->weights[c][k] + llrint(STEP * b[k]));
    }
}
