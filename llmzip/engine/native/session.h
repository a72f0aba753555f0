/* S streams in lockstep: their key/value cache, the view of a step, and the threads' scratch. */
#ifndef LLMZIP_SESSION_H
#define LLMZIP_SESSION_H

#include "engine.h"

/* Scratch of the threads that work on the same rows. */
struct team {
    struct barrier barrier;
    struct stage stage;
    float *qkv;         /* [rows][columns of the matrix] */
    float *attended;    /* [rows][H * D] */
    float *gate_up;     /* [rows][gate_stride]: 2 * F, and some more */
    uint8_t *quantized; /* [rows][the widest input]; of 16 bits the low ones */
    float *scales;      /* [rows] */
    uint8_t *high;      /* as `quantized`, the high bytes; with features only */
    float *high_scales; /* [rows] */
    float *kept;        /* [rows], the scales of a parallel MLP's input; with features only */
    float *added;       /* [rows][width], what is normalized before it is added; likewise */
};

/* The first blocks of each head that another session's stream lends: positions that nobody
 * overwrites. */
struct loan {
    char *cache;
    size_t streams, stream, head_bytes; /* of that session */
    size_t blocks;                      /* 0: nothing is lent */
};

struct session {
    struct engine *engine;
    int streams, chunk;
    int active;   /* streams of the last step: the others were left out of one and are lost */
    int64_t ring; /* slots after the sinks, overwritten in rotation */
    int32_t position;
    struct view view;   /* what all layers have in common: no rope, no partial */
    struct view *views; /* of each of the engine's kinds of views */
    struct head_shape shape;
    size_t capacity; /* slots that may hold a position; view.slots is this rounded up */
    int32_t *slot, *positions;
    uint8_t *partial;
    float *rope;
    float *x;       /* [streams * chunk][width] */
    char *cache;    /* [layers][streams][groups][head_bytes], without what is borrowed */
    struct loan borrowed;
    size_t lent;     /* blocks of its own that are lent */
    int never_lends; /* forks, which may go before theirs, and who has moved to another cache */
    float *largest; /* [layers][streams][groups] */
    float *bounds;  /* [layers][streams][groups][chunk], of the last step: see kernels.h */
    size_t head_bytes;
    struct expert_scratch experts;       /* of the only team */
    struct team *teams;                  /* [threads] */
    struct attention_scratch *attention; /* [threads] */
    void **owned;                        /* every allocation */
    size_t owned_count;
};

/* The cache of one head. */
struct head_cache session_cache(const struct session *session, size_t layer, size_t stream,
                                size_t group);
/* What `largest` is of one head after each position of a step: [chunk]. */
float *session_bounds(const struct session *session, size_t layer, size_t stream, size_t group);

/* Assigns slots to `count` new positions, and notes what each of them sees. 0: out of memory. */
int session_assign_slots(struct session *session, size_t count);

#endif
