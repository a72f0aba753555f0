/* See pool.h. Threads spin for a moment before they sleep: what they wait for comes soon, unless
 * the machine is busy and the thread waited for has no processor. Then they leave theirs to others
 * at once, and have it back when the thread goes on: a thread that spins or yields loses its turn.
 */
#define _DEFAULT_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Longer than a thread takes to wake up. */
#define BARRIER_SPIN_NANOSECONDS 40000
/* The next job of a lockstep decoder comes soon. */
#define JOB_SPIN_NANOSECONDS 200000

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
    struct event job;   /* counts them */
    struct event done;  /* the same, when all workers have finished one */
    atomic_int running; /* workers that have not finished it */
    atomic_int closing;
    pthread_mutex_t run_mutex;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

_Static_assert(sizeof(atomic_uint) == 4, "a futex has 32 bits");

static void sleep_while(struct event *event, unsigned seen)
{
    while (atomic_load(&event->count) == seen)
        syscall(SYS_futex, &event->count, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void wake_all(struct event *event)
{
    syscall(SYS_futex, &event->count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void renew_sleep(void) {}
#else
static pthread_mutex_t sleep_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

static void sleep_while(struct event *event, unsigned seen)
{
    pthread_mutex_lock(&sleep_mutex);
    while (atomic_load(&event->count) == seen)
        pthread_cond_wait(&wake, &sleep_mutex);
    pthread_mutex_unlock(&sleep_mutex);
}

static void wake_all(struct event *event)
{
    (void)event;
    pthread_mutex_lock(&sleep_mutex);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&sleep_mutex);
}

/* In a forked process, where another thread may have held the lock. */
static void renew_sleep(void)
{
    pthread_mutex_init(&sleep_mutex, NULL);
    pthread_cond_init(&wake, NULL);
}
#endif

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Wait until the event is counted again. */
static void await(struct event *event, unsigned seen, int64_t spin)
{
    int64_t start = nanoseconds();
    do {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(&event->count, memory_order_acquire) != seen)
                return;
            relax();
        }
    } while (nanoseconds() - start < spin);
    /* Counted before the last look at the event, as `publish` looks here after it has counted. */
    atomic_fetch_add(&event->sleeping, 1);
    sleep_while(event, seen);
    atomic_fetch_sub(&event->sleeping, 1);
}

/* Count an event and wake whoever sleeps. */
static void publish(struct event *event)
{
    atomic_fetch_add(&event->count, 1);
    if (atomic_load(&event->sleeping))
        wake_all(event);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    for (unsigned seen = 0;; seen++) {
        await(&pool->job, seen, JOB_SPIN_NANOSECONDS);
        if (atomic_load(&pool->closing))
            return NULL;
        pool->work(pool->context, worker->rank);
        if (atomic_fetch_sub(&pool->running, 1) == 1)
            publish(&pool->done);
    }
}

/* Start the workers; returns how many of them run. */
static int start(struct pool *pool)
{
    atomic_store(&pool->closing, 0);
    memset(&pool->job, 0, sizeof pool->job);
    memset(&pool->done, 0, sizeof pool->done);
    pthread_mutex_init(&pool->run_mutex, NULL);
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
    publish(&pool->job);
    for (int i = 0; i < workers; i++)
        pthread_join(pool->workers[i].thread, NULL);
}

struct pool *pool_new(int threads)
{
    struct pool *pool = aligned_alloc(_Alignof(struct pool), sizeof *pool);
    if (!pool)
        return NULL;
    memset(pool, 0, sizeof *pool);
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
            renew_sleep();
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
    unsigned done = atomic_load(&pool->done.count);
    atomic_store(&pool->running, pool->threads - 1);
    if (pool->threads > 1)
        publish(&pool->job);
    work(context, 0);
    if (pool->threads > 1)
        await(&pool->done, done, BARRIER_SPIN_NANOSECONDS);
    pthread_mutex_unlock(&pool->run_mutex);
    return 0;
}

void barrier_wait(struct barrier *barrier, int threads)
{
    if (threads == 1)
        return;
    unsigned round = atomic_load_explicit(&barrier->round.count, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->waiting, 1, memory_order_acq_rel) == threads - 1) {
        atomic_store_explicit(&barrier->waiting, 0, memory_order_relaxed);
        publish(&barrier->round);
        return;
    }
    await(&barrier->round, round, BARRIER_SPIN_NANOSECONDS);
}

int stage_take(struct stage *stage, unsigned number, unsigned chunks)
{
    unsigned taken = atomic_load_explicit(&stage->taken, memory_order_acquire);
    do {
        if (taken >> 16 != (number & 0xffff) || (taken & 0xffff) >= chunks)
            return -1;
    } while (!atomic_compare_exchange_weak_explicit(&stage->taken, &taken, taken + 1,
                                                    memory_order_acquire, memory_order_acquire));
    return (int)(taken & 0xffff);
}

int stage_chunk_done(struct stage *stage, unsigned chunks)
{
    return atomic_fetch_add_explicit(&stage->done, 1, memory_order_acq_rel) == chunks - 1;
}

void stage_end(struct stage *stage, unsigned number)
{
    atomic_store_explicit(&stage->done, 0, memory_order_relaxed);
    atomic_store_explicit(&stage->taken, (number + 1) << 16, memory_order_release);
    publish(&stage->ended);
}

void stage_wait(struct stage *stage, unsigned number)
{
    if (atomic_load_explicit(&stage->ended.count, memory_order_acquire) == number)
        await(&stage->ended, number, BARRIER_SPIN_NANOSECONDS);
}
