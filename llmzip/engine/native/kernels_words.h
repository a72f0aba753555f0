/* Weighted sums of values by products of 16 bits (AVX2 without VNNI), included by
 * kernels_attention.h: one of them takes a whole weight where products of bytes take two. */

#define LIMB_BYTES 2 /* from one position to the next */

/* Bytes that are asked for per vector of the softmax, and per group of values. Zen 3 drops what is
 * asked for sooner than memory gives it, a line in 18 cycles at best. */
#define POWER_REQUEST 32
#define WEIGHT_REQUEST 32
#define VALUES_REQUEST 96

/* Of a head that nobody has asked for, the next block's keys. */
#define ASKS_FOR_OWN(heads, start, queries) ((heads)->fresh && (start) == 0)

/* Weights from position j on, less 2^15 so that they fit 16 bits with a sign, in the order 0, 2, 1,
 * 3 of each four: see `weighted_sums`. */
static inline void store_weights(uint8_t *limbs, size_t n, size_t j, vi w)
{
    (void)n;
    const vi order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    vi words = _mm256_shuffle_epi8(vi_sub(w, vi_set(1 << 15)), order);
    __m128i eight =
        _mm_unpacklo_epi64(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(limbs + LIMB_BYTES * j), eight);
}

#define QUERY_ROWS 3 /* at a time: 12 sums, 2 vectors of values, a broadcast */

static inline vi two_words(const uint8_t *p)
{
    int32_t two;
    memcpy(&two, p, 4);
    return vi_set(two);
}

/* Adds of a group of four positions the even ones and the odd ones, which a lane of values has as
 * bytes 0, 2 and 1, 3. */
static inline vi word_dot(vi sum, vi even, vi odd, const uint8_t *weights)
{
    sum = vi_add(sum, _mm256_madd_epi16(even, two_words(weights)));
    return vi_add(sum, _mm256_madd_epi16(odd, two_words(weights + 4)));
}

static inline __attribute__((always_inline)) void word_sums(const uint8_t *limbs, size_t stride,
                                                            size_t queries, struct panel panel,
                                                            const vi *missing, int32_t *out,
                                                            struct prefetch *wanted)
{
    vi sum[QUERY_ROWS][VECTORS];
#pragma GCC unroll 16
    for (size_t r = 0; r < queries; r++)
#pragma GCC unroll 16
        for (size_t v = 0; v < VECTORS; v++)
            sum[r][v] = missing[v];
    struct prefetch ahead = *wanted;
    const int8_t *b = panel.data;
    for (size_t k = 0; k < panel.groups; k += RUN, b += panel.gap) {
        for (size_t i = k; i < k + RUN; i++, b += PANEL * 4) {
            request(&ahead, VALUES_REQUEST);
#pragma GCC unroll 16
            for (size_t v = 0; v < VECTORS; v++) {
                vi values = vi_load(b + v * LANES * 4);
                vi even = _mm256_srai_epi16(_mm256_slli_epi16(values, 8), 8);
                vi odd = _mm256_srai_epi16(values, 8);
#pragma GCC unroll 16
                for (size_t r = 0; r < queries; r++)
                    sum[r][v] = word_dot(sum[r][v], even, odd, limbs + r * stride + i * 8);
            }
        }
    }
    *wanted = ahead;
#pragma GCC unroll 16
    for (size_t r = 0; r < queries; r++)
#pragma GCC unroll 16
        for (size_t v = 0; v < VECTORS; v++)
            vi_store(out + r * PANEL + v * LANES, sum[r][v]);
}

/* 2^15 times the sum of the values of each dimension, which the weights lack: [VECTORS]. */
static inline void lacking_words(struct panel panel, vi *missing)
{
    const vi one = _mm256_set1_epi8(1);
    for (size_t v = 0; v < VECTORS; v++)
        missing[v] = vi_set(0);
    const int8_t *b = panel.data;
    for (size_t k = 0; k < panel.groups; k += RUN, b += panel.gap)
        for (size_t i = 0; i < RUN; i++, b += PANEL * 4)
            for (size_t v = 0; v < VECTORS; v++) {
                vi twos = _mm256_maddubs_epi16(one, vi_load(b + v * LANES * 4));
                missing[v] = vi_add(missing[v], _mm256_madd_epi16(twos, _mm256_set1_epi16(1)));
            }
    for (size_t v = 0; v < VECTORS; v++)
        missing[v] = vi_shift_left(missing[v], 15);
}

/* Σ w·v of up to DIMENSIONS_AT_ONCE dimensions for `queries` rows of weights: int32 sums
 * [queries][DIMENSIONS_AT_ONCE], which wrap before they are whole. */
static inline void weighted_sums(const uint8_t *limbs, size_t stride, size_t queries,
                                 struct panel panel, size_t dimensions, int32_t *out,
                                 struct prefetch *wanted)
{
    (void)dimensions;
    vi missing[VECTORS];
    size_t tiles = (queries + QUERY_ROWS - 1) / QUERY_ROWS;
    lacking_words(panel, missing);
    for (size_t i = 0; i < tiles; i++) {
        size_t start = tile_start(queries, tiles, i),
               count = tile_start(queries, tiles, i + 1) - start;
        const uint8_t *rows = limbs + start * LIMB_BYTES * stride;
        int32_t *to = out + start * PANEL;
        switch (count) {
        case 1:
            word_sums(rows, LIMB_BYTES * stride, 1, panel, missing, to, wanted);
            break;
        case 2:
            word_sums(rows, LIMB_BYTES * stride, 2, panel, missing, to, wanted);
            break;
        default:
            word_sums(rows, LIMB_BYTES * stride, 3, panel, missing, to, wanted);
        }
    }
}
