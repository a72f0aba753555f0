/* Nearest neighbors, a kNN language model (docs/arithmetic.md, section 6.3): positions whose head
 * input was like this one's vote for the tokens that followed them. */
#ifndef LLMZIP_MIXING_NEIGHBORS_H
#define LLMZIP_MIXING_NEIGHBORS_H

#include "mixing_counts.h"
#include "mixing_postings.h"

/* Positions lie in rings of 2^c: position e in slot e mod 2^c. Signatures lie in slices of
 * SLICE_WORDS words. */
struct neighbors {
    size_t mask, width; /* 2^c - 1; d */
    size_t sign_words;  /* of a signature, the signs of the head input */
    size_t words;       /* of a signature; the last is for contexts, but in version 1 */
    int kernel;
    int64_t count;        /* positions so far */
    uint64_t *signatures; /* [slices][2^c][words of the slice] */
    struct postings by_last, by_top;
    struct position {
        int32_t token;
        int32_t surprise;
    } *positions;                                /* [2^c] */
    int64_t trust[DISTANCE_BINS][SHARE_BINS][2]; /* trust, distrust */
    struct counts voted[VOTED_BINS][DOUBT_BINS]; /* by share of votes, and probability */
};

/* Scratch of one thread. */
struct search {
    uint32_t slots[2 * SCANNED];
    int32_t distances[2 * SCANNED];
    uint32_t indices[2 * SCANNED];
    uint32_t near_slots[NEIGHBORS];
    int32_t near_distances[NEIGHBORS];
    uint32_t *histogram; /* [bits of a signature + 1] */
};

/* The nearest positions and their votes. */
struct votes {
    size_t count;
    int32_t tokens[NEIGHBORS], near[NEIGHBORS], nearer[NEIGHBORS], surprises[NEIGHBORS];
};

/* One stream's step. */
struct neighbor_row {
    int32_t last, top; /* the last token, the most likely one */
    size_t found;
    int64_t nearest; /* distance */
    /* A_i, B_i, U_i. */
    int64_t near[CANDIDATES_ROOM], nearer[CANDIDATES_ROOM], surprises[CANDIDATES_ROOM];
    int64_t near_total, nearer_total;
    float share[CANDIDATES_ROOM], odds;
    uint8_t voted_bins[CANDIDATES_ROOM], doubt_bins[CANDIDATES_ROOM];
    int distance_bin, share_bin;
};

void neighbors_new(struct neighbors *neighbors, size_t width, int version);
void neighbors_take(struct neighbors *neighbors, struct arena *arena, int capacity_bits,
                    size_t vocab);
/* The signature of a head input [d], its signs, and of a history [HISTORY]. */
void neighbors_sign(const struct neighbors *neighbors, const int8_t *vector, const int32_t *history,
                    uint64_t *signature);
/* The neighbors of a row whose `last` and `top` are known. */
void neighbors_recall(const struct neighbors *neighbors, const struct kernels *kernels,
                      struct search *search, const uint64_t *signature, struct neighbor_row *row,
                      struct votes *votes);
/* The votes for each of `count` candidates; voted [votes]: the index of each vote's candidate. */
void neighbors_count_votes(struct neighbor_row *row, const struct votes *votes, const size_t *voted,
                           size_t count);
/* FEATURE_SHARE, FEATURE_SURPRISE, FEATURE_VOTED of each candidate; returns the mixer context. */
int neighbors_features(const struct neighbors *neighbors, const struct kernels *kernels,
                       struct neighbor_row *row, const struct candidates *candidates,
                       float (*features)[CANDIDATES_ROOM]);
void neighbors_learn(struct neighbors *neighbors, const struct neighbor_row *rows,
                     const struct candidates *candidates, const struct observation *observations,
                     const uint64_t *signatures, size_t rows_count);

#endif
