/* See mixing_biases.h. */
#include "mixing_biases.h"

#include "mixing_math.h"

void biases_take(struct biases *biases, struct arena *arena, int capacity_bits, size_t vocab)
{
    biases->shift = 64 - BIAS_SLOTS_BITS - capacity_bits;
    biases->alone = arena_take(arena, vocab * sizeof *biases->alone);
    biases->hashed = arena_take(arena, sizeof *biases->hashed << (BIAS_SLOTS_BITS + capacity_bits));
}

void biases_recall(const struct biases *biases, const int32_t *history,
                   const struct candidates *candidates, struct bias_row *row)
{
    uint64_t last = ((uint64_t)history[0] + 1) * LAST_FACTOR;
    uint64_t before = ((uint64_t)history[1] + 1) * BEFORE_FACTOR;
    for (size_t i = 0; i < candidates->count; i++) {
        uint64_t key = ((uint64_t)candidates->tokens[i] + 1) * TOKEN_FACTOR + last;
        __builtin_prefetch(&biases->alone[candidates->tokens[i]], 1);
        for (int k = 0; k < BIAS_FEATURES - 1; k++, key += before) {
            row->slots[k][i] = (uint32_t)(((key ^ key >> 32) * TOKEN_FACTOR) >> biases->shift);
            __builtin_prefetch(&biases->hashed[row->slots[k][i]], 1);
        }
    }
}

static float excess(struct bias bias)
{
    return log2_of((float)(bias.observed + BIAS_UNIT) / (float)(bias.expected + BIAS_UNIT));
}

void biases_features(const struct biases *biases, const struct bias_row *row,
                     const struct candidates *candidates, float (*features)[MAX_CANDIDATES])
{
    for (size_t i = 0; i < candidates->count; i++) {
        features[0][i] = excess(biases->alone[candidates->tokens[i]]);
        features[1][i] = excess(biases->hashed[row->slots[0][i]]);
        features[2][i] = excess(biases->hashed[row->slots[1][i]]);
    }
}

static void add(struct bias *bias, int64_t observed, int64_t expected)
{
    bias->observed += observed;
    bias->expected += expected;
}

void biases_learn(struct biases *biases, const struct bias_row *rows,
                  const struct candidates *candidates, const struct observation *observations,
                  size_t count)
{
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < candidates[r].count; i++) {
            int64_t observed = observations[r].index == (int)i ? BIAS_UNIT : 0;
            int64_t expected =
                llrintf(smaller_of(candidates[r].probabilities[i], 1.0f) * (float)BIAS_UNIT);
            add(&biases->alone[candidates[r].tokens[i]], observed, expected);
            add(&biases->hashed[rows[r].slots[0][i]], observed, expected);
            add(&biases->hashed[rows[r].slots[1][i]], observed, expected);
        }
}
