/* The single-threaded kernels, compiled once per instruction set, and the data that they work on.
 *
 * Everything is exact as docs/arithmetic.md says: integer sums in any order, float steps in the
 * written order. */
#ifndef LLMZIP_KERNELS_H
#define LLMZIP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "arithmetic_constants.h"
#include "mixing_layout.h"
#include "native.h"

#if defined(__FAST_MATH__) || (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0)
#error "the engine needs IEEE-754 float arithmetic: no -ffast-math, no x87"
#endif

/* Kernels that not every compiler and target can build; dispatch.c asks the processor. */
#if defined(__x86_64__) && defined(__linux__) && __has_include(<amxint8intrin.h>) /* the same */
#define HAS_AMX_KERNELS
#endif
#if defined(__x86_64__) && __has_include(<avxvnniintrin.h>) /* GCC 11, Clang 12 */
#define HAS_AVXVNNI_KERNELS
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define HAS_DOTPROD_KERNELS
#if (defined(__clang__) && __clang_major__ >= 11) || (!defined(__clang__) && __GNUC__ >= 10)
#define HAS_I8MM_KERNELS
#endif
#endif

#define PANEL 32 /* columns of a packed panel */
#define CACHE_LINE 64
#define INPUT_UNIT 64 /* a product's inputs are padded to a multiple of it: a row of a tile */
#define SINK_TOKENS 4 /* the first positions of a stream stay visible for ever */
#define QUERY_TILE 8  /* queries that attention takes at a time, at most */
#define MAX_HEAD_DIM 1040
#define SLICE_WORDS 8 /* of a signature: a cache line */

static inline size_t round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static inline size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* int8 weights [N, K] in panels of 32 columns n: [N/32][K/4][32][4], so that a vector, or a row of
 * a tile, holds groups of four k. Activations are stored as x + 128 (uint8); `correction` is -128
 * times each column's sum. Padding is zero. */
struct matrix {
    size_t columns; /* N, a multiple of PANEL */
    size_t groups;  /* K / 4, K rounded up to INPUT_UNIT */
    int8_t *packed;
    int32_t *correction; /* [N] */
    float *scale;        /* [N] */
    int has_lowest;      /* whether some weight is -128, which not every kernel takes */
};

/* Rows of quantized activations: uint8 x + 128, `stride` bytes apart. */
struct rows {
    const uint8_t *data;
    size_t stride;
    size_t count;
};

/* Keys and values of one stream and one key/value head, in blocks of 32 positions, which lie one
 * after the other: the first ones where another session lends them, the others in `blocks`. */
struct head_cache {
    char *blocks;
    float *largest; /* the largest value scale of the positions so far */
    char *lent;     /* which nobody writes to */
    size_t borrowed;
};

/* One block of the cache. */
struct cache_block {
    int8_t *keys;        /* [D/4][32][4]: a panel whose columns are positions */
    int8_t *values;      /* [D/32][8][32][4]: panels whose columns are dimensions */
    float *key_scales;   /* [32] */
    float *value_scales; /* [32] */
    int32_t *key_sums;   /* [32], -128 times the key's sum */
};

static inline size_t block_bytes(size_t head_size)
{
    return PANEL * (round_up(head_size, 4) + round_up(head_size, PANEL) + 3 * 4);
}

static inline struct cache_block cache_block(const struct head_cache *cache, size_t head_size,
                                             size_t index)
{
    char *keys = index < cache->borrowed
                     ? cache->lent + index * block_bytes(head_size)
                     : cache->blocks + (index - cache->borrowed) * block_bytes(head_size);
    char *values = keys + PANEL * round_up(head_size, 4);
    float *scales = (float *)(void *)(values + PANEL * round_up(head_size, PANEL));
    return (struct cache_block){(int8_t *)keys, (int8_t *)values, scales, scales + PANEL,
                                (int32_t *)(void *)(scales + 2 * PANEL)};
}

/* What will be read soon. Kernels ask for some bytes of it between their own loads, so that the
 * memory works while they compute: evenly, because the processor drops requests that come in
 * bursts, and into the second-level cache, whose queue is longer than that of the first. With
 * nothing left, `next` must still be an address. */
struct prefetch {
    const char *next, *end;
    size_t pace; /* bytes per group of four k of a tile */
};

/* `bytes` from there on. */
static inline struct prefetch bytes_from(const void *from, size_t bytes)
{
    return (struct prefetch){from, (const char *)from + bytes, CACHE_LINE};
}

static inline struct prefetch wanted_panel(const struct matrix *w, size_t panel)
{
    size_t bytes = w->groups * 4 * PANEL;
    return panel < w->columns / PANEL ? bytes_from(w->packed + panel * bytes, bytes)
                                      : bytes_from(w->packed, 0);
}

/* Asks for `bytes`, a constant after inlining; for none if fewer are left. Less than a line asks
 * for the same one several times, which costs no more than an instruction. */
static inline __attribute__((always_inline)) void request(struct prefetch *wanted, size_t bytes)
{
    size_t step = (size_t)(wanted->end - wanted->next) < bytes ? 0 : bytes;
    for (size_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch(wanted->next + (step ? i : 0), 0, 2);
    wanted->next += step;
}

/* The slots of a step's new positions, and the positions that they see; the same for all streams,
 * heads and layers. */
struct view {
    size_t count;  /* T new positions */
    int32_t first; /* the first of them */
    int32_t window;
    int32_t local;            /* how many positions the layer sees, INT32_MAX: all */
    size_t skipped;           /* panels of slots before all that are seen; see session.c */
    size_t used;              /* slots in use, rounded up to PANEL */
    size_t slots;             /* slots of a cache, a multiple of PANEL */
    const int32_t *slot;      /* [T] */
    const int32_t *positions; /* [slots], INT32_MAX where empty */
    /* [T][slots/32]: 1 where a panel of positions is not visible as a whole. */
    const uint8_t *partial;
    const float *rope; /* [T][2][D/2 rounded up to PANEL] */
};

/* Section 4.4. */
static inline int is_visible(int32_t position, int32_t query, int32_t window, int32_t local)
{
    /* Without branches, so that a compiler makes vectors of it. */
    return (position <= query) & ((position > query - window) | (position < SINK_TOKENS)) &
           (position > query - local);
}

/* What keeps numbers within +-cap (section 4.9); cap 0: nothing. */
struct soft_cap {
    float cap, steepness;
};

struct head_shape {
    size_t heads, groups, size; /* H, G, D */
    size_t key_rotation;        /* block size of the rotation of queries and keys; 1: none */
    struct soft_cap cap;        /* of scores */
};

/* Scratch of one thread. */
struct attention_scratch {
    float *scores;       /* [QUERY_TILE][slots] */
    uint8_t *limbs;      /* [2 * QUERY_TILE][slots] */
    uint8_t *queries;    /* [T * H/G][D rounded up] */
    float *query_scales; /* [T * H/G] */
    float *head;         /* [2 * (D/2 rounded up)] */
};

/* Attention of one stream and one key/value head. */
struct head_rows {
    struct head_cache cache;
    int fresh; /* whether nobody has asked for the cache (struct prefetch) */
    size_t group;
    const float *qkv; /* [T, qkv_stride] */
    size_t qkv_stride;
    const float *row_scale; /* [T] */
    float *bounds;          /* [T], the largest value scale up to each new position */
    float *out;             /* [T, out_stride] */
    size_t out_stride;
};

struct kernels {
    const char *name;
    /* Fewer rows read the weights more often than the processor computes with them: then threads
     * rather share a product than each have their own rows. */
    size_t rows_per_thread;
    /* out[m][n] = f32(sum) * scale[n] for the panels [first, last); with `row_scale`, out += that *
     * row_scale[m]. `after`: the panel that is likely to be read then, if there is one. */
    void (*multiply)(const struct matrix *w, struct rows a, size_t first, size_t last, size_t after,
                     float *out, size_t stride, const float *row_scale);
    /* Row to uint8 q + 128; returns the row's maximum. n is a multiple of PANEL. */
    float (*quantize)(const float *x, size_t n, uint8_t *q);
    /* Section 4.2: returns s. */
    float (*normalize)(const float *x, size_t n, float inverse_width, float epsilon, uint8_t *q);
    /* Section 4.6 between the products; gate is overwritten. Returns the row scale of the product
     * with `down`. */
    float (*gate)(float *gate, const float *up, size_t n, size_t rotation, float scale, uint8_t *q);
    /* Section 4.9, for decoders with features. y = y * scale + bias; n is a multiple of PANEL. */
    void (*scale_and_shift)(float *y, size_t n, float scale, const float *bias);
    /* y [n] normalized, times gain. */
    void (*gain_norm)(float *y, size_t n, float epsilon, const float *gain);
    /* x += the normalized y, rotated by blocks; both [n], a multiple of PANEL, of which d count. */
    void (*add_normed)(float *y, size_t n, size_t d, float epsilon, const float *gain,
                       size_t rotation, float *x);
    /* x [n] = cap(x * scale + bias), where bias may be NULL; n is a multiple of PANEL. */
    void (*finish)(float *x, size_t n, float scale, const float *bias, struct soft_cap cap);
    /* As `gate`, of any activation, with biases, with up NULL without a gate, and without the
     * factor `scale`; with `high`, the result has 16 bits, and q is the low ones. */
    float (*activate)(float *gate, const float *up, size_t n, size_t rotation, float scale,
                      const float *gate_bias, const float *up_bias, int activation, uint8_t *q,
                      uint8_t *high);
    /* As `quantize` and `normalize` in 16 bits. */
    float (*quantize_wide)(const float *x, size_t n, uint8_t *low, uint8_t *high);
    float (*normalize_wide)(const float *x, size_t n, float inverse_width, float epsilon,
                            uint8_t *low, uint8_t *high);
    /* Section 4.3: the keys and values of all new positions into the cache, and the bounds. */
    void (*insert)(const struct head_shape *shape, const struct view *view,
                   const struct head_rows *rows, const struct attention_scratch *scratch);
    /* Sections 4.3 to 4.5 for the queries of the new positions [first, last), once all positions
     * are inserted. */
    void (*attend)(const struct head_shape *shape, const struct view *view,
                   const struct head_rows *rows, size_t first, size_t last,
                   const struct attention_scratch *scratch, struct prefetch *wanted);
    float (*maximum)(const float *x, size_t n);
    /* Section 4.8: x [n] without the row's scale; `maximum` is the scaled row's. n is a multiple of
     * PANEL. */
    void (*weights)(const float *x, size_t n, float scale, float maximum, int32_t *out);
    int64_t (*weight_sum)(const float *x, size_t n, float scale, float maximum);
    /* Section 6.3: adds Hamming distances of signatures [..., words] at `slots` to `own`. */
    void (*distances)(const uint64_t *signatures, size_t words, const uint64_t *own,
                      const uint32_t *slots, size_t count, int32_t *sums);
    /* Section 6 for many numbers; see kernels_mixing.h. */
    void (*exp2_within)(float *x, size_t n, float least, float most);
    void (*log2)(float *x, size_t n);
    size_t (*at_most)(const int32_t *x, size_t first, size_t end, int32_t limit, uint32_t *indices);
    /* Section 6.6, learning: adds the slopes and curvatures of `count` candidates to two sums,
     * EVIDENCE_SUMS numbers, in the order of mixing_weights.h; their features have 0 for those that
     * there are not. */
    void (*sum_evidence)(const float (*features)[EVIDENCE_STRIDE], const float *errors,
                         const float *spreads, size_t count, int has_curvature, int64_t *own,
                         int64_t *others);
    /* The x of A x = b of several sets: the lower triangle of A by rows; x takes the place of b,
     * and A is lost. */
    void (*solve)(double (*triangle)[SOLVED_TOGETHER], double (*right)[SOLVED_TOGETHER]);
    /* The dot product on registers; returns the number of multiply-adds. */
    int64_t (*peak)(size_t rounds);
    void (*read_through)(const uint8_t *from, size_t bytes);
};

extern const struct kernels kernels_portable; /* which every processor runs */

/* The kernels for `name`, or the best for NULL; NULL where the name is unknown or the processor
 * lacks it. */
const struct kernels *select_kernels(const char *name);

#endif
