/* See mixing_matches.h. Contexts are hashed; a slot holds a context's last successor and its run of
 * successes. */
#include "mixing_matches.h"

#include "mixing_math.h"

static const int orders[ORDER_COUNT] = ORDERS;

void matches_take(struct matches *matches, struct arena *arena, int capacity_bits)
{
    matches->shift = 64 - MATCH_SLOTS_BITS - capacity_bits;
    matches->slots =
        arena_take(arena, sizeof *matches->slots << (MATCH_SLOTS_BITS + capacity_bits));
}

void matches_begin_step(struct matches *matches, int64_t fed)
{
    matches->usable_orders = 0;
    while (matches->usable_orders < ORDER_COUNT && orders[matches->usable_orders] <= fed)
        matches->usable_orders++;
}

void matches_hash(const struct matches *matches, const int32_t *history, struct match_row *row)
{
    uint64_t key = 0;
    for (int i = 0, k = 0; i < HISTORY; i++) {
        key = (key ^ ((uint64_t)history[i] + 1)) * HASH_FACTOR;
        key ^= key >> HASH_SHIFT;
        if (i + 1 == orders[k]) {
            row->slots[k] = (uint32_t)(key >> matches->shift);
            row->checks[k] = (uint32_t)key;
            __builtin_prefetch(&matches->slots[row->slots[k]], 1);
            k++;
        }
    }
}

int matches_recall(const struct matches *matches, struct match_row *row)
{
    row->successor = -1;
    for (int k = matches->usable_orders - 1; k >= 0; k--) {
        struct match_slot slot = matches->slots[row->slots[k]];
        if (slot.token_and_run && slot.check == row->checks[k]) {
            int run = (int)(slot.token_and_run % 256);
            int bin = run < SHORT_RUNS ? run : SHORT_RUNS + (run - SHORT_RUNS) / SHORT_RUNS;
            row->successor = (int32_t)(slot.token_and_run / 256) - 1;
            row->order = k;
            row->run_bin = bin < RUN_BINS ? bin : RUN_BINS - 1;
            return 1 + k;
        }
    }
    return 0;
}

void matches_features(const struct matches *matches, const struct match_row *row,
                      const struct candidates *candidates, float *features)
{
    for (size_t i = 0; i < candidates->count; i++) {
        features[i] = 0.0f;
        if (candidates->tokens[i] == row->successor) {
            const int64_t *rate = matches->rates[row->order][row->run_bin];
            float odds = (float)(RATE_FACTOR * rate[1] + RATE_PRIOR) /
                         (float)(RATE_FACTOR * rate[0] + RATE_PRIOR);
            int32_t weight = candidates->weights[i];
            float model_odds = (float)weight / (float)(candidates->total - weight + 1);
            features[i] = log2_of(odds) - log2_of(model_odds);
        }
    }
}

float matches_chance(const struct matches *matches, const struct match_row *row)
{
    const int64_t *rate = matches->rates[row->order][row->run_bin];
    return (float)(RATE_FACTOR * rate[1] + RATE_PRIOR) /
           (float)(RATE_FACTOR * (rate[0] + rate[1]) + 2 * RATE_PRIOR);
}

static void count_successes(struct matches *matches, const struct match_row *rows,
                            const struct observation *observations, size_t count)
{
    for (size_t r = 0; r < count; r++)
        if (rows[r].successor >= 0)
            matches->rates[rows[r].order][rows[r].run_bin]
                          [rows[r].successor == observations[r].token]++;
    for (int k = 0; k < ORDER_COUNT; k++)
        for (int bin = 0; bin < RUN_BINS; bin++) {
            int64_t *rate = matches->rates[k][bin];
            if (rate[0] + rate[1] > RATE_LIMIT) {
                rate[0] >>= 1;
                rate[1] >>= 1;
            }
        }
}

void matches_learn(struct matches *matches, const struct match_row *rows,
                   const struct observation *observations, size_t count)
{
    count_successes(matches, rows, observations, count);
    for (size_t r = 0; r < count; r++)
        for (int k = 0; k < matches->usable_orders; k++) {
            struct match_slot *slot = &matches->slots[rows[r].slots[k]];
            uint32_t first = ((uint32_t)observations[r].token + 1) * 256, now = slot->token_and_run;
            if (slot->check != rows[r].checks[k] || now - now % 256 != first)
                *slot = (struct match_slot){rows[r].checks[k], first};
            else if (now % 256 < MAX_RUN)
                slot->token_and_run++;
        }
}
