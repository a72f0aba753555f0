/* The int8 product of linear layers by an instruction that multiplies two rows of 8 bytes with two
 * columns of 8, in the layout that the other kernels use: SMMLA of ARMv8.6, after simd_neon.h and
 * kernels_gemm.h. */

#define MULTIPLY multiply_by_pairs
#define ROWS_PER_THREAD 16
#define PAIR_ROWS 4     /* rows at a time: 16 sums, 8 vectors of weights and 2 of rows */
#define PAIR_COLUMNS 16 /* columns at a time: half of a panel */

/* sum[2 * i + j] += row i of a * column j of b. In assembly, as vi_dot is. */
static inline vi pair_dot(vi sum, vi a, vi b)
{
    __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    return sum;
}

/* 8 bytes of each of two rows, which lose 128: see SIGNED_ROWS. */
static inline vi two_rows(const uint8_t *first, const uint8_t *second)
{
    uint8x16_t bytes = vcombine_u8(vld1_u8(first), vld1_u8(second));
    return vreinterpretq_s32_u8(veorq_u8(bytes, vdupq_n_u8(0x80)));
}

/* What two vectors begin with, or end with. */
static inline vi low_halves(vi a, vi b)
{
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
static inline vi high_halves(vi a, vi b)
{
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

/* Sums of PAIR_ROWS rows and of the columns from `first` on, among [PAIR_ROWS][VECTORS]. Asks for
 * two wanted lines per eight k. */
static inline void pair_sums(const uint8_t *const rows[PAIR_ROWS], struct panel panel, size_t first,
                             vi *sums, struct prefetch *wanted)
{
    enum { PAIRS = PAIR_ROWS / 2, FOURS = PAIR_COLUMNS / LANES };
    vi sum[PAIRS][2 * FOURS];
#pragma GCC unroll 16
    for (size_t p = 0; p < PAIRS; p++)
#pragma GCC unroll 16
        for (size_t c = 0; c < 2 * FOURS; c++)
            sum[p][c] = vi_set(0);
    struct prefetch ahead = *wanted;
    const int8_t *b = panel.data + first * 4;
    for (size_t k = 0; k < panel.groups; k += 2, b += 2 * PANEL * 4) {
        vi weights[2 * FOURS], x[PAIRS];
#pragma GCC unroll 16
        for (size_t v = 0; v < FOURS; v++) { /* four columns of four k, and of the next four */
            vi low = vi_load(b + v * LANES * 4), high = vi_load(b + (v * LANES + PANEL) * 4);
            weights[2 * v] = vzip1q_s32(low, high);
            weights[2 * v + 1] = vzip2q_s32(low, high);
        }
#pragma GCC unroll 16
        for (size_t p = 0; p < PAIRS; p++)
            x[p] = two_rows(rows[2 * p] + k * 4, rows[2 * p + 1] + k * 4);
#pragma GCC unroll 16
        for (size_t p = 0; p < PAIRS; p++)
#pragma GCC unroll 16
            for (size_t c = 0; c < 2 * FOURS; c++)
                sum[p][c] = pair_dot(sum[p][c], x[p], weights[c]);
        request(&ahead, 2 * CACHE_LINE);
    }
    *wanted = ahead;
#pragma GCC unroll 16
    for (size_t p = 0; p < PAIRS; p++)
#pragma GCC unroll 16
        for (size_t v = 0; v < FOURS; v++) {
            vi *to = sums + 2 * p * VECTORS + first / LANES + v;
            to[0] = low_halves(sum[p][2 * v], sum[p][2 * v + 1]);
            to[VECTORS] = high_halves(sum[p][2 * v], sum[p][2 * v + 1]);
        }
}

/* A single row is half of a pair: the dot product has less to do. */
static void multiply_by_pairs(const struct matrix *w, struct rows a, size_t first, size_t last,
                              size_t after, float *out, size_t stride, const float *row_scale)
{
    if (a.count < 2) {
        multiply(w, a, first, last, after, out, stride, row_scale);
        return;
    }
    size_t bytes = w->groups * 4 * PANEL; /* groups are even: see INPUT_UNIT */
    for (size_t p = first; p < last; p++) {
        size_t n = p * PANEL;
        struct panel panel = {w->packed + p * bytes, w->groups, 0};
        struct prefetch next = wanted_panel(w, p + 1 < last ? p + 1 : after);
        for (size_t m = 0; m < a.count; m += PAIR_ROWS) {
            const uint8_t *rows[PAIR_ROWS];
            vi sums[PAIR_ROWS * VECTORS];
            for (size_t r = 0; r < PAIR_ROWS; r++) /* the last one fills up */
                rows[r] = a.data + (m + r < a.count ? m + r : a.count - 1) * a.stride;
            for (size_t c = 0; c < PANEL; c += PAIR_COLUMNS)
                pair_sums(rows, panel, c, sums, &next);
            for (size_t r = 0; r < PAIR_ROWS && m + r < a.count; r++)
                put_sums(sums + r * VECTORS, w->correction + n, w->scale + n,
                         out + (m + r) * stride + n, row_scale ? row_scale + m + r : NULL);
        }
    }
}

#define PEAK_DOT pair_dot
#define PEAK_PRODUCTS 32
