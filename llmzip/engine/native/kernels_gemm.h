/* The int8 product, used by every linear layer and by attention (scores and weighted sums).
 *
 * A tile keeps R rows x 32 columns of int32 sums in registers: R broadcasts and PANEL / LANES
 * weight vectors per group of four k. */

#define VECTORS (PANEL / LANES)

/* The weights of a tile: groups of four k in runs of RUN, `gap` bytes between them. */
struct panel {
    const int8_t *data;
    size_t groups, gap;
};

#define RUN 8 /* a block of the cache has 32 positions: 8 groups */

/* sums[r * VECTORS + v] of `rows` rows (a constant after inlining). Asks for what is wanted. */
static inline __attribute__((always_inline)) void tile_sums(size_t rows, const uint8_t *a,
                                                            size_t stride, struct panel panel,
                                                            vi *sums, struct prefetch *wanted)
{
    vi sum[TILE_ROWS][VECTORS];
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (size_t v = 0; v < VECTORS; v++)
            sum[r][v] = vi_set(0);
    const int8_t *b = panel.data;
    const char *line = wanted->next;
    size_t step = (size_t)(wanted->end - line) < panel.groups * wanted->pace ? 0 : wanted->pace;
    for (size_t k = 0; k < panel.groups;) {
        for (size_t end = k + RUN < panel.groups ? k + RUN : panel.groups; k < end;
             k++, b += PANEL * 4) {
            vi weights[VECTORS];
            __builtin_prefetch(line, 0, 2);
            line += step;
#pragma GCC unroll 16
            for (size_t v = 0; v < VECTORS; v++)
                weights[v] = vi_load(b + v * LANES * 4);
#pragma GCC unroll 16
            for (size_t r = 0; r < rows; r++) {
                vi x = vi_broadcast(a + r * stride + k * 4);
#pragma GCC unroll 16
                for (size_t v = 0; v < VECTORS; v++)
                    sum[r][v] = vi_dot(sum[r][v], x, weights[v]);
            }
        }
        b += panel.gap;
    }
    wanted->next = line;
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (size_t v = 0; v < VECTORS; v++)
            sums[r * VECTORS + v] = sum[r][v];
}

/* One panel times `rows` rows, at most TILE_ROWS. */
static void tile(size_t rows, const uint8_t *a, size_t stride, struct panel panel, vi *sums,
                 struct prefetch *wanted)
{
    switch (rows) {
#define ROWS(R)                                       \
    case R:                                           \
        tile_sums(R, a, stride, panel, sums, wanted); \
        break;
        ROWS(1)
#if TILE_ROWS >= 2
        ROWS(2)
#endif
#if TILE_ROWS >= 3
        ROWS(3)
#endif
#if TILE_ROWS >= 12
        ROWS(4)
        ROWS(5)
        ROWS(6)
        ROWS(7)
        ROWS(8)
        ROWS(9)
        ROWS(10)
        ROWS(11)
        ROWS(12)
#endif
#undef ROWS
    default:
        __builtin_unreachable();
    }
}

/* Rows of activations are x + 128, and what that adds to a sum is taken off again, unless the dot
 * product did so. */
static inline vi corrected(vi sum, const int32_t *correction)
{
#if defined(SIGNED_ROWS)
    (void)correction;
    return sum;
#else
    return vi_add(sum, vi_load(correction));
#endif
}

/* The correction of sums whose rows hold the numbers 0 ... 255 themselves: [VECTORS]. */
static inline void lacking(struct panel panel, vi *missing)
{
    for (size_t v = 0; v < VECTORS; v++)
        missing[v] = vi_set(0);
#if defined(SIGNED_ROWS)
    const int8_t *b = panel.data;
    for (size_t k = 0; k < panel.groups; k++) {
        for (size_t v = 0; v < VECTORS; v++)
            missing[v] = vi_dot(missing[v], vi_set(0x01010101), vi_load(b + v * LANES * 4));
        b += PANEL * 4 + (k % RUN == RUN - 1 ? panel.gap : 0);
    }
    for (size_t v = 0; v < VECTORS; v++)
        missing[v] = vi_shift_left(missing[v], 7);
#else
    (void)panel;
#endif
}

/* Rows of tile i of n: as equal as can be, since a low tile costs almost as much as a full one. */
static inline size_t tile_start(size_t rows, size_t tiles, size_t i) { return rows * i / tiles; }

/* 32 columns of a row: out = f32(sum + correction) * scale; with `row_scale`, out += that *
 * *row_scale. */
static inline void put_sums(const vi *sums, const int32_t *correction, const float *scale,
                            float *out, const float *row_scale)
{
    for (size_t v = 0; v < VECTORS; v++) {
        vi sum = corrected(sums[v], correction + v * LANES);
        vf y = vf_mul(vf_from(sum), vf_load(scale + v * LANES));
        if (row_scale)
            y = vf_add(vf_load(out + v * LANES), vf_mul(y, vf_set(*row_scale)));
        vf_store(out + v * LANES, y);
    }
}

/* One panel times all rows. */
static inline void panel_product(struct rows a, struct panel panel, const int32_t *correction,
                                 const float *scale, float *out, size_t stride,
                                 const float *row_scale, struct prefetch *wanted)
{
    vi sums[TILE_ROWS * VECTORS];
    size_t tiles = (a.count + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t i = 0; i < tiles; i++) {
        size_t start = tile_start(a.count, tiles, i),
               rows = tile_start(a.count, tiles, i + 1) - start;
        tile(rows, a.data + start * a.stride, a.stride, panel, sums, wanted);
        for (size_t r = 0; r < rows; r++)
            put_sums(sums + r * VECTORS, correction, scale, out + (start + r) * stride,
                     row_scale ? row_scale + start + r : NULL);
    }
}

#if !defined(HAS_TILES)
static void multiply(const struct matrix *w, struct rows a, size_t first, size_t last, size_t after,
                     float *out, size_t stride, const float *row_scale)
{
#if defined(NARROW_WEIGHTS)
    if (w->has_lowest) { /* no model of ours: their weights are quantized to +-127 */
        kernels_portable.multiply(w, a, first, last, after, out, stride, row_scale);
        return;
    }
#endif
    size_t bytes = w->groups * 4 * PANEL, tiles = (a.count + TILE_ROWS - 1) / TILE_ROWS;
    /* So that a panel's lines come while all tiles of the one before it are computed. */
    size_t pace = tiles * CACHE_LINE <= PANEL * 4 ? CACHE_LINE : larger(PANEL * 4 / tiles, 1);
    for (size_t p = first; p < last; p++) {
        size_t n = p * PANEL;
        struct panel panel = {w->packed + p * bytes, w->groups, 0};
        struct prefetch next = wanted_panel(w, p + 1 < last ? p + 1 : after);
        next.pace = pace;
        panel_product(a, panel, w->correction + n, w->scale + n, out + n, stride, row_scale, &next);
    }
}
#endif
