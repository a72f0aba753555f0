/* The mixer (docs/arithmetic.md, section 6): its tables and what is known of a step's rows.
 *
 * Each expert has its own file with the steps of a row: recall (candidates), features (what speaks for each), learn. A
 * further expert is one more such file, called by context_mixer.c. Rows are independent until they are learned. */
#ifndef LLMZIP_MIXING_H
#define LLMZIP_MIXING_H

#include "engine.h"
#include "mixing_constants.h"

/* A stream, and its row of the current step. */
struct row {
    int32_t history[HISTORY]; /* the latest token first */

    size_t count; /* candidates */
    int32_t tokens[MAX_CANDIDATES];
    int32_t before[MAX_CANDIDATES]; /* the model's weights */
    int32_t weights[MAX_CANDIDATES]; /* those, at least 1 */
    float probabilities[MAX_CANDIDATES];
    int64_t total;
    int64_t mixed[MAX_CANDIDATES];
    float features[FEATURES][MAX_CANDIDATES];
    int situations[EXPERTS];

    /* Matches. */
    uint32_t slots[ORDERS], checks[ORDERS];
    int32_t successor; /* -1: no known context */
    int order, run_bin;

    /* Neighbors. */
    int32_t top;
    size_t found;
    int64_t nearest; /* distance */
    int64_t near[MAX_CANDIDATES], nearer[MAX_CANDIDATES], surprises[MAX_CANDIDATES]; /* A_i, B_i, U_i */
    int64_t near_total, nearer_total;
    float share[MAX_CANDIDATES], odds;
    int distance_bin, share_bin;

    /* Biases. */
    uint32_t places[2][MAX_CANDIDATES];
};

/* What came in a row. */
struct outcome {
    int32_t token;
    int place; /* among the candidates, or -1 */
    float probability;
};

/* Hands out parts of one allocation; without a base it only counts. */
struct arena {
    char *base;
    size_t used;
};

static inline void *arena_take(struct arena *arena, size_t bytes)
{
    size_t at = arena->used;
    arena->used = round_up(at + bytes, 64);
    return arena->base ? arena->base + at : NULL;
}

struct match_slot {
    uint32_t check;
    uint32_t token_and_run; /* (token + 1) * 256 + run; 0: empty */
};

struct matches {
    int shift;
    int orders; /* those that fit into the tokens fed */
    struct match_slot *slots;
    int64_t rates[ORDERS][RUN_BINS][2]; /* misses, hits */
};

void matches_place(struct matches *matches, struct arena *arena, int capacity_bits);
void matches_usable(struct matches *matches, int64_t fed); /* before the rows of a step */
void matches_hash(const struct matches *matches, struct row *row);
void matches_recall(const struct matches *matches, struct row *row);
void matches_features(const struct matches *matches, struct row *row);
void matches_learn(struct matches *matches, struct row *rows, const struct outcome *outcomes, size_t count);

/* Positions by one of their tokens, newest first. Those from `first` to `end` - 1 are sorted. */
struct lists {
    size_t vocab, mask;
    int64_t first, end;
    int32_t *tokens;  /* [2^c], by place */
    uint32_t *sorted; /* [2^c]: positions - first, by token and then by age */
    int32_t *others;  /* [2^c], in the same order, or NULL */
    uint32_t *starts; /* [vocab + 2]: where a token's positions start in `sorted` */
};

void lists_place(struct lists *lists, struct arena *arena, int capacity_bits, size_t vocab, int has_others);
/* After positions have been added to `tokens`; others [2^c], by place. */
void lists_learn(struct lists *lists, const int32_t *others, int64_t count);
/* The places of the newest SCANNED positions with this token, less those among them whose other is `except`. */
size_t lists_collect(const struct lists *lists, const int32_t *others, int64_t count, int32_t token, int32_t except,
                     uint32_t *places);

/* Positions lie in rings of 2^c: position e at the place e mod 2^c. Signatures lie in slices of SLICE_WORDS words. */
struct neighbors {
    size_t mask, width, words; /* 2^c - 1; d; of a signature */
    int64_t count;             /* positions so far */
    uint64_t *signatures;      /* [slices][2^c][words of the slice] */
    struct lists by_last, by_top;
    struct position {
        int32_t token;
        int32_t surprise;
    } *positions;                                /* [2^c] */
    int64_t trust[DISTANCE_BINS][SHARE_BINS][2]; /* trust, distrust */
};

/* Scratch of one thread. */
struct search {
    uint32_t places[2 * SCANNED], distances[2 * SCANNED];
    uint32_t *histogram; /* [d + 1] */
};

/* The nearest positions and their votes. */
struct votes {
    size_t count;
    int32_t tokens[NEIGHBORS], near[NEIGHBORS], nearer[NEIGHBORS], surprises[NEIGHBORS];
};

void neighbors_new(struct neighbors *neighbors, size_t width);
void neighbors_place(struct neighbors *neighbors, struct arena *arena, int capacity_bits, size_t vocab);
void neighbors_sign(const struct neighbors *neighbors, const int8_t *vector, uint64_t *signature);
void neighbors_recall(const struct neighbors *neighbors, const struct kernels *kernels, struct search *search,
                       const uint64_t *signature, struct row *row, struct votes *votes);
void neighbors_features(const struct neighbors *neighbors, struct row *row);
void neighbors_learn(struct neighbors *neighbors, const struct row *rows, const struct outcome *outcomes,
                      const uint64_t *signatures, size_t count);

struct biases {
    int shift;
    struct bias {
        int64_t came, expected;
    } *alone, *hashed; /* [vocab], [4 * 2^c] */
};

void biases_place(struct biases *biases, struct arena *arena, int capacity_bits, size_t vocab);
void biases_recall(const struct biases *biases, struct row *row);
void biases_features(const struct biases *biases, struct row *row);
void biases_learn(struct biases *biases, const struct row *rows, const struct outcome *outcomes, size_t count);

struct mixer {
    int64_t weights[EXPERTS][MOST_SITUATIONS][FEATURES];
    int64_t seen[EXPERTS][MOST_SITUATIONS];
};

void mixer_new(struct mixer *mixer);
void mixer_mix(const struct mixer *mixer, struct row *row);
void mixer_learn(struct mixer *mixer, const struct row *rows, const struct outcome *outcomes, size_t count);

#endif
