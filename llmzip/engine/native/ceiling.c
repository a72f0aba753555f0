/* The machine's ceilings, by all threads of an engine at once, for benchmarks. */
#include "engine.h"

#define MEBIBYTE ((size_t)1 << 20)

struct ceiling_job {
    struct engine *engine;
    size_t rounds;
    const uint8_t *data;
    size_t bytes;
};

static void peak_work(void *context, int rank)
{
    const struct ceiling_job *job = context;
    (void)rank;
    job->engine->kernels->peak(job->rounds);
}

int llmzip_peak(struct engine *engine, int rounds, int64_t *multiply_adds)
{
    struct ceiling_job job = {.engine = engine, .rounds = (size_t)rounds};
    *multiply_adds = engine->kernels->peak(1) * rounds * pool_threads(engine->pool);
    return pool_run(engine->pool, peak_work, &job) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}

static void read_work(void *context, int rank)
{
    const struct ceiling_job *job = context;
    int threads = pool_threads(job->engine->pool);
    size_t first = partition(job->bytes, rank, threads),
           last = partition(job->bytes, rank + 1, threads);
    job->engine->kernels->read_through(job->data + first, last - first);
}

int llmzip_read(struct engine *engine, const uint8_t *data, int mebibytes)
{
    struct ceiling_job job = {
        .engine = engine, .data = data, .bytes = (size_t)mebibytes * MEBIBYTE};
    return pool_run(engine->pool, read_work, &job) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}
