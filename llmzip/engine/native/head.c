/* The head's product and what becomes of it: token weights (section 4.8) and frequencies (section
 * 5). */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define SUM_LIMIT ((uint64_t)1 << SUM_BITS)

struct head_job {
    struct engine *engine;
    struct rows inputs;
    const float *scales;
    float *sums;          /* [rows][stride] */
    float *maxima;        /* [rows] */
    float *bucket_maxima; /* [rows][buckets], without the row's scale */
    int64_t *bucket_weights;
    int32_t *weights; /* [rows][vocab] */
    size_t rows, stride;
};

/* The scale by which sums become logits: a head with bias or cap has made logits of them already.
 */
static inline float logit_scale(const struct engine *e, float scale)
{
    return e->finishes_head ? 1.0f : scale;
}

/* Each thread's buckets for all rows: the sums of a bucket are still in the cache when their
 * maximum is sought. */
static void sum_buckets(void *context, int rank)
{
    const struct head_job *job = context;
    struct engine *e = job->engine;
    int threads = pool_threads(e->pool);
    size_t panels = e->head.columns / PANEL, vocab = (size_t)e->spec.vocab;
    for (size_t b = partition(e->buckets, rank, threads);
         b < partition(e->buckets, rank + 1, threads); b++) {
        size_t first = b * (BUCKET_SIZE / PANEL), last = first + BUCKET_SIZE / PANEL;
        e->kernels->multiply(&e->head, job->inputs, first, last < panels ? last : panels, last,
                             job->sums, job->stride, NULL);
        for (size_t r = 0; r < job->rows; r++) {
            float *sums = job->sums + r * job->stride;
            if (e->finishes_head)
                e->kernels->finish(sums + b * BUCKET_SIZE,
                                   (last < panels ? last - first : panels - first) * PANEL,
                                   job->scales[r], e->head_bias + b * BUCKET_SIZE, e->head_cap);
            for (size_t i = vocab; b + 1 == e->buckets && i < job->stride; i++)
                sums[i] = -FLT_MAX; /* padding weighs 0 */
            job->bucket_maxima[r * e->buckets + b] =
                e->kernels->maximum(sums + b * BUCKET_SIZE, BUCKET_SIZE);
        }
    }
}

static void weigh_buckets(void *context, int rank)
{
    const struct head_job *job = context;
    struct engine *e = job->engine;
    int threads = pool_threads(e->pool);
    size_t items = job->rows * e->buckets;
    for (size_t i = partition(items, rank, threads); i < partition(items, rank + 1, threads); i++) {
        size_t r = i / e->buckets, b = i % e->buckets;
        job->bucket_weights[i] =
            e->kernels->weight_sum(job->sums + r * job->stride + b * BUCKET_SIZE, BUCKET_SIZE,
                                   logit_scale(e, job->scales[r]), job->maxima[r]);
    }
}

/* The largest of a row's sums, equal ones by token, best first: [LLMZIP_TOP_TOKENS]. */
static void top_tokens(const float *sums, const float *bucket_maxima, size_t vocab, int32_t *top)
{
    float best[LLMZIP_TOP_TOKENS];
    int found = 0;
    for (size_t first = 0; first < vocab; first += BUCKET_SIZE) {
        if (found == LLMZIP_TOP_TOKENS && bucket_maxima[first / BUCKET_SIZE] <= best[found - 1])
            continue;
        size_t end = vocab - first < BUCKET_SIZE ? vocab : first + BUCKET_SIZE;
        for (size_t i = first; i < end; i++) {
            if (found == LLMZIP_TOP_TOKENS && sums[i] <= best[found - 1])
                continue;
            int k = found < LLMZIP_TOP_TOKENS ? found++ : found - 1;
            for (; k > 0 && best[k - 1] < sums[i]; k--) {
                best[k] = best[k - 1];
                top[k] = top[k - 1];
            }
            best[k] = sums[i];
            top[k] = (int32_t)i;
        }
    }
    for (; found < LLMZIP_TOP_TOKENS; found++)
        top[found] = -1;
}

int llmzip_head(struct engine *e, const int8_t *vectors, const float *scales, int count,
                float *sums, float *maxima, int64_t *bucket_weights, int64_t *totals, int32_t *top)
{
    size_t rows = (size_t)count, d = (size_t)e->spec.d_model;
    int64_t start = engine_clock();
    uint8_t *inputs = calloc(rows, e->width);
    float *bucket_maxima = malloc(rows * e->buckets * sizeof *bucket_maxima);
    int status = LLMZIP_NO_MEMORY;
    if (inputs && bucket_maxima) {
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < d; i++)
                inputs[r * e->width + i] = (uint8_t)(vectors[r * d + i] + 128);
        struct head_job job = {.engine = e,
                               .inputs = {inputs, e->width, rows},
                               .scales = scales,
                               .sums = sums,
                               .maxima = maxima,
                               .bucket_maxima = bucket_maxima,
                               .bucket_weights = bucket_weights,
                               .rows = rows,
                               .stride = e->buckets * BUCKET_SIZE};
        status = pool_run(e->pool, sum_buckets, &job) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
        for (size_t r = 0; r < rows; r++) {
            float largest = -FLT_MAX;
            for (size_t b = 0; b < e->buckets; b++)
                largest = bucket_maxima[r * e->buckets + b] > largest
                              ? bucket_maxima[r * e->buckets + b]
                              : largest;
            maxima[r] = largest * logit_scale(e, scales[r]);
            top_tokens(sums + r * job.stride, bucket_maxima + r * e->buckets, (size_t)e->spec.vocab,
                       top + r * LLMZIP_TOP_TOKENS);
        }
        int64_t middle = engine_clock();
        e->profile[PHASE_HEAD] += middle - start;
        if (status == LLMZIP_OK && pool_run(e->pool, weigh_buckets, &job))
            status = LLMZIP_NO_MEMORY;
        for (size_t r = 0; r < rows; r++) {
            totals[r] = 0;
            for (size_t b = 0; b < e->buckets; b++)
                totals[r] += bucket_weights[r * e->buckets + b];
        }
        e->profile[PHASE_WEIGHTS] += engine_clock() - middle;
    }
    free(inputs);
    free(bucket_maxima);
    return status;
}

static void weigh_tokens(void *context, int rank)
{
    const struct head_job *job = context;
    struct engine *e = job->engine;
    int threads = pool_threads(e->pool);
    size_t vocab = (size_t)e->spec.vocab, items = job->rows * e->buckets;
    for (size_t i = partition(items, rank, threads); i < partition(items, rank + 1, threads); i++) {
        size_t r = i / e->buckets, first = i % e->buckets * BUCKET_SIZE;
        size_t n = vocab - first < BUCKET_SIZE ? vocab - first : BUCKET_SIZE;
        int32_t weights[BUCKET_SIZE];
        e->kernels->weights(job->sums + r * job->stride + first, BUCKET_SIZE,
                            logit_scale(e, job->scales[r]), job->maxima[r], weights);
        for (size_t k = 0; k < n; k++)
            job->weights[r * vocab + first + k] = weights[k];
    }
}

int llmzip_weights(struct engine *e, const float *sums, const float *scales, const float *maxima,
                   int rows, int32_t *weights)
{
    struct head_job job = {.engine = e,
                           .scales = scales,
                           .sums = (float *)sums,
                           .maxima = (float *)maxima,
                           .weights = weights,
                           .rows = (size_t)rows,
                           .stride = e->buckets * BUCKET_SIZE};
    return pool_run(e->pool, weigh_tokens, &job) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}

/* Weights of at most BUCKET_SIZE tokens of one row; 0 for negative ones. */
static void weigh_some(const struct engine *e, const float *sums, float scale, float maximum,
                       const int32_t *tokens, size_t count, int32_t weights[BUCKET_SIZE])
{
    float gathered[BUCKET_SIZE];
    size_t padded = round_up(count, PANEL); /* what the kernels take */
    for (size_t i = 0; i < padded; i++)
        gathered[i] = i < count && tokens[i] >= 0 ? sums[tokens[i]] : -FLT_MAX;
    e->kernels->weights(gathered, padded, logit_scale(e, scale), maximum, weights);
    for (size_t i = 0; i < count; i++)
        weights[i] = tokens[i] >= 0 ? weights[i] : 0;
}

static size_t limit_to_bucket(size_t count) { return count < BUCKET_SIZE ? count : BUCKET_SIZE; }

void llmzip_weights_of(struct engine *e, const float *sums, const float *scales,
                       const float *maxima, const int32_t *tokens, int rows, int count,
                       int32_t *weights)
{
    size_t n = (size_t)count, some;
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t first = 0; first < n; first += some, tokens += some, weights += some) {
            int32_t found[BUCKET_SIZE];
            some = limit_to_bucket(n - first);
            weigh_some(e, sums + r * e->buckets * BUCKET_SIZE, scales[r], maxima[r], tokens, some,
                       found);
            memcpy(weights, found, some * sizeof *weights);
        }
}

void llmzip_replace(struct engine *e, const float *sums, const float *scales, const float *maxima,
                    const int32_t *tokens, const int64_t *weights, int rows, int count,
                    int64_t *bucket_weights)
{
    size_t n = (size_t)count, some;
    for (size_t r = 0; r < (size_t)rows; r++, bucket_weights += e->buckets)
        for (size_t first = 0; first < n; first += some, tokens += some, weights += some) {
            int32_t before[BUCKET_SIZE];
            some = limit_to_bucket(n - first);
            weigh_some(e, sums + r * e->buckets * BUCKET_SIZE, scales[r], maxima[r], tokens, some,
                       before);
            for (size_t i = 0; i < some; i++)
                if (tokens[i] >= 0)
                    bucket_weights[tokens[i] / BUCKET_SIZE] += weights[i] - before[i];
        }
}

/* Section 5: interval widths of n weights, which sum to 2^24. */
static void frequencies(const int64_t *weights, size_t n, uint32_t *widths)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += (uint64_t)weights[i];
    int shift = 0;
    if (total >= SUM_LIMIT) {
        while (total >> shift >= SUM_LIMIT)
            shift++;
        total = 0;
        for (size_t i = 0; i < n; i++)
            total += (uint64_t)weights[i] >> shift;
    }
    int uniform = total == 0;
    uint64_t scale = ((uint64_t)1 << FREQUENCY_BITS) - n, below = 0, before = 0;
    for (size_t i = 0; i < n; i++) {
        below += uniform ? 1 : (uint64_t)weights[i] >> shift;
        uint64_t bound = below * scale / (uniform ? n : total);
        widths[i] = (uint32_t)(1 + bound - before);
        before = bound;
    }
}

struct frequency_job {
    struct engine *engine;
    const int64_t *weights; /* [rows][symbols], or NULL: the tokens of each row's bucket */
    const float *sums, *scales, *maxima;
    const int32_t *buckets;
    const int32_t *replaced_tokens; /* [rows][replaced], or NULL */
    const int64_t *replaced_weights;
    size_t replaced;
    size_t rows, symbols;
    uint32_t *widths;
};

static void frequency_work(void *context, int rank)
{
    const struct frequency_job *job = context;
    struct engine *e = job->engine;
    int threads = pool_threads(e->pool);
    for (size_t r = partition(job->rows, rank, threads);
         r < partition(job->rows, rank + 1, threads); r++) {
        int32_t narrow[BUCKET_SIZE];
        int64_t wide[BUCKET_SIZE];
        const int64_t *weights = wide;
        if (job->weights) {
            weights = job->weights + r * job->symbols;
        } else {
            const float *sums =
                job->sums + (r * e->buckets + (size_t)job->buckets[r]) * BUCKET_SIZE;
            e->kernels->weights(sums, BUCKET_SIZE, logit_scale(e, job->scales[r]), job->maxima[r],
                                narrow);
            for (size_t i = 0; i < BUCKET_SIZE; i++)
                wide[i] = narrow[i];
            for (size_t i = 0; job->replaced_tokens && i < job->replaced; i++) {
                int32_t token = job->replaced_tokens[r * job->replaced + i];
                if (token >= 0 && token / BUCKET_SIZE == job->buckets[r])
                    wide[token % BUCKET_SIZE] = job->replaced_weights[r * job->replaced + i];
            }
        }
        frequencies(weights, job->symbols, job->widths + r * job->symbols);
    }
}

int llmzip_token_frequencies(struct engine *e, const float *sums, const float *scales,
                             const float *maxima, const int32_t *buckets,
                             const int32_t *replaced_tokens, const int64_t *replaced_weights,
                             int replaced, int rows, uint32_t *widths)
{
    struct frequency_job job = {.engine = e,
                                .sums = sums,
                                .scales = scales,
                                .maxima = maxima,
                                .buckets = buckets,
                                .replaced_tokens = replaced_tokens,
                                .replaced_weights = replaced_weights,
                                .replaced = (size_t)replaced,
                                .rows = (size_t)rows,
                                .symbols = BUCKET_SIZE,
                                .widths = widths};
    return pool_run(e->pool, frequency_work, &job) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}

int llmzip_frequencies(struct engine *e, const int64_t *weights, int rows, int symbols,
                       uint32_t *widths)
{
    struct frequency_job job = {.engine = e,
                                .weights = weights,
                                .rows = (size_t)rows,
                                .symbols = (size_t)symbols,
                                .widths = widths};
    return pool_run(e->pool, frequency_work, &job) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}
