/* Mixtures of experts (docs/arithmetic.md, section 4.9): rows are sorted by the experts that they
 * choose, so that the weights of each are read once, and of those that none chooses never. */
#include "experts.h"

#include <math.h>
#include <string.h>

#include "arena.h"
#include "matrix.h"
#include "worker.h"

struct expert_sizes expert_sizes(const struct spec *spec, size_t width)
{
    struct expert_sizes sizes = {0};
    sizes.count = (size_t)spec->experts;
    sizes.used = (size_t)spec->experts_used;
    sizes.inputs = spec->gated ? 2 : 1;
    sizes.inner = round_up((size_t)spec->expert_ff, INPUT_UNIT);
    sizes.shared_inner = round_up((size_t)spec->shared_ff, INPUT_UNIT);
    sizes.router_stride = round_up(sizes.count, PANEL);
    /* Not a multiple of 4 KiB, which would put all rows in the same sets of the cache. */
    sizes.sums_stride = larger(sizes.inputs * sizes.inner, width) + PANEL;
    sizes.bytes_stride = larger(sizes.inner, width);
    return sizes;
}

int experts_new(const struct engine *engine, struct experts *experts)
{
    const struct spec *spec = &engine->spec;
    const struct expert_sizes *sizes = &engine->experts;
    size_t d = (size_t)spec->d_model, weighted = spec->shared_weighted ? 1 : 0;
    if (!matrix_new(&experts->router, sizes->router_stride + weighted, d) ||
        !matrix_new(&experts->gate_up, sizes->count * sizes->inputs * sizes->inner, d) ||
        !matrix_new(&experts->down, sizes->count * engine->width, (size_t)spec->expert_ff))
        return 0;
    return !sizes->shared_inner ||
           (matrix_new(&experts->shared_gate_up, sizes->inputs * sizes->shared_inner, d) &&
            matrix_new(&experts->shared_down, d, (size_t)spec->shared_ff));
}

void experts_free(struct experts *experts)
{
    matrix_free(&experts->router);
    matrix_free(&experts->gate_up);
    matrix_free(&experts->down);
    matrix_free(&experts->shared_gate_up);
    matrix_free(&experts->shared_down);
}

size_t expert_scratch_new(const struct engine *engine, size_t rows, char *base,
                          struct expert_scratch *scratch)
{
    const struct expert_sizes *sizes = &engine->experts;
    struct arena arena = {base, 0};
    size_t pairs = rows * sizes->used, shared = sizes->shared_inner ? rows : 0;
    scratch->logits = arena_take(&arena, rows * (sizes->router_stride + PANEL) * sizeof(float));
    scratch->chosen = arena_take(&arena, pairs * sizeof(int32_t));
    scratch->weights = arena_take(&arena, pairs * sizeof(float));
    scratch->pairs = arena_take(&arena, pairs * sizeof(int32_t));
    scratch->runs = arena_take(&arena, sizes->count * sizeof *scratch->runs);
    scratch->runs_count = arena_take(&arena, sizeof(size_t));
    scratch->pairs_count = arena_take(&arena, sizeof(size_t));
    scratch->next = arena_take(&arena, sizes->count * sizeof(int32_t));
    scratch->pair_rows = arena_take(&arena, pairs * sizeof(int32_t));
    scratch->pair_scales = arena_take(&arena, pairs * sizeof(float));
    scratch->pair_weights = arena_take(&arena, pairs * sizeof(float));
    scratch->bytes = arena_take(&arena, pairs * sizes->bytes_stride);
    scratch->sums = arena_take(&arena, pairs * sizes->sums_stride * sizeof(float));
    scratch->shared_weights = arena_take(&arena, shared * sizeof(float));
    scratch->shared_scales = arena_take(&arena, shared * sizeof(float));
    scratch->shared_sums = arena_take(&arena, shared * engine->width * sizeof(float));
    return arena.used;
}

/* The K experts with the largest logits, of equal ones those that come first, in ascending order.
 * Returns the largest logit. */
static float choose(const float *logits, size_t count, size_t used, int32_t *chosen)
{
    size_t found = 0;
    for (size_t e = 0; e < count; e++) {
        size_t at = found;
        while (at > 0 && logits[e] > logits[chosen[at - 1]])
            at--;
        if (at == used)
            continue;
        size_t last = found < used ? found++ : used - 1;
        memmove(chosen + at + 1, chosen + at, (last - at) * sizeof *chosen);
        chosen[at] = (int32_t)e;
    }
    float largest = logits[chosen[0]];
    int32_t least = chosen[used - 1];
    float bound = logits[least];
    found = 0;
    for (size_t e = 0; found < used; e++)
        if (logits[e] > bound || (logits[e] == bound && (int32_t)e <= least))
            chosen[found++] = (int32_t)e;
    return largest;
}

/* A share of a total, rounded to 2^-14. */
static float weight_of(int32_t part, int64_t total)
{
    float share = (float)part / (float)total;
    return rintf(share * (float)(1 << ROUTING_BITS)) * (float)(1.0 / (1 << ROUTING_BITS));
}

static void route_row(struct worker *self, const float *unused, size_t r)
{
    struct engine *e = self->engine;
    const struct expert_sizes *sizes = &e->experts;
    struct expert_scratch *scratch = &self->session->experts;
    float *logits = scratch->logits + r * (sizes->router_stride + PANEL);
    float scale = self->team->scales[r], *weights = scratch->weights + r * sizes->used;
    int32_t *chosen = scratch->chosen + r * sizes->used;
    float largest = choose(logits, sizes->count, sizes->used, chosen);
    int32_t *parts = (int32_t *)(void *)logits; /* take their place */
    (void)unused;
    for (size_t i = sizes->count; i < sizes->router_stride; i++)
        logits[i] = largest; /* padding, which nothing looks at, within the kernel's bounds */
    e->kernels->weights(logits, sizes->router_stride, scale, largest * scale, parts);
    int64_t total = 0;
    if (e->spec.experts_normalized)
        for (size_t j = 0; j < sizes->used; j++)
            total += parts[chosen[j]];
    else
        for (size_t i = 0; i < sizes->count; i++)
            total += parts[i];
    for (size_t j = 0; j < sizes->used; j++)
        weights[j] = weight_of(parts[chosen[j]], total);
    if (sizes->shared_inner)
        scratch->shared_weights[r] = 1.0f;
    if (e->spec.shared_weighted) {
        float pair[PANEL] = {logits[sizes->router_stride]};
        int32_t two[PANEL];
        e->kernels->weights(pair, PANEL, scale, fmaxf(pair[0] * scale, 0.0f), two);
        scratch->shared_weights[r] = weight_of(two[0], (int64_t)two[0] + two[1]);
    }
}

/* Sorts the pairs of rows and experts by experts. */
static void sort_pairs(struct worker *self, size_t rows)
{
    const struct expert_sizes *sizes = &self->engine->experts;
    struct expert_scratch *scratch = &self->session->experts;
    size_t pairs = rows * sizes->used, runs = 0, first = 0;
    memset(scratch->next, 0, sizes->count * sizeof *scratch->next);
    for (size_t i = 0; i < pairs; i++)
        scratch->next[scratch->chosen[i]] += scratch->weights[i] > 0;
    for (size_t e = 0; e < sizes->count; e++) {
        size_t count = (size_t)scratch->next[e];
        if (count)
            scratch->runs[runs++] = (struct expert_run){e, first, count};
        scratch->next[e] = (int32_t)first;
        first += count;
    }
    for (size_t i = 0; i < pairs; i++) {
        scratch->pairs[i] = -1;
        if (scratch->weights[i] > 0) {
            int32_t pair = scratch->pairs[i] = scratch->next[scratch->chosen[i]]++;
            scratch->pair_rows[pair] = (int32_t)(i / sizes->used);
            scratch->pair_weights[pair] = scratch->weights[i];
        }
    }
    *scratch->runs_count = runs;
    *scratch->pairs_count = first;
}

static void gather_pair(struct worker *self, const float *unused, size_t pair)
{
    struct expert_scratch *scratch = &self->session->experts;
    size_t width = self->engine->width;
    (void)unused;
    memcpy(scratch->bytes + pair * self->engine->experts.bytes_stride,
           self->team->quantized + (size_t)scratch->pair_rows[pair] * width, width);
}

/* Panels of a product by the experts' own rows: item i is panel i % panels of run i / panels. */
struct runs_job {
    const struct matrix *stack; /* of all experts */
    size_t panels;              /* of one */
};

static void multiply_runs(struct worker *self, const void *context, size_t first, size_t last)
{
    const struct runs_job *job = context;
    const struct expert_sizes *sizes = &self->engine->experts;
    struct expert_scratch *scratch = &self->session->experts;
    for (size_t i = first, end; i < last; i = end) {
        const struct expert_run *run = &scratch->runs[i / job->panels];
        size_t panel = i % job->panels, column = run->expert * job->panels * PANEL;
        end = i - panel + job->panels < last ? i - panel + job->panels : last;
        struct matrix own = {job->panels * PANEL, job->stack->groups,
                             job->stack->packed + column * job->stack->groups * 4,
                             job->stack->correction + column, job->stack->scale + column,
                             job->stack->has_lowest};
        struct rows rows = {scratch->bytes + run->first * sizes->bytes_stride, sizes->bytes_stride,
                            run->count};
        self->engine->kernels->multiply(&own, rows, panel, panel + (end - i), panel + (end - i),
                                        scratch->sums + run->first * sizes->sums_stride,
                                        sizes->sums_stride, NULL);
    }
}

static void product_of_runs(struct worker *self, const struct matrix *stack, size_t rows)
{
    struct runs_job job = {stack, stack->columns / PANEL / self->engine->experts.count};
    size_t items = *self->session->experts.runs_count * job.panels;
    for_items(self, items, chunks_for(rows), multiply_runs, &job, NULL, NULL);
    count_time(self, PHASE_GEMM);
}

/* One row between its two products. Returns the scale of what the second one gives. */
static float activate_inner(struct worker *self, float *gate, size_t inner, size_t rotation,
                            size_t row, uint8_t *q)
{
    struct engine *e = self->engine;
    return e->kernels->activate(gate, e->spec.gated ? gate + inner : NULL, inner, rotation,
                                self->team->scales[row], e->zeros, e->zeros, e->spec.activation, q,
                                NULL);
}

static void activate_pair(struct worker *self, const float *unused, size_t pair)
{
    struct engine *e = self->engine;
    struct expert_scratch *scratch = &self->session->experts;
    (void)unused;
    scratch->pair_scales[pair] =
        activate_inner(self, scratch->sums + pair * e->experts.sums_stride, e->experts.inner,
                       (size_t)e->spec.expert_rotation, (size_t)scratch->pair_rows[pair],
                       scratch->bytes + pair * e->experts.bytes_stride) *
        scratch->pair_weights[pair];
}

static void activate_shared(struct worker *self, const float *unused, size_t r)
{
    struct engine *e = self->engine;
    struct expert_scratch *scratch = &self->session->experts;
    size_t inner = e->experts.shared_inner;
    (void)unused;
    scratch->shared_scales[r] =
        activate_inner(self, self->team->gate_up + r * e->experts.inputs * inner, inner,
                       (size_t)e->spec.shared_rotation, r, self->team->quantized + r * inner) *
        scratch->shared_weights[r];
}

struct sum_job {
    const float *norm; /* of what is added */
    float *x;
};

/* Adds what the experts give, in their order, then what the shared one does. */
static void add_experts(struct worker *self, const void *context, size_t first, size_t last)
{
    const struct sum_job *job = context;
    struct engine *e = self->engine;
    const struct expert_sizes *sizes = &e->experts;
    struct expert_scratch *scratch = &self->session->experts;
    for (size_t r = first; r < last; r++) {
        float *z = NULL, *x = job->x + r * e->width;
        for (size_t j = 0; j <= sizes->used; j++) {
            float *next = scratch->shared_sums + r * e->width, scale;
            if (j < sizes->used) {
                int32_t pair = scratch->pairs[r * sizes->used + j];
                if (pair < 0)
                    continue;
                next = scratch->sums + (size_t)pair * sizes->sums_stride;
                scale = scratch->pair_scales[pair];
            } else if (sizes->shared_inner) {
                scale = scratch->shared_scales[r];
            } else {
                break;
            }
            e->kernels->scale_and_shift(next, e->width, scale, z ? z : e->zeros);
            z = next;
        }
        if (e->spec.post_norm)
            e->kernels->add_normed(z, e->width, (size_t)e->spec.d_model, e->spec.norm_eps,
                                   job->norm, (size_t)e->spec.model_rotation, x);
        else
            e->kernels->scale_and_shift(x, e->width, 1.0f, z);
    }
}

void forward_experts(struct worker *self, size_t layer, float *x, size_t rows)
{
    struct engine *e = self->engine;
    const struct layer *w = &e->layers[layer];
    const struct expert_sizes *sizes = &e->experts;
    struct expert_scratch *scratch = &self->session->experts;
    product(self, &w->experts.router, rows, scratch->logits, sizes->router_stride + PANEL,
            PRODUCT, 0);
    if (sizes->shared_inner)
        product(self, &w->experts.shared_gate_up, rows, self->team->gate_up,
                w->experts.shared_gate_up.columns, PRODUCT, 0);
    for_rows(self, rows, route_row, NULL);
    if (self->rank == 0)
        sort_pairs(self, rows);
    synchronize(self);
    size_t pairs = *scratch->pairs_count;
    for_rows(self, pairs, gather_pair, NULL);
    count_time(self, PHASE_MLP);
    product_of_runs(self, &w->experts.gate_up, rows);
    for_rows(self, pairs, activate_pair, NULL);
    if (sizes->shared_inner) {
        for_rows(self, rows, activate_shared, NULL);
        count_time(self, PHASE_MLP);
        product(self, &w->experts.shared_down, rows, scratch->shared_sums, e->width, PRODUCT, 0);
    }
    count_time(self, PHASE_MLP);
    product_of_runs(self, &w->experts.down, rows);
    struct sum_job job = {w->vectors.down_norm, x};
    for_items(self, rows, chunks_for(rows), add_experts, &job, NULL, NULL);
    count_time(self, PHASE_NORM);
}
