/* A loaded model: packed matrices, kernels and threads. */
#ifndef LLMZIP_ENGINE_H
#define LLMZIP_ENGINE_H

#include "experts.h"
#include "kernels.h"
#include "native.h"
#include "pool.h"

/* Rows that go through a layer together: their activations stay in the second-level cache. */
#define ROW_BLOCK 64

/* Biases and gains of a layer with features, padded with zeros like the rows they belong to. */
struct layer_vectors {
    float *all; /* the allocation */
    float *qkv_bias, *o_bias, *gate_up_bias, *down_bias;
    float *q_norm, *k_norm; /* [H * D], [G * D] */
    float *o_norm, *down_norm;
    int has_o_bias, has_down_bias;
};

struct layer {
    struct matrix qkv, o, gate_up, down;
    struct experts experts; /* in the place of gate_up and down */
    int has_experts;
    struct layer_vectors vectors;
    size_t view;   /* the number of its views in a session */
    unsigned wide; /* which of its products have inputs of 16 bits, see native.h */
};

/* What the layers of a decoder see of positions: each differing pair once. */
struct view_kind {
    int32_t rope_table; /* -1: no rotary positions */
    int32_t local;      /* see struct view */
};

struct engine {
    struct spec spec;
    int is_share; /* of an engine that owns what they share: all but pool and profile */
    const struct kernels *kernels;
    struct pool *pool;
    const int8_t *embedding;      /* [V, d] */
    const float *embedding_scale; /* [V] */
    const int16_t *rope;          /* [positions, 2, D/2] */
    struct layer *layers;
    struct matrix head;
    size_t width;       /* d, rounded up to INPUT_UNIT like the following */
    size_t inner;       /* F */
    size_t heads;       /* H * D */
    size_t gate_stride; /* between rows of gates and ups */
    size_t buckets;     /* of the vocabulary */
    size_t row_block;   /* rows that go through a layer together */
    struct expert_sizes experts;
    float *zeros; /* as many as a row of anything is wide; with features only */
    float inverse_width;
    /* Of decoders with features. */
    const int8_t *positions; /* [positions, d], or NULL */
    const float *positions_scale;
    float *head_bias; /* [buckets * BUCKET_SIZE], or NULL */
    struct soft_cap head_cap;
    int finishes_head;       /* whether the head has a bias or a cap */
    struct view_kind *views; /* [views_count] */
    size_t views_count;
    int64_t profile[PHASES];
};

/* Room for the vectors of all layers of a decoder with features. 0: out of memory. */
int features_new(struct engine *engine);
struct soft_cap features_score_cap(const struct spec *spec);
void features_free(struct engine *engine);

/* Whether a product of a layer has inputs of 16 bits. */
static inline int is_wide(const struct layer *layer, enum wide product)
{
    return layer->wide >> product & 1;
}

/* Nanoseconds on a steady clock. */
int64_t engine_clock(void);

/* The first item of partition `rank` when `total` items are partitioned among `ranks`; of `ranks`
 * itself: `total`. */
static inline size_t partition(size_t total, int rank, int ranks)
{
    return total * (size_t)rank / (size_t)ranks;
}

#endif
