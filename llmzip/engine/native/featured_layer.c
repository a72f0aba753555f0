/* A layer of a decoder with features (docs/arithmetic.md, section 4.9). */
#include <string.h>

#include "worker.h"

/* A larger residual vector without a norm before the layer is read as if it were this large. */
#define MAX_INPUT_SCALE 32.0f

/* What a product with a wide input gives is scaled already. */
static float read_scale(const struct worker *self, size_t r, int wide)
{
    return wide ? 1.0f : self->team->scales[r];
}

static size_t first_row(const struct worker *self, size_t rows)
{
    return partition(rows, self->rank, self->size);
}

static size_t last_row(const struct worker *self, size_t rows)
{
    return partition(rows, self->rank + 1, self->size);
}

/* A row to the team's quantized ones, without a norm or in 16 bits. */
static float read_row(const struct worker *self, const float *x, size_t r, int wide)
{
    const struct engine *e = self->engine;
    const struct kernels *k = e->kernels;
    size_t n = e->width;
    uint8_t *q = self->team->quantized + r * n, *high = self->team->high + r * n;
    if (e->spec.pre_norm)
        return k->normalize_wide(x + r * n, n, e->inverse_width, e->spec.norm_eps, q, high);
    float scale = wide ? k->quantize_wide(x + r * n, n, q, high) * (float)(1.0 / WIDE_MAX)
                       : k->quantize(x + r * n, n, q) * (float)(1.0 / INT8_MAX);
    float most = wide ? MAX_INPUT_SCALE / WIDE_BASE : MAX_INPUT_SCALE;
    return scale < most ? scale : most;
}

static void read_residual(struct worker *self, const float *x, size_t rows, int wide)
{
    if (self->engine->spec.pre_norm && !wide) {
        normalize_rows(self, x, rows);
        return;
    }
    for (size_t r = first_row(self, rows); r < last_row(self, rows); r++) {
        float scale = read_row(self, x, r, wide);
        self->team->scales[r] = scale;
        self->team->high_scales[r] = scale * WIDE_BASE;
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
        float *y = self->team->qkv + r * w->qkv.columns,
              scale = read_scale(self, r, is_wide(w, WIDE_Q));
        e->kernels->scale_and_shift(y, w->qkv.columns, scale, w->vectors.qkv_bias);
        if (e->spec.head_norm != HEAD_NORM_NONE) {
            normalize_heads(e, y, heads, w->vectors.q_norm);
            normalize_heads(e, y + heads * (size_t)e->spec.head_dim, groups, w->vectors.k_norm);
        }
        self->team->kept[r] = scale;
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
    int wide = is_wide(w, WIDE_DOWN);
    for (size_t r = first_row(self, rows); r < last_row(self, rows); r++) {
        float *gate = self->team->gate_up + r * columns,
              scale = spec->parallel ? self->team->kept[r]
                                     : read_scale(self, r, is_wide(w, WIDE_GATE));
        self->team->scales[r] = e->kernels->activate(
            gate, spec->gated ? gate + e->inner : NULL, e->inner, (size_t)spec->mlp_rotation, scale,
            w->vectors.gate_up_bias, w->vectors.gate_up_bias + e->inner, spec->activation,
            self->team->quantized + r * e->inner,
            wide ? self->team->high + r * e->inner : NULL);
        self->team->high_scales[r] = self->team->scales[r] * WIDE_BASE;
    }
    synchronize(self);
    count_time(self, PHASE_MLP);
}

/* Adds the product of the team's rows to x, with its bias (or NULL) and its norm. */
static void add_product(struct worker *self, const struct matrix *matrix, int wide,
                        const float *bias, const float *norm, float *x, size_t rows)
{
    struct engine *e = self->engine;
    size_t width = e->width, d = (size_t)e->spec.d_model;
    int normed = e->spec.post_norm;
    product(self, matrix, rows, normed ? self->team->added : x, width,
            normed ? SCALED_PRODUCT : ADDED_PRODUCT, wide);
    if (!normed && !bias)
        return;
    for (size_t r = first_row(self, rows); r < last_row(self, rows); r++) {
        float *to = x + r * width, *y = self->team->added + r * width;
        if (!normed) {
            e->kernels->scale_and_shift(to, width, 1.0f, bias);
            continue;
        }
        if (bias)
            e->kernels->scale_and_shift(y, width, 1.0f, bias);
        e->kernels->add_normed(y, width, d, e->spec.norm_eps, norm, (size_t)e->spec.model_rotation,
                               to);
    }
    synchronize(self);
    count_time(self, PHASE_NORM);
}

/* A product of what a layer has read; of 8 bits the rows' scales are left to the caller. */
static void product_of_read(struct worker *self, const struct matrix *matrix, size_t rows,
                            float *out, int wide)
{
    product(self, matrix, rows, out, matrix->columns, wide ? SCALED_PRODUCT : PRODUCT, wide);
}

void forward_featured(struct worker *self, size_t layer, size_t first, size_t streams)
{
    struct engine *e = self->engine;
    const struct layer *w = &e->layers[layer];
    const struct layer_vectors *v = &w->vectors;
    size_t rows = streams * self->session->view.count;
    float *x = self->session->x + first * self->session->view.count * e->width;
    int wide = is_wide(w, WIDE_Q);
    read_residual(self, x, rows, wide);
    product_of_read(self, &w->qkv, rows, self->team->qkv, wide);
    if (e->spec.parallel)
        product_of_read(self, &w->gate_up, rows, self->team->gate_up, wide);
    finish_qkv(self, w, rows);
    attention(self, layer, first, streams);
    add_product(self, &w->o, is_wide(w, WIDE_O), v->has_o_bias ? v->o_bias : NULL, v->o_norm, x,
                rows);
    if (w->has_experts) {
        read_residual(self, x, rows, 0);
        forward_experts(self, layer, x, rows);
        return;
    }
    if (!e->spec.parallel) {
        wide = is_wide(w, WIDE_GATE);
        read_residual(self, x, rows, wide);
        product_of_read(self, &w->gate_up, rows, self->team->gate_up, wide);
    }
    activate_rows(self, w, rows);
    add_product(self, &w->down, is_wide(w, WIDE_DOWN), v->has_down_bias ? v->down_bias : NULL,
                v->down_norm, x, rows);
}
