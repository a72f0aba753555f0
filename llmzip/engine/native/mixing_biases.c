/* Section 6.4: how much more often a token came than the model expected. */
#include "context_mixer.h"
#include "mixing_math.h"

void biases_place(struct biases *biases, struct arena *arena, int capacity_bits, size_t vocab)
{
    biases->shift = 64 - BIAS_SLOTS_BITS - capacity_bits;
    biases->alone = arena_take(arena, vocab * sizeof *biases->alone);
    biases->hashed = arena_take(arena, sizeof *biases->hashed << (BIAS_SLOTS_BITS + capacity_bits));
}

/* Where the candidates' contexts have their counts; asks for them. */
void biases_recall(const struct biases *biases, struct row *row)
{
    uint64_t last = ((uint64_t)row->history[0] + 1) * LAST_FACTOR;
    uint64_t before = ((uint64_t)row->history[1] + 1) * BEFORE_FACTOR;
    for (size_t i = 0; i < row->count; i++) {
        uint64_t key = ((uint64_t)row->tokens[i] + 1) * TOKEN_FACTOR + last;
        __builtin_prefetch(&biases->alone[row->tokens[i]], 1);
        for (int k = 0; k < 2; k++, key += before) {
            row->places[k][i] = (uint32_t)(((key ^ key >> 32) * TOKEN_FACTOR) >> biases->shift);
            __builtin_prefetch(&biases->hashed[row->places[k][i]], 1);
        }
    }
}

static float excess(struct bias bias) { return log2_of((float)(bias.came + BIAS_UNIT) / (float)(bias.expected + BIAS_UNIT)); }

void biases_features(const struct biases *biases, struct row *row)
{
    row->situations[EXPERT_BIASES] = 0;
    for (size_t i = 0; i < row->count; i++) {
        row->features[FEATURE_BIAS][i] = excess(biases->alone[row->tokens[i]]);
        row->features[FEATURE_BIAS + 1][i] = excess(biases->hashed[row->places[0][i]]);
        row->features[FEATURE_BIAS + 2][i] = excess(biases->hashed[row->places[1][i]]);
    }
}

static void add(struct bias *bias, int64_t came, int64_t expected)
{
    bias->came += came;
    bias->expected += expected;
}

void biases_learn(struct biases *biases, const struct row *rows, const struct outcome *outcomes, size_t count)
{
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < rows[r].count; i++) {
            int64_t came = outcomes[r].place == (int)i ? BIAS_UNIT : 0;
            int64_t expected = llrintf(smaller_of(rows[r].probabilities[i], 1.0f) * (float)BIAS_UNIT);
            add(&biases->alone[rows[r].tokens[i]], came, expected);
            add(&biases->hashed[rows[r].places[0][i]], came, expected);
            add(&biases->hashed[rows[r].places[1][i]], came, expected);
        }
}
