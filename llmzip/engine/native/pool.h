/* A few threads that run one function together, and barriers inside it. */
#ifndef LLMZIP_POOL_H
#define LLMZIP_POOL_H

#include <stdatomic.h>

struct pool;

struct pool *pool_new(int threads); /* NULL when the threads cannot be had */
void pool_free(struct pool *pool);
int pool_threads(const struct pool *pool);

/* Call work(context, rank) on every thread, rank 0 on the caller's, and wait for all. One call at a
 * time. Returns -1, having done nothing, when a forked process cannot have the threads again. */
int pool_run(struct pool *pool, void (*work)(void *context, int rank), void *context);

/* A barrier; zeroed is ready. */
struct barrier {
    _Alignas(64) atomic_int waiting;
    _Alignas(64) atomic_uint round;
};

void barrier_wait(struct barrier *barrier, int threads);

#endif
