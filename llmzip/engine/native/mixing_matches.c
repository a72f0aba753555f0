/* Section 6.2. Contexts are hashed; a slot holds the last successor of a context and its run of successes. */
#include "context_mixer.h"
#include "mixing_math.h"

static const int lengths[ORDERS] = ORDER_LENGTHS;

void matches_place(struct matches *matches, struct arena *arena, int capacity_bits)
{
    matches->shift = 64 - MATCH_SLOTS_BITS - capacity_bits;
    matches->slots = arena_take(arena, sizeof *matches->slots << (MATCH_SLOTS_BITS + capacity_bits));
}

void matches_usable(struct matches *matches, int64_t fed)
{
    matches->orders = 0;
    while (matches->orders < ORDERS && lengths[matches->orders] <= fed)
        matches->orders++;
}

/* Where the row's contexts have their slots; asks for them. */
void matches_hash(const struct matches *matches, struct row *row)
{
    uint64_t key = 0;
    for (int i = 0, order = 0; i < HISTORY; i++) {
        key = (key ^ ((uint64_t)row->history[i] + 1)) * HASH_FACTOR;
        key ^= key >> HASH_SHIFT;
        if (i + 1 == lengths[order]) {
            row->slots[order] = (uint32_t)(key >> matches->shift);
            row->checks[order] = (uint32_t)key;
            __builtin_prefetch(&matches->slots[row->slots[order]], 1);
            order++;
        }
    }
}

void matches_recall(const struct matches *matches, struct row *row)
{
    row->successor = -1;
    row->situations[EXPERT_MATCHES] = 0;
    for (int order = matches->orders - 1; order >= 0; order--) {
        struct match_slot slot = matches->slots[row->slots[order]];
        if (slot.token_and_run && slot.check == row->checks[order]) {
            int run = (int)(slot.token_and_run % 256), bin = run < 8 ? run : 8 + (run - 8) / 8;
            row->successor = (int32_t)(slot.token_and_run / 256) - 1;
            row->order = order;
            row->run_bin = bin < RUN_BINS ? bin : RUN_BINS - 1;
            row->situations[EXPERT_MATCHES] = 1 + order;
            return;
        }
    }
}

void matches_features(const struct matches *matches, struct row *row)
{
    for (size_t i = 0; i < row->count; i++) {
        row->features[FEATURE_MATCH][i] = 0.0f;
        if (row->tokens[i] == row->successor) {
            const int64_t *rate = matches->rates[row->order][row->run_bin];
            float odds = (float)(5 * rate[1] + 4) / (float)(5 * rate[0] + 4);
            float model = (float)row->weights[i] / (float)(row->total - row->weights[i] + 1);
            row->features[FEATURE_MATCH][i] = log2_of(odds) - log2_of(model);
        }
    }
}

static void count_successes(struct matches *matches, const struct row *rows, const struct outcome *outcomes,
                            size_t count)
{
    for (size_t r = 0; r < count; r++)
        if (rows[r].successor >= 0)
            matches->rates[rows[r].order][rows[r].run_bin][rows[r].successor == outcomes[r].token]++;
    for (int order = 0; order < ORDERS; order++)
        for (int bin = 0; bin < RUN_BINS; bin++) {
            int64_t *rate = matches->rates[order][bin];
            if (rate[0] + rate[1] > RATE_LIMIT) {
                rate[0] >>= 1;
                rate[1] >>= 1;
            }
        }
}

void matches_learn(struct matches *matches, struct row *rows, const struct outcome *outcomes, size_t count)
{
    count_successes(matches, rows, outcomes, count);
    for (size_t r = 0; r < count; r++)
        for (int order = 0; order < matches->orders; order++) {
            struct match_slot *slot = &matches->slots[rows[r].slots[order]];
            uint32_t first = ((uint32_t)outcomes[r].token + 1) * 256, now = slot->token_and_run;
            if (slot->check != rows[r].checks[order] || now - now % 256 != first)
                *slot = (struct match_slot){rows[r].checks[order], first};
            else if (now % 256 < MAX_RUN)
                slot->token_and_run++;
        }
}
