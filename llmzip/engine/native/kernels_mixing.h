/* What the context mixer computes for many numbers (docs/arithmetic.md, section 6). */
#include "mixing_layout.h"

_Static_assert(CANDIDATES_ROOM % LANES == 0 && EVIDENCE_STRIDE % LANES == 0, "whole vectors");

/* x = exp2(min(max(x, least), most)); n is rounded up to LANES. */
static void exp2_within(float *x, size_t n, float least, float most)
{
    for (size_t i = 0; i < n; i += LANES) {
        vf bits = vf_max(vf_load(x + i), vf_set(least));
        vf_store(x + i, exp2_clamped(vf_min(bits, vf_set(most))));
    }
}

/* Section 1.5; n is rounded up to LANES. */
static void log2_of_all(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        vi bits = vi_bits(vf_load(x + i));
        vf exponent = vf_from(vi_sub(vi_shift_right(bits, 23), vi_set(127)));
        vi mantissa = vi_add(vi_and(bits, vi_set(0x7fffff)), vi_set(0x3f800000));
        vf r = vf_sub(vf_bits(mantissa), vf_set(1.0f));
        vf y = vf_add(vf_mul(vf_set(LOG2_C3), r), vf_set(LOG2_C2));
        y = vf_add(vf_mul(y, r), vf_set(LOG2_C1));
        vf_store(x + i, vf_add(exponent, vf_mul(y, r)));
    }
}

#define COMPARED_TOGETHER (4 * LANES)

/* The indices from `first` to `end` - 1 of the numbers that are at most the limit; returns how
 * many. */
static size_t at_most(const int32_t *x, size_t first, size_t end, int32_t limit, uint32_t *indices)
{
    size_t found = 0, i = first;
    for (; i + COMPARED_TOGETHER <= end; i += COMPARED_TOGETHER) {
        vi room = vi_sub(vi_set(limit), vi_load(x + i));
        for (size_t j = LANES; j < COMPARED_TOGETHER; j += LANES)
            room = vi_max(room, vi_sub(vi_set(limit), vi_load(x + i + j)));
        if (vi_reduce_max(room) < 0)
            continue;
        for (size_t j = i; j < i + COMPARED_TOGETHER; j++) {
            indices[found] = (uint32_t)j;
            found += x[j] <= limit;
        }
    }
    for (; i < end; i++) {
        indices[found] = (uint32_t)i;
        found += x[i] <= limit;
    }
    return found;
}

/* Four numbers, on any processor. */
typedef double four_doubles __attribute__((vector_size(32)));
typedef int64_t four_integers __attribute__((vector_size(32)));

/* A double of this size has the unit 1: added to it, numbers below 2^51 are rounded to integers, to
 * nearest, ties to even, which its lowest bits are. Sums of integers that stay below 2^51 are
 * exact. */
#define INTEGERS 0x1.8p52
_Static_assert(MAX_CANDIDATES *(SPREAD_LIMIT * EVIDENCE_BOUND * EVIDENCE_BOUND) < 0x1p51,
               "sums of a row's curvatures are exact");

/* Adds sums, four by four and INTEGERS too large, to integers. */
static inline __attribute__((always_inline)) void
add_integers(const four_doubles *sums, size_t count, int64_t *own, int64_t *others)
{
    const double start = INTEGERS;
    int64_t start_bits;
    memcpy(&start_bits, &start, 8);
    for (size_t i = 0; i < count; i++) {
        four_integers sum, a, b;
        memcpy(&sum, &sums[i], sizeof sum);
        memcpy(&a, own + 4 * i, sizeof a);
        memcpy(&b, others + 4 * i, sizeof b);
        sum -= start_bits;
        a += sum;
        b += sum;
        memcpy(own + 4 * i, &a, sizeof a);
        memcpy(others + 4 * i, &b, sizeof b);
    }
}

/* The sums of products of rows `first` to `first + rows - 1` with the first `fours` columns. */
static inline __attribute__((always_inline)) void
add_products(const double (*x)[EVIDENCE_COLUMNS], const double (*scaled)[EVIDENCE_COLUMNS],
             size_t count, size_t first, size_t rows, size_t fours, int64_t *own, int64_t *others)
{
    four_doubles sums[9], columns[3];
    for (size_t n = 0; n < rows * fours; n++)
        sums[n] = (four_doubles){INTEGERS, INTEGERS, INTEGERS, INTEGERS};
    for (size_t i = 0; i < count; i++) {
        memcpy(columns, x[i], fours * sizeof *columns);
        for (size_t k = 0; k < rows; k++)
            for (size_t l = 0; l < fours; l++)
                sums[k * fours + l] += columns[l] * scaled[i][first + k];
    }
    add_integers(sums, rows * fours, own, others);
}

static void sum_evidence(const float (*features)[EVIDENCE_STRIDE], const float *errors,
                         const float *spreads, size_t count, int has_curvature, int64_t *own,
                         int64_t *others)
{
    double x[MAX_CANDIDATES][EVIDENCE_COLUMNS], scaled[MAX_CANDIDATES][EVIDENCE_COLUMNS];
    float gradient[EVIDENCE_STRIDE], whole[EVIDENCE_STRIDE];
    four_doubles slopes[3];
    for (size_t n = 0; n < 3; n++)
        slopes[n] = (four_doubles){INTEGERS, INTEGERS, INTEGERS, INTEGERS};
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < EVIDENCE_STRIDE; k += LANES) {
            vf f = vf_load(features[i] + k);
            vf slope = vf_mul(vf_set(errors[i]), f);
            vf_store(gradient + k, vf_mul(slope, vf_set(GRADIENT_UNIT)));
            f = vf_min(vf_max(f, vf_set(-EVIDENCE_LIMIT)), vf_set(EVIDENCE_LIMIT));
            vf_store(whole + k, vf_from(vi_round(vf_mul(f, vf_set(EVIDENCE_UNIT)))));
        }
        double rounded[EVIDENCE_COLUMNS], spread = (double)spreads[i];
        for (size_t k = 0; k < EVIDENCE_COLUMNS; k++)
            rounded[k] = ((double)gradient[k] + INTEGERS) - INTEGERS;
        for (size_t n = 0; n < 3; n++) {
            four_doubles four;
            memcpy(&four, rounded + 4 * n, sizeof four);
            slopes[n] += four;
        }
        for (size_t k = 0; k < EVIDENCE_COLUMNS; k++)
            x[i][k] = (double)whole[k];
        for (size_t k = 0; k < EVIDENCE_COLUMNS; k++)
            scaled[i][k] = spread * x[i][k];
    }
    add_integers(slopes, 3, own, others);
    if (!has_curvature)
        return;
    own += EVIDENCE_COLUMNS;
    others += EVIDENCE_COLUMNS;
    add_products(x, scaled, count, 0, 4, 1, own, others);
    add_products(x, scaled, count, 4, 4, 2, own + 16, others + 16);
    add_products(x, scaled, count, 8, 3, 3, own + 48, others + 48);
}

/* Section 6.6: a[i (i + 1) / 2 + l] is A_i,l. */
static void solve(double (*triangle)[SOLVED_TOGETHER], double (*right)[SOLVED_TOGETHER])
{
    four_doubles a[CURVATURE_COUNT], b[FEATURE_COUNT];
    memcpy(a, triangle, sizeof a);
    memcpy(b, right, sizeof b);
    for (int j = 0; j < FEATURE_COUNT; j++) {
        four_doubles column[FEATURE_COUNT];
        for (int i = j + 1; i < FEATURE_COUNT; i++)
            column[i] = a[i * (i + 1) / 2 + j];
        for (int i = j + 1; i < FEATURE_COUNT; i++) {
            four_doubles ratio = column[i] / a[j * (j + 1) / 2 + j], *row = a + i * (i + 1) / 2;
            for (int l = j + 1; l <= i; l++)
                row[l] -= ratio * column[l];
            b[i] -= ratio * b[j];
        }
    }
    for (int i = FEATURE_COUNT - 1; i >= 0; i--) {
        for (int j = i + 1; j < FEATURE_COUNT; j++)
            b[i] -= a[j * (j + 1) / 2 + i] * b[j];
        b[i] /= a[i * (i + 1) / 2 + i];
    }
    memcpy(right, b, sizeof b);
}
