/* The int8 products of linear layers and of attention by tiles, after simd_amx.h and
 * kernels_gemm.h: a panel of 32 columns times up to 32 rows at a time, in the layout that the
 * vector kernels use, too. */

#define MULTIPLY multiply_by_tiles
#define BLOCK_ROWS (2 * TILE_SIDE)
#define ROWS_PER_THREAD BLOCK_ROWS
#define STEPS_AHEAD 2
#define STEP_REQUEST (8 * CACHE_LINE) /* of the next panel: other rows have time for all of it */

/* Tiles 0 to 3 hold sums: [two of rows][two of columns]; 4 and 5 rows, 6 and 7 weights. With up to
 * 16 rows the lower ones are not used. */
static inline struct tile_shapes block_shapes(size_t rows)
{
    struct tile_shapes shapes = {.palette = 1};
    size_t upper = rows < TILE_SIDE ? rows : TILE_SIDE, lower = rows > upper ? rows - upper : 1;
    const size_t tile_rows[] = {upper, upper, lower, lower, upper, lower, TILE_SIDE, TILE_SIDE};
    for (size_t t = 0; t < 8; t++) {
        shapes.row_bytes[t] = TILE_ROW_BYTES;
        shapes.rows[t] = (uint8_t)tile_rows[t];
    }
    return shapes;
}

/* Sums that are stored and not yet converted: rows of one panel. */
struct pending {
    size_t rows;
    const int32_t *sums; /* [rows][PANEL] */
    const int32_t *correction;
    const float *scale;
    float *out; /* [rows][stride] */
    size_t stride;
    const float *row_scale; /* [rows], or NULL */
};

static inline __attribute__((always_inline)) void put_pending(struct pending *p, size_t rows)
{
    for (; rows > 0 && p->rows > 0; rows--, p->rows--) {
        vi sums[VECTORS];
        for (size_t v = 0; v < VECTORS; v++)
            sums[v] = vi_load(p->sums + v * LANES);
        put_sums(sums, p->correction, p->scale, p->out, p->row_scale);
        p->sums += PANEL;
        p->out += p->stride;
        p->row_scale += p->row_scale ? 1 : 0;
    }
}

/* Into the second-level cache. The addresses may lie behind what is there. */
static inline __attribute__((always_inline)) void prefetch_all(const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch(from + i, 0, 2);
}

/* One panel: int32 sums [rows][PANEL]; `lower` says whether there are more than 16 rows (a constant
 * after inlining). Between the products, which keep one unit of the processor busy, the others
 * convert the sums before these, and ask for what is wanted; and for the weights themselves, some
 * steps ahead, when these rows are the `first` of the panel. */
static inline __attribute__((always_inline)) void tile_block(int lower, int first, const uint8_t *a,
                                                             size_t stride, struct panel panel,
                                                             int32_t *sums, struct pending *before,
                                                             struct prefetch *wanted)
{
    struct pending pending = *before; /* copies, which no store can change */
    struct prefetch ahead = *wanted;
    size_t share = (pending.rows * TILE_SIDE + panel.groups - 1) / panel.groups;
    const int8_t *b = panel.data;
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (lower) {
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (size_t k = 0; k < panel.groups; k += TILE_SIDE) {
        TILE_LOAD(6, b + k * PANEL * 4, PANEL * 4);
        TILE_LOAD(4, a + k * 4, stride);
        TILE_DOT(0, 4, 6);
        TILE_LOAD(7, b + k * PANEL * 4 + TILE_ROW_BYTES, PANEL * 4);
        TILE_DOT(1, 4, 7);
        if (lower) {
            TILE_LOAD(5, a + k * 4 + TILE_SIDE * stride, stride);
            TILE_DOT(2, 5, 6);
            TILE_DOT(3, 5, 7);
        }
        put_pending(&pending, share);
        if (first)
            prefetch_all((const char *)b + (k + STEPS_AHEAD * TILE_SIDE) * PANEL * 4,
                         TILE_SIDE * PANEL * 4);
        else
            request(&ahead, STEP_REQUEST);
    }
    put_pending(&pending, pending.rows);
    TILE_STORE(0, sums, PANEL * 4);
    TILE_STORE(1, sums + TILE_SIDE, PANEL * 4);
    if (lower) {
        TILE_STORE(2, sums + TILE_SIDE * PANEL, PANEL * 4);
        TILE_STORE(3, sums + TILE_SIDE * PANEL + TILE_SIDE, PANEL * 4);
    }
    *wanted = ahead;
}

static void multiply_by_tiles(const struct matrix *w, struct rows a, size_t first, size_t last,
                              size_t after, float *out, size_t stride, const float *row_scale)
{
    if (a.count == 0)
        return;
    size_t blocks = (a.count + BLOCK_ROWS - 1) / BLOCK_ROWS, rows = (a.count + blocks - 1) / blocks,
           bytes = w->groups * 4 * PANEL;
    struct tile_shapes shapes = block_shapes(rows);
    _Alignas(64) int32_t sums[2][BLOCK_ROWS * PANEL];
    struct pending pending = {0};
    size_t turn = 0;
    tiles_configure(&shapes);
    for (size_t p = first; p < last; p++) {
        size_t n = p * PANEL;
        struct panel panel = {w->packed + p * bytes, w->groups, 0};
        struct prefetch next = wanted_panel(w, p + 1 < last ? p + 1 : after);
        for (size_t m = 0; m < a.count; m += rows, turn = !turn) {
            /* All blocks have the same shape: the last one begins among the rows before it. */
            size_t start = m + rows <= a.count ? m : a.count - rows;
            const uint8_t *from = a.data + start * a.stride;
            if (rows > TILE_SIDE)
                tile_block(1, m == 0, from, a.stride, panel, sums[turn], &pending, &next);
            else
                tile_block(0, m == 0, from, a.stride, panel, sums[turn], &pending, &next);
            pending = (struct pending){start + rows - m,
                                       sums[turn] + (m - start) * PANEL,
                                       w->correction + n,
                                       w->scale + n,
                                       out + m * stride + n,
                                       stride,
                                       row_scale ? row_scale + m : NULL};
        }
    }
    tiles_release();
    put_pending(&pending, pending.rows);
}

static inline void put_stored(const int32_t *sums, const int32_t *correction, const float *scale,
                              float *out, const float *row_scale)
{
    vi row[VECTORS];
    for (size_t v = 0; v < VECTORS; v++)
        row[v] = vi_load(sums + v * LANES);
    put_sums(row, correction, scale, out, row_scale);
}

/* Attention. The rows of tiles are queries, or the two limbs of their weights. */
#define QUERIES_AT_ONCE (TILE_SIDE / 2)
#define DIMENSIONS_AT_ONCE (4 * TILE_SIDE)

/* Bytes that are asked for per vector, and per block of positions, for the next head; most of a
 * head's lines are asked for in their order, some blocks before they are needed. */
#define POWER_REQUEST CACHE_LINE
#define WEIGHT_REQUEST CACHE_LINE
#define VALUES_REQUEST (2 * CACHE_LINE)
#define BLOCKS_AHEAD 2
#define ASKS_FOR_OWN(heads, start, queries) ((queries) <= QUERIES_AT_ONCE)

/* Tiles 0 to 3 hold sums of `rows` rows; 4 and 5 rows of `inner` and `rest` bytes, 6 and 7 what
 * they are multiplied by. */
static inline void configure_attention(size_t rows, size_t inner, size_t rest)
{
    struct tile_shapes shapes = {.palette = 1};
    for (size_t t = 0; t < 8; t++) {
        size_t bytes = t % 2 ? rest : inner;
        shapes.row_bytes[t] = (uint16_t)(t == 4 || t == 5 ? bytes : TILE_ROW_BYTES);
        shapes.rows[t] = (uint8_t)(t < 6 ? rows : bytes / 4);
    }
    tiles_configure(&shapes);
}

/* See kernels_attention.h. */
static inline void scores_of(struct rows queries, int own, const struct head_cache *cache,
                             size_t size, size_t used, float *scores, size_t stride,
                             struct prefetch *wanted)
{
    (void)wanted; /* this head's lines keep the memory busy */
    size_t whole = size / TILE_ROW_BYTES * TILE_ROW_BYTES, rest = round_up(size - whole, 4);
    _Alignas(64) int32_t sums[QUERIES_AT_ONCE * PANEL];
    configure_attention(queries.count, TILE_ROW_BYTES, rest ? rest : 4);
    for (size_t p = 0; p < used / PANEL; p++) {
        struct cache_block block = cache_block(cache, size, p);
        if (own)
            prefetch_all((const char *)block.keys + BLOCKS_AHEAD * block_bytes(size),
                         block_bytes(size));
        TILE_ZERO(0);
        TILE_ZERO(1);
        for (size_t k = 0; k < whole; k += TILE_ROW_BYTES) {
            TILE_LOAD(4, queries.data + k, queries.stride);
            TILE_LOAD(6, block.keys + k * PANEL, PANEL * 4);
            TILE_DOT(0, 4, 6);
            TILE_LOAD(6, block.keys + k * PANEL + TILE_ROW_BYTES, PANEL * 4);
            TILE_DOT(1, 4, 6);
        }
        if (rest) {
            TILE_LOAD(5, queries.data + whole, queries.stride);
            TILE_LOAD(7, block.keys + whole * PANEL, PANEL * 4);
            TILE_DOT(0, 5, 7);
            TILE_LOAD(7, block.keys + whole * PANEL + TILE_ROW_BYTES, PANEL * 4);
            TILE_DOT(1, 5, 7);
        }
        TILE_STORE(0, sums, PANEL * 4);
        TILE_STORE(1, sums + TILE_SIDE, PANEL * 4);
        for (size_t r = 0; r < queries.count; r++)
            put_stored(sums + r * PANEL, block.key_sums, block.key_scales,
                       scores + r * stride + p * PANEL, NULL);
    }
    tiles_release();
}

/* Σ w·v of up to DIMENSIONS_AT_ONCE dimensions for `queries` rows of limbs: int32 sums
 * [queries][DIMENSIONS_AT_ONCE]. */
static inline void weighted_sums(const uint8_t *limbs, size_t stride, size_t queries,
                                 struct panel panel, size_t dimensions, int32_t *out,
                                 struct prefetch *wanted)
{
    _Alignas(64) int32_t sums[2 * QUERIES_AT_ONCE * DIMENSIONS_AT_ONCE];
    struct prefetch ahead = *wanted; /* a copy, which no store can change */
    const int8_t *b = panel.data;
    configure_attention(2 * queries, RUN * 4, RUN * 4);
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (size_t k = 0; k < panel.groups; k += RUN, b += RUN * PANEL * 4 + panel.gap) {
        TILE_LOAD(4, limbs + k * 4, stride);
        TILE_LOAD(6, b, PANEL * 4);
        TILE_DOT(0, 4, 6);
        TILE_LOAD(7, b + TILE_ROW_BYTES, PANEL * 4);
        TILE_DOT(1, 4, 7);
        if (dimensions > PANEL) {
            TILE_LOAD(6, b + RUN * PANEL * 4, PANEL * 4);
            TILE_DOT(2, 4, 6);
            TILE_LOAD(7, b + RUN * PANEL * 4 + TILE_ROW_BYTES, PANEL * 4);
            TILE_DOT(3, 4, 7);
        }
        request(&ahead, VALUES_REQUEST);
    }
    TILE_STORE(0, sums, DIMENSIONS_AT_ONCE * 4);
    TILE_STORE(1, sums + TILE_SIDE, DIMENSIONS_AT_ONCE * 4);
    TILE_STORE(2, sums + 2 * TILE_SIDE, DIMENSIONS_AT_ONCE * 4);
    TILE_STORE(3, sums + 3 * TILE_SIDE, DIMENSIONS_AT_ONCE * 4);
    tiles_release();
    *wanted = ahead;
    for (size_t r = 0; r < queries; r++)
        for (size_t i = 0; i < DIMENSIONS_AT_ONCE; i += LANES) {
            const int32_t *low = sums + 2 * r * DIMENSIONS_AT_ONCE + i;
            vi high = vi_shift_left(vi_load(low + DIMENSIONS_AT_ONCE), 8);
            vi_store(out + r * DIMENSIONS_AT_ONCE + i, vi_add(vi_load(low), high));
        }
}

static int64_t peak(size_t rounds)
{
    struct tile_shapes shapes = block_shapes(BLOCK_ROWS);
    tiles_configure(&shapes);
    for (size_t n = 0; n < rounds; n++) {
        TILE_DOT(0, 4, 6);
        TILE_DOT(1, 4, 7);
        TILE_DOT(2, 5, 6);
        TILE_DOT(3, 5, 7);
    }
    tiles_release();
    return (int64_t)rounds * 4 * TILE_SIDE * TILE_SIDE * TILE_ROW_BYTES;
}
