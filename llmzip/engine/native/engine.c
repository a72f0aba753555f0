/* Loading a model, and the profile. */
#define _POSIX_C_SOURCE 200809L
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "matrix.h"

int64_t engine_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

const char *llmzip_kernels(const char *cpu)
{
    const struct kernels *kernels = select_kernels(cpu);
    return kernels ? kernels->name : NULL;
}

static int new_matrices(struct engine *engine, const uint8_t *layer_experts)
{
    const struct spec *spec = &engine->spec;
    size_t d = (size_t)spec->d_model, f = (size_t)spec->d_ff, size = (size_t)spec->head_dim;
    size_t all_heads = (size_t)(spec->heads + 2 * spec->kv_heads) * size;
    size_t inputs = spec->featured && !spec->gated ? 1 : 2;
    for (int i = 0; i < spec->layers; i++) {
        struct layer *layer = &engine->layers[i];
        if (!matrix_new(&layer->qkv, all_heads, d) ||
            !matrix_new(&layer->o, d, (size_t)spec->heads * size))
            return 0;
        layer->has_experts = layer_experts[i];
        if (layer->has_experts ? !experts_new(engine, &layer->experts)
                               : !matrix_new(&layer->gate_up, inputs * engine->inner, d) ||
                                     !matrix_new(&layer->down, d, f))
            return 0;
    }
    return matrix_new(&engine->head, (size_t)spec->vocab, d);
}

struct engine *llmzip_engine_new(const struct spec *spec, int threads, const char *cpu,
                                 const int8_t *embedding, const float *embedding_scale,
                                 const int16_t *rope, const uint8_t *layer_experts)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return NULL;
    engine->spec = *spec;
    engine->kernels = select_kernels(cpu);
    engine->embedding = embedding;
    engine->embedding_scale = embedding_scale;
    engine->rope = rope;
    engine->width = round_up((size_t)spec->d_model, INPUT_UNIT);
    engine->inner = round_up((size_t)spec->d_ff, INPUT_UNIT);
    engine->experts = expert_sizes(spec, engine->width);
    /* Not a multiple of 4 KiB, which would put all rows in the same sets of the cache. */
    engine->gate_stride = 2 * larger(engine->inner, engine->experts.shared_inner) + PANEL;
    engine->row_block = spec->experts ? EXPERTS_ROW_BLOCK : ROW_BLOCK;
    engine->heads = round_up((size_t)spec->heads * (size_t)spec->head_dim, INPUT_UNIT);
    engine->buckets = ((size_t)spec->vocab + BUCKET_SIZE - 1) / BUCKET_SIZE;
    engine->inverse_width = (float)(1.0 / spec->d_model);
    engine->layers = calloc((size_t)spec->layers, sizeof *engine->layers);
    if (engine->kernels && engine->layers && new_matrices(engine, layer_experts) &&
        features_new(engine)) {
        engine->pool = pool_new(threads);
        if (engine->pool)
            return engine;
    }
    llmzip_engine_free(engine);
    return NULL;
}

struct engine *llmzip_engine_share(const struct engine *engine, int threads)
{
    struct engine *share = malloc(sizeof *share);
    if (!share)
        return NULL;
    *share = *engine;
    share->is_share = 1;
    memset(share->profile, 0, sizeof share->profile);
    share->pool = pool_new(threads);
    if (share->pool)
        return share;
    free(share);
    return NULL;
}

void llmzip_engine_free(struct engine *engine)
{
    if (!engine)
        return;
    pool_free(engine->pool);
    if (engine->is_share) {
        free(engine);
        return;
    }
    features_free(engine);
    for (int i = 0; engine->layers && i < engine->spec.layers; i++) {
        matrix_free(&engine->layers[i].qkv);
        matrix_free(&engine->layers[i].o);
        matrix_free(&engine->layers[i].gate_up);
        matrix_free(&engine->layers[i].down);
        experts_free(&engine->layers[i].experts);
    }
    free(engine->layers);
    matrix_free(&engine->head);
    free(engine);
}

/* The columns of a matrix that hold a tensor: products that share their input are stacked, and the
 * matrices of experts. */
struct columns {
    struct matrix *matrix;
    size_t first, count, width;
    size_t stack, apart; /* of experts: how many matrices, and the columns between two */
};

static struct columns find_tensor(struct engine *engine, int tensor, int layer)
{
    const struct spec *spec = &engine->spec;
    struct layer *l = &engine->layers[layer];
    struct experts *x = &l->experts;
    const struct expert_sizes *sizes = &engine->experts;
    size_t d = (size_t)spec->d_model, f = (size_t)spec->d_ff, n = sizes->count,
           own = (size_t)spec->expert_ff, shared = (size_t)spec->shared_ff,
           apart = sizes->inputs * sizes->inner;
    size_t q = (size_t)(spec->heads * spec->head_dim),
           kv = (size_t)(spec->kv_heads * spec->head_dim);
    switch (tensor) {
    case TENSOR_Q:
        return (struct columns){&l->qkv, 0, q, d, 1, 0};
    case TENSOR_K:
        return (struct columns){&l->qkv, q, kv, d, 1, 0};
    case TENSOR_V:
        return (struct columns){&l->qkv, q + kv, kv, d, 1, 0};
    case TENSOR_O:
        return (struct columns){&l->o, 0, d, q, 1, 0};
    case TENSOR_GATE:
        return (struct columns){&l->gate_up, 0, f, d, 1, 0};
    case TENSOR_UP:
        return (struct columns){&l->gate_up, engine->inner, f, d, 1, 0};
    case TENSOR_DOWN:
        return (struct columns){&l->down, 0, d, f, 1, 0};
    case TENSOR_ROUTER:
        return (struct columns){&x->router, 0, n, d, 1, 0};
    case TENSOR_EXPERTS_GATE:
        return (struct columns){&x->gate_up, 0, own, d, n, apart};
    case TENSOR_EXPERTS_UP:
        return (struct columns){&x->gate_up, sizes->inner, own, d, n, apart};
    case TENSOR_EXPERTS_DOWN:
        return (struct columns){&x->down, 0, d, own, n, engine->width};
    case TENSOR_SHARED_ROUTER:
        return (struct columns){&x->router, sizes->router_stride, 1, d, 1, 0};
    case TENSOR_SHARED_GATE:
        return (struct columns){&x->shared_gate_up, 0, shared, d, 1, 0};
    case TENSOR_SHARED_UP:
        return (struct columns){&x->shared_gate_up, sizes->shared_inner, shared, d, 1, 0};
    case TENSOR_SHARED_DOWN:
        return (struct columns){&x->shared_down, 0, d, shared, 1, 0};
    default:
        return (struct columns){&engine->head, 0, (size_t)spec->vocab, d, 1, 0};
    }
}

void llmzip_engine_put(struct engine *engine, int tensor, int layer, const int8_t *weight,
                       const float *scale)
{
    struct columns columns = find_tensor(engine, tensor, layer);
    for (size_t i = 0; i < columns.stack; i++)
        matrix_put(columns.matrix, columns.first + i * columns.apart, columns.count, columns.width,
                   weight + i * columns.count * columns.width, scale + i * columns.count);
}

void llmzip_engine_profile(struct engine *engine, int64_t *nanoseconds)
{
    for (int i = 0; i < PHASES; i++) {
        nanoseconds[i] = engine->profile[i];
        engine->profile[i] = 0;
    }
}

struct product_job {
    struct engine *engine;
    const struct matrix *matrix;
    struct rows rows;
    float *out;
};

static void product_work(void *context, int rank)
{
    const struct product_job *job = context;
    int threads = pool_threads(job->engine->pool);
    size_t panels = job->matrix->columns / PANEL;
    size_t last = partition(panels, rank + 1, threads);
    job->engine->kernels->multiply(job->matrix, job->rows, partition(panels, rank, threads), last,
                                   last, job->out, job->matrix->columns, NULL);
}

int llmzip_product(struct engine *engine, int tensor, int layer, const uint8_t *x, int rows,
                   float *out)
{
    struct columns columns = find_tensor(engine, tensor, layer);
    struct rows a = {x, round_up(columns.width, INPUT_UNIT), (size_t)rows};
    struct product_job job = {engine, columns.matrix, a, out};
    return pool_run(engine->pool, product_work, &job) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}
