/* Integer softmax attention of one stream and one key/value head (docs/arithmetic.md, sections 4.3
 * to 4.5).
 *
 * Keys lie in panels whose columns are positions, values in panels whose columns are dimensions, so
 * that scores and weighted sums are the products of kernels_gemm.h and nothing is summed across
 * lanes. */

/* Rotary positions: head [D] -> two halves, each padded with zeros to h = D/2 rounded up. */
static inline void apply_rope(const float *y, size_t half, size_t h, const float *rope, float *head)
{
    /* The table is zero in the padding, and so is the result. */
    for (size_t i = 0; i < h; i += LANES) {
        vf a = vf_load(y + i), b = vf_load(y + half + i);
        vf c = vf_load(rope + i), n = vf_load(rope + h + i);
        vf_store(head + i, vf_sub(vf_mul(a, c), vf_mul(b, n)));
        vf_store(head + h + i, vf_add(vf_mul(b, c), vf_mul(a, n)));
    }
}

/* Turned, rotated and quantized: D bytes q + bias, padded to groups of four with `bias`; returns
 * the scale. */
static inline float quantize_head(const struct head_shape *shape, const float *y, const float *rope,
                                  float *head, int32_t bias, uint8_t *q)
{
    size_t half = shape->size / 2, h = round_up(half, PANEL);
    apply_rope(y, half, h, rope, head);
    if (shape->key_rotation > 1) { /* is one vector then, zeros behind it */
        memmove(head + half, head + h, h * sizeof(float));
        memset(head + half + h, 0, (h - half) * sizeof(float));
        return rotate_and_quantize(head, 2 * h, shape->key_rotation, bias, q, NULL);
    }
    float maximum = quantize_biased(head, 2 * h, bias, q);
    memmove(q + half, q + h, h);
    return maximum * (float)(1.0 / INT8_MAX);
}

static inline void insert_key(struct cache_block block, size_t column, size_t size,
                              const int8_t *key, float scale)
{
    int32_t sum = 0;
    for (size_t k = 0; k < size; k += 4)
        memcpy(block.keys + (k / 4 * PANEL + column) * 4, key + k, 4);
    for (size_t k = 0; k < size; k++)
        sum += key[k];
    block.key_sums[column] = -128 * sum;
    block.key_scales[column] = scale;
}

static inline void insert_value(struct cache_block block, size_t column, size_t size,
                                const int8_t *value, float scale)
{
    int8_t *to = block.values + column / 4 * PANEL * 4 + column % 4;
    for (size_t d = 0; d < size; d++)
        to[(d / PANEL * RUN * PANEL + d % PANEL) * 4] = value[d];
    block.value_scales[column] = scale;
}

/* New keys and values into the cache. */
static void insert(const struct head_shape *shape, const struct view *view,
                   const struct head_rows *rows, const struct attention_scratch *scratch)
{
    size_t size = shape->size, padded = round_up(size, PANEL),
           table = 2 * round_up(size / 2, PANEL);
    uint8_t bytes[2 * MAX_HEAD_DIM];
    for (size_t t = 0; t < view->count; t++) {
        const float *row = rows->qkv + t * rows->qkv_stride, *rope = view->rope + t * table;
        const float *key = row + (shape->heads + rows->group) * size,
                    *value = key + shape->groups * size;
        size_t slot = (size_t)view->slot[t], column = slot % PANEL;
        struct cache_block block = cache_block(&rows->cache, size, slot / PANEL);

        float key_scale = quantize_head(shape, key, rope, scratch->head, 0, bytes);
        insert_key(block, column, size, (const int8_t *)bytes, key_scale * rows->row_scale[t]);

        memset(scratch->head, 0, padded * sizeof(float));
        memcpy(scratch->head, value, size * sizeof(float));
        float maximum = quantize_biased(scratch->head, padded, 0, bytes);
        float scale = maximum * (float)(1.0 / INT8_MAX) * rows->row_scale[t];
        insert_value(block, column, size, (const int8_t *)bytes, scale);
        rows->bounds[t] = *rows->cache.largest = fmaxf(*rows->cache.largest, scale);
    }
}

/* Queries (uint8 q + 128) into the scratch: row (t - first) * H/G + h. */
static inline void quantize_queries(const struct head_shape *shape, const struct view *view,
                                    const struct head_rows *rows, size_t first, size_t last,
                                    const struct attention_scratch *scratch)
{
    size_t size = shape->size, shared = shape->heads / shape->groups, r = 0;
    size_t padded = round_up(size, PANEL), table = 2 * round_up(size / 2, PANEL);
    uint8_t bytes[2 * MAX_HEAD_DIM];
    for (size_t t = first; t < last; t++) {
        const float *row = rows->qkv + t * rows->qkv_stride, *rope = view->rope + t * table;
        for (size_t h = rows->group * shared; h < (rows->group + 1) * shared; h++, r++) {
            float scale = quantize_head(shape, row + h * size, rope, scratch->head, 128, bytes);
            memcpy(scratch->queries + r * padded, bytes, padded);
            scratch->query_scales[r] = scale * rows->row_scale[t];
        }
    }
}

/* Positions that query t must not see score -FLT_MAX, which leaves them the weight 0. */
static inline void hide(const struct view *view, size_t t, float *scores)
{
    const uint8_t *partial = view->partial + t * (view->slots / PANEL);
    int32_t query = view->first + (int32_t)t;
    for (size_t p = 0; p < view->used / PANEL; p++)
        if (partial[p])
            for (size_t j = p * PANEL; j < (p + 1) * PANEL; j++)
                scores[j] = is_visible(view->positions[j], query, view->window, view->local)
                                ? scores[j]
                                : -FLT_MAX;
}

#if defined(HAS_WORDS)
#include "kernels_words.h"
#else
#define LIMB_BYTES 1 /* from one position to the next */
#if !defined(HAS_TILES)
/* Bytes that are asked for per vector: as many as have time to come while it is computed. */
#define POWER_REQUEST (3 * CACHE_LINE)
#define WEIGHT_REQUEST (2 * CACHE_LINE)
#define ASKS_FOR_OWN(heads, start, queries) 0
#endif
/* Weights from position j on, of a row of n positions: low bytes, then high bytes. */
static inline void store_weights(uint8_t *limbs, size_t n, size_t j, vi w)
{
    vi_store_bytes(limbs + j, w);
    vi_store_bytes(limbs + n + j, vi_shift_right(w, 8));
}
#endif

/* Scores without the query's scale -> weights w_j in two bytes each, of a row of `slots`. Returns
 * the position of a weight 2^16, which does not fit and stands alone, or -1. */
static inline ptrdiff_t softmax(float *scores, size_t n, float scale,
                                const struct head_cache *cache, size_t size, float bound,
                                uint8_t *limbs, size_t slots, struct prefetch *wanted)
{
    struct prefetch ahead = *wanted; /* a copy, which no store can change */
    vf top = vf_load(scores), other = top;
    for (size_t i = 0; i < n; i += PANEL) {
        top = vf_max(top, vf_load(scores + i));
        other = vf_max(other, vf_load(scores + i + LANES));
        for (size_t j = 2 * LANES; j < PANEL; j += LANES)
            top = vf_max(top, vf_load(scores + i + j));
    }
    top = vf_max(top, other);
    /* Multiplying by a positive number keeps the order. */
    vf maximum = vf_set(vf_reduce_max(top) * scale);

    int32_t *powers = (int32_t *)(void *)scores;
    vi total = vi_set(0);
    for (size_t j = 0; j < n; j += PANEL) {
        for (size_t i = j; i < j + PANEL; i += LANES) {
            vf t = vf_sub(vf_mul(vf_load(scores + i), vf_set(scale)), maximum);
            vi power = vi_round(vf_mul(exp2_clamped(t), vf_set((float)(1 << ATTENTION_ONE_BITS))));
            total = vi_add(total, power);
            vi_store(powers + i, power);
            request(&ahead, POWER_REQUEST);
        }
    }
    vf factor = vf_set((float)(1 << ATTENTION_TOTAL_BITS) / ((float)vi_reduce_add(total) * bound));
    vi largest = vi_set(0);
    for (size_t j = 0; j < n; j += PANEL) {
        const float *value_scales = cache_block(cache, size, j / PANEL).value_scales;
        for (size_t i = 0; i < PANEL; i += LANES) {
            vf power = vf_from(vi_load(powers + j + i));
            vi w = vi_round(vf_mul(vf_mul(power, vf_load(value_scales + i)), factor));
            largest = vi_max(largest, w);
            store_weights(limbs, slots, j + i, w);
            request(&ahead, WEIGHT_REQUEST);
        }
    }
    *wanted = ahead;
    if (vi_reduce_max(largest) < 1 << 16)
        return -1;
    size_t alone = 0;
    while (alone + 1 < n && powers[alone] == 0)
        alone++;
    return (ptrdiff_t)alone;
}

#if !defined(HAS_TILES)
#define QUERIES_AT_ONCE 6
#define DIMENSIONS_AT_ONCE PANEL

/* Scores without the queries' scales of some queries and all positions in use. `own`: asks for this
 * head itself, some positions ahead, instead of what is wanted. */
static inline void scores_of(struct rows queries, int own, const struct head_cache *cache,
                             size_t size, size_t used, float *scores, size_t stride,
                             struct prefetch *wanted)
{
    for (size_t p = 0; p < used / PANEL; p++) {
        struct cache_block block = cache_block(cache, size, p);
        struct panel keys = {block.keys, (size + 3) / 4, 0};
        struct prefetch next = bytes_from(cache_block(cache, size, p + 1).keys, block_bytes(size));
        panel_product(queries, keys, block.key_sums, block.key_scales, scores + p * PANEL, stride,
                      NULL, own && p + 1 < used / PANEL ? &next : wanted);
    }
}

#if !defined(HAS_WORDS)
/* Σ w·v of up to DIMENSIONS_AT_ONCE dimensions for `queries` rows of limbs: int32 sums
 * [queries][DIMENSIONS_AT_ONCE]. */
static inline void weighted_sums(const uint8_t *limbs, size_t stride, size_t queries,
                                 struct panel panel, size_t dimensions, int32_t *out,
                                 struct prefetch *wanted)
{
    (void)dimensions;
    vi sums[TILE_ROWS * VECTORS], missing[VECTORS];
    size_t rows = 2 * queries, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    lacking(panel, missing);
    for (size_t i = 0; i < tiles; i++) {
        size_t start = tile_start(rows, tiles, i), count = tile_start(rows, tiles, i + 1) - start;
        tile(count, limbs + start * stride, stride, panel, sums, wanted);
        for (size_t r = start; r < start + count; r++)
            for (size_t v = 0; v < VECTORS; v++) {
                int32_t *to = out + r / 2 * PANEL + v * LANES;
                vi sum = vi_add(sums[(r - start) * VECTORS + v], missing[v]);
                vi_store(to, r % 2 ? vi_add(vi_load(to), vi_shift_left(sum, 8)) : sum);
            }
    }
}
#endif

#endif

/* The same for the values of all positions in use, of dimensions from d on: those of lent blocks
 * lie by themselves. */
static inline void weighted_values(const uint8_t *limbs, size_t stride, size_t queries,
                                   const struct head_cache *cache, size_t size, size_t used,
                                   size_t d, int32_t *out, struct prefetch *wanted)
{
    size_t blocks = used / PANEL, lent = cache->borrowed < blocks ? cache->borrowed : blocks;
    size_t gap = block_bytes(size) - RUN * PANEL * 4, dimensions = round_up(size, PANEL) - d;
    int32_t sums[QUERIES_AT_ONCE * DIMENSIONS_AT_ONCE];
    if (lent < blocks) {
        struct panel own = {cache_block(cache, size, lent).values + d * PANEL,
                            (blocks - lent) * PANEL / 4, gap};
        weighted_sums(limbs + lent * PANEL * LIMB_BYTES, stride, queries, own, dimensions, out,
                      wanted);
    }
    if (lent) {
        struct panel panel = {cache_block(cache, size, 0).values + d * PANEL, lent * PANEL / 4,
                              gap};
        weighted_sums(limbs, stride, queries, panel, dimensions, lent < blocks ? sums : out,
                      wanted);
    }
    if (lent && lent < blocks)
        for (size_t i = 0; i < queries * DIMENSIONS_AT_ONCE; i++)
            out[i] += sums[i];
}

static void attend(const struct head_shape *shape, const struct view *view,
                   const struct head_rows *heads, size_t first, size_t last,
                   const struct attention_scratch *scratch, struct prefetch *wanted)
{
    const struct head_cache *cache = &heads->cache;
    size_t size = shape->size, shared = shape->heads / shape->groups,
           padded = round_up(size, PANEL);
    size_t slots = view->slots, queries = (last - first) * shared;
    quantize_queries(shape, view, heads, first, last, scratch);

    for (size_t start = 0; start < queries; start += QUERIES_AT_ONCE) {
        size_t tile_size = queries - start < QUERIES_AT_ONCE ? queries - start : QUERIES_AT_ONCE;
        struct rows rows = {scratch->queries + start * padded, padded, tile_size};
        scores_of(rows, ASKS_FOR_OWN(heads, start, queries), cache, size, view->used,
                  scratch->scores, slots, wanted);

        ptrdiff_t alone[QUERIES_AT_ONCE];
        for (size_t r = 0; r < tile_size; r++) {
            size_t t = first + (start + r) / shared;
            float scale = scratch->query_scales[start + r];
            if (shape->cap.cap > 0) {
                finish(scratch->scores + r * slots, view->used, scale, NULL, shape->cap);
                scale = 1;
            }
            hide(view, t, scratch->scores + r * slots);
            alone[r] = softmax(scratch->scores + r * slots, view->used, scale, cache, size,
                               heads->bounds[t], scratch->limbs + 2 * r * slots, slots, wanted);
        }

        for (size_t d = 0; d < padded; d += DIMENSIONS_AT_ONCE) {
            int32_t sums[QUERIES_AT_ONCE * DIMENSIONS_AT_ONCE];
            weighted_values(scratch->limbs, slots, tile_size, cache, size, view->used, d, sums,
                            wanted);
            for (size_t r = 0; r < tile_size; r++) {
                size_t t = first + (start + r) / shared,
                       h = heads->group * shared + (start + r) % shared;
                float scale = heads->bounds[t] * (1.0f / (1 << ATTENTION_TOTAL_BITS));
                float *to = heads->out + t * heads->out_stride + h * size + d;
                if (alone[r] < 0 && d + DIMENSIONS_AT_ONCE <= size) {
                    for (size_t i = 0; i < DIMENSIONS_AT_ONCE; i += LANES)
                        vf_store(to + i, vf_mul(vf_from(vi_load(sums + r * DIMENSIONS_AT_ONCE + i)),
                                                vf_set(scale)));
                    continue;
                }
                size_t single = alone[r] < 0 ? 0 : (size_t)alone[r];
                const int8_t *values = cache_block(cache, size, single / PANEL).values + d * PANEL +
                                       single % PANEL / 4 * PANEL * 4 + single % 4;
                for (size_t i = 0; i < DIMENSIONS_AT_ONCE && d + i < size; i++) {
                    ptrdiff_t at = (ptrdiff_t)(i / PANEL * RUN * PANEL + i % PANEL) * 4;
                    int32_t sum = alone[r] < 0 ? sums[r * DIMENSIONS_AT_ONCE + i]
                                               : (1 << ATTENTION_TOTAL_BITS) * values[at];
                    to[i] = (float)sum * scale;
                }
            }
        }
    }
}
