/* See mixing_biases.h. */
#include "mixing_biases.h"

void biases_new(struct biases *biases, int version)
{
    biases->hashed_features = version >= 2 ? BIAS_FEATURES - 1 : BIAS_FEATURES - 2;
}

void biases_take(struct biases *biases, struct arena *arena, int capacity_bits, size_t vocab)
{
    biases->shift = 64 - BIAS_SLOTS_BITS - capacity_bits;
    biases->alone = arena_take(arena, vocab * sizeof *biases->alone);
    biases->hashed = arena_take(arena, sizeof *biases->hashed << (BIAS_SLOTS_BITS + capacity_bits));
}

void biases_recall(const struct biases *biases, const int32_t *history, int32_t top,
                   const struct candidates *candidates, struct bias_row *row)
{
    uint64_t last = ((uint64_t)history[0] + 1) * LAST_FACTOR;
    uint64_t before = ((uint64_t)history[1] + 1) * BEFORE_FACTOR;
    uint64_t contexts[] = {last, last + before, ((uint64_t)top + 1) * TOP_FACTOR};
    for (size_t i = 0; i < candidates->count; i++) {
        uint64_t token = ((uint64_t)candidates->tokens[i] + 1) * TOKEN_FACTOR;
        __builtin_prefetch(&biases->alone[candidates->tokens[i]], 1);
        for (int k = 0; k < biases->hashed_features; k++) {
            uint64_t key = token + contexts[k];
            row->slots[k][i] = (uint32_t)(((key ^ key >> 32) * TOKEN_FACTOR) >> biases->shift);
            __builtin_prefetch(&biases->hashed[row->slots[k][i]], 1);
        }
    }
}

void biases_features(const struct biases *biases, const struct kernels *kernels,
                     const struct bias_row *row, const struct candidates *candidates,
                     float (*features)[CANDIDATES_ROOM])
{
    for (size_t i = 0; i < candidates->count; i++)
        features[0][i] = ratio_of(biases->alone[candidates->tokens[i]]);
    for (int k = 0; k < biases->hashed_features; k++)
        for (size_t i = 0; i < candidates->count; i++)
            features[1 + k][i] = ratio_of(biases->hashed[row->slots[k][i]]);
    for (int k = 0; k <= biases->hashed_features; k++)
        kernels->log2(features[k], candidates->count);
}

void biases_learn(struct biases *biases, const struct bias_row *rows,
                  const struct candidates *candidates, const struct observation *observations,
                  size_t rows_count)
{
    for (size_t r = 0; r < rows_count; r++)
        for (size_t i = 0; i < candidates[r].count; i++) {
            int is_observed = observations[r].index == (int)i;
            int64_t expected = expectation(&candidates[r], i);
            count(&biases->alone[candidates[r].tokens[i]], is_observed, expected);
            for (int k = 0; k < biases->hashed_features; k++)
                count(&biases->hashed[rows[r].slots[k][i]], is_observed, expected);
        }
}
