/* What decoders have beyond the plain one: their vectors, and what their layers see. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static int new_vectors(const struct engine *engine, struct layer *layer)
{
    const struct spec *spec = &engine->spec;
    size_t size = (size_t)spec->head_dim, q = round_up((size_t)spec->heads * size, PANEL),
           k = round_up((size_t)spec->kv_heads * size, PANEL), d = engine->width;
    size_t lengths[] = {layer->qkv.columns, d, layer->gate_up.columns, d, q, k, d, d}, total = 0;
    for (int i = 0; i < 8; i++)
        total += lengths[i];
    struct layer_vectors *v = &layer->vectors;
    float *next = v->all = calloc(total, sizeof(float));
    float **parts[] = {&v->qkv_bias, &v->o_bias, &v->gate_up_bias, &v->down_bias,
                       &v->q_norm,   &v->k_norm, &v->o_norm,       &v->down_norm};
    for (int i = 0; next && i < 8; i++) {
        *parts[i] = next;
        next += lengths[i];
    }
    return v->all != NULL;
}

static struct soft_cap soft_cap(float cap)
{
    return (struct soft_cap){cap, cap > 0 ? (float)(2.0 * LOG2_E / cap) : 0};
}

struct soft_cap features_score_cap(const struct spec *spec)
{
    return soft_cap(spec->featured ? spec->attention_cap : 0);
}

int features_new(struct engine *engine)
{
    const struct spec *spec = &engine->spec;
    engine->views = calloc((size_t)spec->layers + 1, sizeof *engine->views);
    if (!engine->views)
        return 0;
    engine->views[0] = (struct view_kind){0, INT32_MAX};
    engine->views_count = 1;
    if (!spec->featured)
        return 1;
    engine->head_cap = soft_cap(spec->logit_cap);
    engine->finishes_head = spec->logit_cap > 0;
    engine->views_count = 0;
    for (int i = 0; i < spec->layers; i++)
        if (!new_vectors(engine, &engine->layers[i]))
            return 0;
    engine->head_bias = calloc(engine->buckets * BUCKET_SIZE, sizeof(float));
    engine->zeros = calloc(engine->experts.bytes_stride + engine->gate_stride, sizeof(float));
    return engine->head_bias && engine->zeros;
}

void features_free(struct engine *engine)
{
    for (int i = 0; engine->layers && i < engine->spec.layers; i++)
        free(engine->layers[i].vectors.all);
    free(engine->head_bias);
    free(engine->zeros);
    free(engine->views);
}

void llmzip_engine_layer(struct engine *engine, int layer, int rope_table, int window, int wide)
{
    struct view_kind kind = {rope_table, window > 0 ? window : INT32_MAX};
    size_t i = 0;
    while (i < engine->views_count &&
           (engine->views[i].rope_table != kind.rope_table || engine->views[i].local != kind.local))
        i++;
    if (i == engine->views_count)
        engine->views[engine->views_count++] = kind;
    engine->layers[layer].view = i;
    engine->layers[layer].wide = (unsigned)wide;
}

void llmzip_engine_positions(struct engine *engine, const int8_t *weight, const float *scale)
{
    engine->positions = weight;
    engine->positions_scale = scale;
}

/* The gain of one head for each of them, or of all heads. */
static void put_heads(const struct spec *spec, float *to, size_t heads, const float *values)
{
    size_t size = (size_t)spec->head_dim;
    for (size_t h = 0; h < heads; h++)
        memcpy(to + h * size, values + (spec->head_norm == HEAD_NORM_ALL ? h * size : 0),
               size * sizeof(float));
}

void llmzip_engine_vector(struct engine *engine, int vector, int layer, const float *values)
{
    const struct spec *spec = &engine->spec;
    struct layer_vectors *v = &engine->layers[layer].vectors;
    size_t d = (size_t)spec->d_model, f = (size_t)spec->d_ff, heads = (size_t)spec->heads,
           groups = (size_t)spec->kv_heads, size = (size_t)spec->head_dim;
    switch (vector) {
    case VECTOR_Q_BIAS:
        memcpy(v->qkv_bias, values, heads * size * sizeof(float));
        break;
    case VECTOR_K_BIAS:
        memcpy(v->qkv_bias + heads * size, values, groups * size * sizeof(float));
        break;
    case VECTOR_O_BIAS:
        memcpy(v->o_bias, values, d * sizeof(float));
        v->has_o_bias = 1;
        break;
    case VECTOR_GATE_BIAS:
        memcpy(v->gate_up_bias, values, f * sizeof(float));
        break;
    case VECTOR_UP_BIAS:
        memcpy(v->gate_up_bias + engine->inner, values, f * sizeof(float));
        break;
    case VECTOR_DOWN_BIAS:
        memcpy(v->down_bias, values, d * sizeof(float));
        v->has_down_bias = 1;
        break;
    case VECTOR_Q_NORM:
        put_heads(spec, v->q_norm, heads, values);
        break;
    case VECTOR_K_NORM:
        put_heads(spec, v->k_norm, groups, values);
        break;
    case VECTOR_O_NORM:
        memcpy(v->o_norm, values, d * sizeof(float));
        break;
    case VECTOR_DOWN_NORM:
        memcpy(v->down_norm, values, d * sizeof(float));
        break;
    default:
        memcpy(engine->head_bias, values, (size_t)spec->vocab * sizeof(float));
        engine->finishes_head = 1;
    }
}
