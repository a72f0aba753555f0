/* Adaptive biases (docs/arithmetic.md, section 6.4): how much more often a token came than the
 * model expected. */
#ifndef LLMZIP_MIXING_BIASES_H
#define LLMZIP_MIXING_BIASES_H

#include "arena.h"
#include "mixing_counts.h"

/* Of the token alone, after one and two tokens, and by the most likely token. */
#define BIAS_FEATURES (FEATURE_ONE - FEATURE_BIAS)

struct biases {
    int shift;
    int hashed_features;           /* one less in version 1 */
    struct counts *alone, *hashed; /* [vocab], [4 * 2^c] */
};

/* One stream's step. */
struct bias_row {
    uint32_t slots[BIAS_FEATURES - 1][CANDIDATES_ROOM];
};

void biases_take(struct biases *biases, struct arena *arena, int capacity_bits, size_t vocab);
void biases_new(struct biases *biases, int version);
/* The slots of the candidates' contexts, which are prefetched; history [HISTORY], the latest token
 * first; top: the most likely token. */
void biases_recall(const struct biases *biases, const int32_t *history, int32_t top,
                   const struct candidates *candidates, struct bias_row *row);
void biases_features(const struct biases *biases, const struct kernels *kernels,
                     const struct bias_row *row, const struct candidates *candidates,
                     float (*features)[CANDIDATES_ROOM]);
void biases_learn(struct biases *biases, const struct bias_row *rows,
                  const struct candidates *candidates, const struct observation *observations,
                  size_t rows_count);

#endif
