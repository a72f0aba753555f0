/* Hamming distances of signatures (docs/arithmetic.md, section 6.3). */

static void distances(const uint64_t *signatures, size_t words, const uint64_t *own, const uint32_t *places,
                      size_t count, uint32_t *out)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t *signature = signatures + places[i] * words;
        uint32_t sum = 0;
        for (size_t w = 0; w < words; w++)
            sum += ones_of(signature[w] ^ own[w]);
        out[i] = sum;
    }
}
