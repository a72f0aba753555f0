/* Hamming distances of signatures (docs/arithmetic.md, section 6.3). */

/* Prefetched before they are needed: their slots are scattered over the memory. */
#define SIGNATURES_AHEAD 48

static inline __attribute__((always_inline)) void add_distances(const uint64_t *signatures,
                                                                size_t words, const uint64_t *own,
                                                                const uint32_t *slots, size_t count,
                                                                int32_t *sums)
{
    size_t ahead = count < SIGNATURES_AHEAD ? count : SIGNATURES_AHEAD, end = count - ahead;
    for (size_t i = 0; i < ahead; i++)
        __builtin_prefetch(signatures + slots[i] * words);
    size_t i = 0;
#if defined(HAS_VECTOR_POPCOUNT)
    for (; words == SLICE_WORDS && i + ONES_TOGETHER <= end; i += ONES_TOGETHER) {
        const uint64_t *four[ONES_TOGETHER];
        for (size_t j = 0; j < ONES_TOGETHER; j++) {
            four[j] = signatures + slots[i + j] * SLICE_WORDS;
            __builtin_prefetch(signatures + slots[i + j + SIGNATURES_AHEAD] * SLICE_WORDS);
        }
        add_ones(four, own, sums + i);
    }
#endif
    for (; i < count; i++) {
        const uint64_t *signature = signatures + slots[i] * words;
        if (i < end)
            __builtin_prefetch(signatures + slots[i + SIGNATURES_AHEAD] * words);
        uint32_t sum = 0;
        for (size_t w = 0; w < words; w++)
            sum += ones_of(signature[w] ^ own[w]);
        sums[i] += (int32_t)sum;
    }
}

/* The compiler makes a straight line of a full slice, and of what 576 dimensions leave: a word, and
 * one for contexts. */
static void distances(const uint64_t *signatures, size_t words, const uint64_t *own,
                      const uint32_t *slots, size_t count, int32_t *sums)
{
    if (words == SLICE_WORDS)
        add_distances(signatures, SLICE_WORDS, own, slots, count, sums);
    else if (words == 1)
        add_distances(signatures, 1, own, slots, count, sums);
    else if (words == 2)
        add_distances(signatures, 2, own, slots, count, sums);
    else
        add_distances(signatures, words, own, slots, count, sums);
}
