/* The range coder (docs/format.md, "Range coder"): Martin 1979, with 32-bit words and a state of 64
 * bits. What a coder knows lies in an array of the caller's. */
#include <stddef.h>

#include "arithmetic_constants.h"
#include "native.h"

#define WORD_BITS 32
#define SIDE 16 /* symbols that are looked at together */

enum { LOWER, RANGE, WORDS, POINT }; /* the state; words: written or read so far */

/* The sum of `count` frequencies. */
static inline uint32_t sum_of(const uint32_t *frequencies, size_t count)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += frequencies[i];
    return sum;
}

/* The symbol in whose interval the quantile lies, and where that begins; `count` where it lies in
 * none. */
static size_t symbol_at(const uint32_t *frequencies, size_t count, uint32_t quantile,
                        uint32_t *start)
{
    uint32_t begin = 0, sum;
    size_t i = 0;
    for (; i + SIDE <= count; i += SIDE, begin += sum)
        if (quantile - begin < (sum = sum_of(frequencies + i, SIDE)))
            break;
    for (; i < count && quantile - begin >= frequencies[i]; i++)
        begin += frequencies[i];
    *start = begin;
    return i;
}

/* Add one to the number that the words written so far say. */
static void carry(uint32_t *words, uint64_t count)
{
    while (count && ++words[--count] == 0)
        ;
}

int llmzip_range_encode(uint64_t *state, uint32_t *words, const int32_t *symbols,
                        const uint32_t *frequencies, int rows, int count)
{
    for (int r = 0; r < rows; r++, frequencies += count) {
        if (symbols[r] < 0 || symbols[r] >= count)
            return LLMZIP_BAD_ARGUMENT;
        uint64_t scale = state[RANGE] >> FREQUENCY_BITS, before = state[LOWER];
        state[LOWER] += scale * sum_of(frequencies, (size_t)symbols[r]);
        state[RANGE] = scale * frequencies[symbols[r]];
        if (state[LOWER] < before)
            carry(words, state[WORDS]);
        if (state[RANGE] >> WORD_BITS == 0) {
            words[state[WORDS]++] = (uint32_t)(state[LOWER] >> WORD_BITS);
            state[LOWER] <<= WORD_BITS;
            state[RANGE] <<= WORD_BITS;
        }
    }
    return LLMZIP_OK;
}

int llmzip_range_decode(uint64_t *state, const uint32_t *words, int length,
                        const uint32_t *frequencies, int rows, int count, int32_t *symbols)
{
    for (int r = 0; r < rows; r++, frequencies += count) {
        uint64_t scale = state[RANGE] >> FREQUENCY_BITS,
                 quantile = (state[POINT] - state[LOWER]) / scale;
        uint32_t start = 0;
        size_t symbol = (size_t)count;
        if (quantile >> FREQUENCY_BITS == 0)
            symbol = symbol_at(frequencies, (size_t)count, (uint32_t)quantile, &start);
        if (symbol == (size_t)count)
            return r;
        symbols[r] = (int32_t)symbol;
        state[LOWER] += scale * start;
        state[RANGE] = scale * frequencies[symbol];
        if (state[RANGE] >> WORD_BITS == 0) {
            uint32_t word = state[WORDS] < (uint64_t)length ? words[state[WORDS]] : 0;
            state[WORDS]++;
            state[LOWER] <<= WORD_BITS;
            state[RANGE] <<= WORD_BITS;
            state[POINT] = state[POINT] << WORD_BITS | word;
        }
    }
    return rows;
}

void llmzip_range_decode_parts(uint64_t *const *states, const uint32_t *const *words,
                               const int32_t *lengths, const int32_t *firsts, const int32_t *counts,
                               int parts, const uint32_t *frequencies, int count, int32_t *symbols,
                               int32_t *known)
{
    for (int p = 0; p < parts; p++)
        known[p] = llmzip_range_decode(states[p], words[p], lengths[p],
                                       frequencies + (size_t)firsts[p] * (size_t)count, counts[p],
                                       count, symbols + firsts[p]);
}
