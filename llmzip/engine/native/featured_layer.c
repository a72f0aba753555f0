/* A layer of a decoder with features (docs/arithmetic.md, section 4.9). */
#include <string.h>

#include "worker.h"

/* A larger residual vector without a norm before the layer is read as if it were this large. */
#define MAX_INPUT_SCALE 32.0f

static size_t first_row(const struct worker *self, size_t rows)
{
    return partition(rows, self->rank, self->size);
}

static size_t last_row(const struct worker *self, size_t rows)
{
    return partition(rows, self->rank + 1, self->size);
}

static void read_residual(struct worker *self, const float *x, size_t rows)
{
    struct engine *e = self->engine;
    if (e->spec.pre_norm) {
        normalize_rows(self, x, rows);
        return;
    }
    for (size_t r = first_row(self, rows); r < last_row(self, rows); r++) {
        float scale =
            e->kernels->quantize(x + r * e->width, e->width, self->team->quantized + r * e->width) *
            (float)(1.0 / INT8_MAX);
        self->team->scales[r] = scale < MAX_INPUT_SCALE ? scale : MAX_INPUT_SCALE;
    }
    synchronize(self);
    count_time(self, PHASE_NORM);
}

static void normalize_heads(const struct engine *e, float *y, size_t heads, const float *gain)
{
    size_t size = (size_t)e->spec.head_dim,
           length = e->spec.head_norm == HEAD_NORM_ALL ? heads * size : size;
    for (size_t i = 0; i < heads * size; i += length)
        e->kernels->gain_norm(y + i, length, e->spec.norm_eps, gain + i);
}

/* Scales, biases and norms of queries, keys and values, whose scale is 1 then. */
static void finish_qkv(struct worker *self, const struct layer *w, size_t rows)
{
    struct engine *e = self->engine;
    size_t heads = (size_t)e->spec.heads, groups = (size_t)e->spec.kv_heads;
    for (size_t r = first_row(self, rows); r < last_row(self, rows); r++) {
        float *y = self->team->qkv + r * w->qkv.columns;
        e->kernels->scale_and_shift(y, w->qkv.columns, self->team->scales[r], w->vectors.qkv_bias);
        if (e->spec.head_norm != HEAD_NORM_NONE) {
            normalize_heads(e, y, heads, w->vectors.q_norm);
            normalize_heads(e, y + heads * (size_t)e->spec.head_dim, groups, w->vectors.k_norm);
        }
        self->team->kept[r] = self->team->scales[r];
        self->team->scales[r] = 1.0f;
    }
    synchronize(self);
    count_time(self, PHASE_ATTENTION);
}

static void activate_rows(struct worker *self, const struct layer *w, size_t rows)
{
    struct engine *e = self->engine;
    const struct spec *spec = &e->spec;
    size_t columns = w->gate_up.columns;
    const float *scales = spec->parallel ? self->team->kept : self->team->scales;
    for (size_t r = first_row(self, rows); r < last_row(self, rows); r++) {
        float *gate = self->team->gate_up + r * columns;
        self->team->scales[r] = e->kernels->activate(
            gate, spec->gated ? gate + e->inner : NULL, e->inner, (size_t)spec->mlp_rotation,
            scales[r], w->vectors.gate_up_bias, w->vectors.gate_up_bias + e->inner,
            spec->activation, self->team->quantized + r * e->inner);
    }
    synchronize(self);
    count_time(self, PHASE_MLP);
}

/* Adds the product of the team's rows to x, with its bias (or NULL) and its norm. */
static void add_product(struct worker *self, const struct matrix *matrix, const float *bias,
                        const float *norm, float *x, size_t rows)
{
    struct engine *e = self->engine;
    size_t width = e->width, d = (size_t)e->spec.d_model;
    int normed = e->spec.post_norm;
    product(self, matrix, rows, normed ? self->team->added : x, width, !normed);
    if (!normed && !bias)
        return;
    for (size_t r = first_row(self, rows); r < last_row(self, rows); r++) {
        float *to = x + r * width, *y = self->team->added + r * width;
        if (!normed) {
            e->kernels->scale_and_shift(to, width, 1.0f, bias);
            continue;
        }
        e->kernels->finish(y, width, self->team->scales[r], bias, (struct soft_cap){0, 0});
        e->kernels->add_normed(y, width, d, e->spec.norm_eps, norm, (size_t)e->spec.model_rotation,
                               to);
    }
    synchronize(self);
    count_time(self, PHASE_NORM);
}

void forward_featured(struct worker *self, size_t layer, size_t first, size_t streams)
{
    struct engine *e = self->engine;
    const struct layer *w = &e->layers[layer];
    const struct layer_vectors *v = &w->vectors;
    size_t rows = streams * self->session->view.count;
    float *x = self->session->x + first * self->session->view.count * e->width;
    read_residual(self, x, rows);
    product(self, &w->qkv, rows, self->team->qkv, w->qkv.columns, 0);
    if (e->spec.parallel)
        product(self, &w->gate_up, rows, self->team->gate_up, w->gate_up.columns, 0);
    finish_qkv(self, w, rows);
    attention(self, layer, first, streams);
    add_product(self, &w->o, v->has_o_bias ? v->o_bias : NULL, v->o_norm, x, rows);
    if (!e->spec.parallel) {
        read_residual(self, x, rows);
        product(self, &w->gate_up, rows, self->team->gate_up, w->gate_up.columns, 0);
    }
    activate_rows(self, w, rows);
    add_product(self, &w->down, v->has_down_bias ? v->down_bias : NULL, v->down_norm, x, rows);
}
