/* See pool.h. Workers spin for a moment before they sleep: the next step of a lockstep decoder
 * comes soon. */
#define _POSIX_C_SOURCE 200809L
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SPINS_BEFORE_SLEEP 20000 /* some 200 microseconds */
#define SPINS_BEFORE_YIELD 2000
#define YIELDS_BEFORE_NAP 20
#define NAP_NANOSECONDS 20000

struct worker {
    struct pool *pool;
    pthread_t thread;
    int rank;
};

struct pool {
    int threads;
    /* The process whose threads these are, negative while it starts them: threads do not survive a
     * fork. */
    atomic_int owner;
    struct worker *workers;
    void (*work)(void *, int);
    void *context;
    atomic_uint job;    /* grows by one per job */
    atomic_int running; /* workers that have not finished it */
    atomic_int sleeping;
    atomic_int closing;
    pthread_mutex_t run_mutex, sleep_mutex;
    pthread_cond_t wake;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait a little longer, the i-th time. On a busy machine the thread waited for may have no
 * processor: leave it this one. */
static inline void wait_more(int i)
{
    if (i < SPINS_BEFORE_YIELD)
        relax();
    else if (i < SPINS_BEFORE_YIELD + YIELDS_BEFORE_NAP)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = NAP_NANOSECONDS}, NULL);
}

static void wait_for_job(struct pool *pool, unsigned seen)
{
    for (int i = 0; i < SPINS_BEFORE_SLEEP; i++) {
        if (atomic_load_explicit(&pool->job, memory_order_acquire) != seen)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->sleep_mutex);
    atomic_fetch_add(&pool->sleeping, 1);
    while (atomic_load(&pool->job) == seen)
        pthread_cond_wait(&pool->wake, &pool->sleep_mutex);
    atomic_fetch_sub(&pool->sleeping, 1);
    pthread_mutex_unlock(&pool->sleep_mutex);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    for (unsigned seen = 0;; seen++) {
        wait_for_job(pool, seen);
        if (atomic_load(&pool->closing))
            return NULL;
        pool->work(pool->context, worker->rank);
        atomic_fetch_sub_explicit(&pool->running, 1, memory_order_release);
    }
}

/* Publish a job (or the end) and wake whoever sleeps. */
static void publish(struct pool *pool)
{
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->sleeping)) {
        pthread_mutex_lock(&pool->sleep_mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->sleep_mutex);
    }
}

/* Start the workers; returns how many of them run. */
static int start(struct pool *pool)
{
    atomic_store(&pool->closing, 0);
    atomic_store(&pool->job, 0);
    atomic_store(&pool->running, 0);
    atomic_store(&pool->sleeping, 0);
    pthread_mutex_init(&pool->run_mutex, NULL);
    pthread_mutex_init(&pool->sleep_mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int i = 0; i < pool->threads - 1; i++) {
        pool->workers[i] = (struct worker){.pool = pool, .rank = i + 1};
        if (pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]))
            return i;
    }
    return pool->threads - 1;
}

static void stop(struct pool *pool, int workers)
{
    atomic_store(&pool->closing, 1);
    publish(pool);
    for (int i = 0; i < workers; i++)
        pthread_join(pool->workers[i].thread, NULL);
}

struct pool *pool_new(int threads)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->threads = threads;
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    atomic_store(&pool->owner, getpid());
    if (pool->workers) {
        int started = start(pool);
        if (started == threads - 1)
            return pool;
        stop(pool, started);
    }
    free(pool->workers);
    free(pool);
    return NULL;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    if (atomic_load(&pool->owner) == getpid())
        stop(pool, pool->threads - 1);
    free(pool->workers);
    free(pool);
}

int pool_threads(const struct pool *pool) { return pool->threads; }

/* In a forked process the locks are as another thread may have held them, and there are no workers:
 * make all anew, once. Returns 0 when the threads cannot be had. */
static int adopt(struct pool *pool)
{
    int self = getpid(), owner = atomic_load(&pool->owner);
    while (owner != self) {
        if (owner == -self) { /* another thread is at it */
            sched_yield();
            owner = atomic_load(&pool->owner);
        } else if (atomic_compare_exchange_weak(&pool->owner, &owner, -self)) {
            int started = start(pool);
            if (started != pool->threads - 1)
                stop(pool, started);
            owner = started == pool->threads - 1 ? self : 0;
            atomic_store(&pool->owner, owner);
            return owner == self;
        }
    }
    return 1;
}

int pool_run(struct pool *pool, void (*work)(void *context, int rank), void *context)
{
    if (!adopt(pool)) /* before the lock, which nobody may ever free here */
        return -1;
    pthread_mutex_lock(&pool->run_mutex);
    pool->work = work;
    pool->context = context;
    atomic_store(&pool->running, pool->threads - 1);
    if (pool->threads > 1)
        publish(pool);
    work(context, 0);
    for (int i = 0; atomic_load_explicit(&pool->running, memory_order_acquire); i++)
        wait_more(i);
    pthread_mutex_unlock(&pool->run_mutex);
    return 0;
}

void barrier_wait(struct barrier *barrier, int threads)
{
    if (threads == 1)
        return;
    unsigned round = atomic_load_explicit(&barrier->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->waiting, 1, memory_order_acq_rel) == threads - 1) {
        atomic_store_explicit(&barrier->waiting, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->round, round + 1, memory_order_release);
        return;
    }
    for (int i = 0; atomic_load_explicit(&barrier->round, memory_order_acquire) == round; i++)
        wait_more(i);
}
