/* One thread in a step, and what it does in each layer. */
#ifndef LLMZIP_WORKER_H
#define LLMZIP_WORKER_H

#include "session.h"

struct worker {
    struct engine *engine;
    struct session *session;
    struct team *team;
    struct attention_scratch *scratch;
    const char *asked; /* the head that was asked for last (struct prefetch) */
    int rank, size;
    unsigned stage;   /* the number of the next one of this step */
    int64_t *profile; /* of the first thread, else NULL */
    int64_t since;
};

void count_time(struct worker *self, enum phase phase);
void synchronize(struct worker *self);

/* What is done with a row between two products. */
typedef void row_function(struct worker *self, const float *x, size_t r);
typedef void range_function(struct worker *self, const void *job, size_t first, size_t last);

/* Into how many chunks for each thread the work on so many rows is best divided. */
size_t chunks_for(size_t rows);
/* All of `items`, in `per_thread` chunks for each thread, by all of the team; then `last` with row
 * 0 (or NULL). */
void for_items(struct worker *self, size_t items, size_t per_thread, range_function *function,
               const void *job, row_function *last, const float *x);
/* A function of each row, by all of the team. */
void for_rows(struct worker *self, size_t rows, row_function *function, const float *x);

enum output {
    PRODUCT,        /* without the rows' scales */
    SCALED_PRODUCT, /* times them */
    ADDED_PRODUCT,  /* the same, added to what is there */
};

/* This worker's columns of a product of the team's quantized rows; wide: of rows of 16 bits. */
void product(struct worker *self, const struct matrix *w, size_t rows, float *out, size_t stride,
             enum output output, int wide);
/* Rows of the residual to the team's quantized rows and scales (section 4.2). */
void normalize_rows(struct worker *self, const float *x, size_t rows);
/* From the team's qkv to its quantized rows and scales (sections 4.3 to 4.5). */
void attention(struct worker *self, size_t layer, size_t first, size_t streams);

/* A layer of a decoder with features (section 4.9) for `streams` streams from `first` on. */
void forward_featured(struct worker *self, size_t layer, size_t first, size_t streams);

#endif
