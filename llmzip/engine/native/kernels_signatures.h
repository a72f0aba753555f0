/* Hamming distances of signatures (docs/arithmetic.md, section 6.3). */

/* Prefetched before they are needed: their slots are scattered over the memory. */
#define SIGNATURES_AHEAD 48

static inline void add_distances(const uint64_t *signatures, size_t words, const uint64_t *own,
                                 const uint32_t *slots, size_t count, uint32_t *sums)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t *signature = signatures + slots[i] * words;
        size_t ahead = i + SIGNATURES_AHEAD < count ? i + SIGNATURES_AHEAD : count - 1;
        __builtin_prefetch(signatures + slots[ahead] * words);
        uint32_t sum = 0;
        for (size_t w = 0; w < words; w++)
            sum += ones_of(signature[w] ^ own[w]);
        sums[i] += sum;
    }
}

/* The compiler makes a straight line of a full slice, and of the single word that 576 dimensions
 * leave. */
static void distances(const uint64_t *signatures, size_t words, const uint64_t *own,
                      const uint32_t *slots, size_t count, uint32_t *sums)
{
    if (words == SLICE_WORDS)
        add_distances(signatures, SLICE_WORDS, own, slots, count, sums);
    else if (words == 1)
        add_distances(signatures, 1, own, slots, count, sums);
    else
        add_distances(signatures, words, own, slots, count, sums);
}
