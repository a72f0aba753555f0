/* A loaded model: packed matrices, kernels and threads. */
#ifndef LLMZIP_ENGINE_H
#define LLMZIP_ENGINE_H

#include "kernels.h"
#include "native.h"
#include "pool.h"

struct layer {
    struct matrix qkv, o, gate_up, down;
};

struct engine {
    struct spec spec;
    const struct kernels *kernels;
    struct pool *pool;
    const int8_t *embedding;      /* [V, d] */
    const float *embedding_scale; /* [V] */
    const int16_t *rope;          /* [positions, 2, D/2] */
    struct layer *layers;
    struct matrix head;
    size_t width;   /* d, rounded up to INPUT_UNIT like the following */
    size_t inner;   /* F */
    size_t heads;   /* H * D */
    size_t buckets; /* of the vocabulary */
    float inverse_width;
    int64_t profile[PHASES];
};

/* Nanoseconds on a steady clock. */
int64_t engine_clock(void);

/* The first item of partition `rank` when `total` items are partitioned among `ranks`; of `ranks`
 * itself: `total`. */
static inline size_t partition(size_t total, int rank, int ranks)
{
    return total * (size_t)rank / (size_t)ranks;
}

#endif
