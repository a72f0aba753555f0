/* The match model (docs/arithmetic.md, section 6.2): what followed the longest known context. */
#ifndef LLMZIP_MIXING_MATCHES_H
#define LLMZIP_MIXING_MATCHES_H

#include "arena.h"
#include "mixing_step.h"

struct match_slot {
    uint32_t check;
    uint32_t token_and_run; /* (token + 1) * 256 + run; 0: empty */
};

struct matches {
    int shift;
    int usable_orders; /* those that fit into the tokens fed */
    struct match_slot *slots;
    int64_t rates[ORDER_COUNT][RUN_BINS][2]; /* misses, hits */
};

/* One stream's step. */
struct match_row {
    uint32_t slots[ORDER_COUNT], checks[ORDER_COUNT];
    int32_t successor; /* -1: no known context */
    int order, run_bin;
};

void matches_take(struct matches *matches, struct arena *arena, int capacity_bits);
/* Before the rows of a step. */
void matches_begin_step(struct matches *matches, int64_t fed);
/* The slots of the row's contexts, which are prefetched; history [HISTORY]: latest first. */
void matches_hash(const struct matches *matches, const int32_t *history, struct match_row *row);
/* The successor; returns the mixer context. */
int matches_recall(const struct matches *matches, struct match_row *row);
void matches_features(const struct matches *matches, const struct match_row *row,
                      const struct candidates *candidates, float *features);
/* The share of hits among successors like the row's, 0 to 1. */
float matches_chance(const struct matches *matches, const struct match_row *row);
void matches_learn(struct matches *matches, const struct match_row *rows,
                   const struct observation *observations, size_t count);

#endif
