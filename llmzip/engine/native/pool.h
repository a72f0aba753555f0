/* A few threads that run one function together, and barriers inside it. */
#ifndef LLMZIP_POOL_H
#define LLMZIP_POOL_H

#include <stdatomic.h>

struct pool;

/* Something that threads wait for, and how many of them sleep meanwhile; zeroed is ready. */
struct event {
    _Alignas(64) atomic_uint count;
    atomic_int sleeping;
};

struct pool *pool_new(int threads); /* NULL when the threads cannot be had */
void pool_free(struct pool *pool);
int pool_threads(const struct pool *pool);

/* Call work(context, rank) on every thread, rank 0 on the caller's, and wait for all. One call at a
 * time. Returns -1, having done nothing, when a forked process cannot have the threads again. */
int pool_run(struct pool *pool, void (*work)(void *context, int rank), void *context);

/* A barrier; zeroed is ready. */
struct barrier {
    _Alignas(64) atomic_int waiting;
    struct event round;
};

void barrier_wait(struct barrier *barrier, int threads);

/* Work in chunks that threads take as they come: one without a processor keeps the others waiting
 * for the chunk in its hands only, and passes over stages that have ended without it. All threads
 * go through the same stages, numbered from 0; zeroed is ready. */
struct stage {
    _Alignas(64) atomic_uint taken; /* the stage's number, and its chunks taken: 16 bits each */
    _Alignas(64) atomic_uint done;  /* chunks */
    struct event ended;             /* counts stages */
};

/* The next chunk of stage `number`, or -1. */
int stage_take(struct stage *stage, unsigned number, unsigned chunks);
/* Returns 1 to the thread whose chunk is the last to be done: it must call stage_end. */
int stage_chunk_done(struct stage *stage, unsigned chunks);
void stage_end(struct stage *stage, unsigned number);
/* Waits for the end of stage `number`. */
void stage_wait(struct stage *stage, unsigned number);

#endif
