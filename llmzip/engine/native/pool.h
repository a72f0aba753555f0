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
/* The same in two halves: returns 1 to the last thread that arrives, whom the others wait for until
 * it calls barrier_release, and 0 to the others after that. */
int barrier_arrive(struct barrier *barrier, int threads);
void barrier_release(struct barrier *barrier, int threads);

#endif
