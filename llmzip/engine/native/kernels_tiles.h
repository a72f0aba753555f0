/* The int8 product by tiles, after simd_amx.h and kernels_gemm.h: a panel of 32 columns times up to
 * 32 rows at a time, in the layout that the vector kernels use, too. */

#define MULTIPLY multiply_by_tiles
#define BLOCK_ROWS (2 * TILE_SIDE)

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

/* One panel: int32 sums [rows][PANEL]. `lower` says whether there are more than 16 rows (a constant
 * after inlining). */
static inline __attribute__((always_inline)) void
tile_sums_of(int lower, const uint8_t *a, size_t stride, struct panel panel, int32_t *sums)
{
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
    }
    TILE_STORE(0, sums, PANEL * 4);
    TILE_STORE(1, sums + TILE_SIDE, PANEL * 4);
    if (lower) {
        TILE_STORE(2, sums + TILE_SIDE * PANEL, PANEL * 4);
        TILE_STORE(3, sums + TILE_SIDE * PANEL + TILE_SIDE, PANEL * 4);
    }
}

static void multiply_by_tiles(const struct matrix *w, struct rows a, size_t first, size_t last,
                              float *out, size_t stride, const float *row_scale)
{
    if (a.count == 0)
        return;
    size_t blocks = (a.count + BLOCK_ROWS - 1) / BLOCK_ROWS, rows = (a.count + blocks - 1) / blocks,
           bytes = w->groups * 4 * PANEL;
    struct tile_shapes shapes = block_shapes(rows);
    _Alignas(64) int32_t sums[BLOCK_ROWS * PANEL];
    tiles_configure(&shapes);
    for (size_t p = first; p < last; p++) {
        size_t n = p * PANEL;
        struct panel panel = {w->packed + p * bytes, w->groups, 0};
        for (size_t m = 0; m < a.count; m += rows) {
            /* All blocks have the same shape: the last one begins among the rows before it. */
            size_t start = m + rows <= a.count ? m : a.count - rows;
            if (rows > TILE_SIDE)
                tile_sums_of(1, a.data + start * a.stride, a.stride, panel, sums);
            else
                tile_sums_of(0, a.data + start * a.stride, a.stride, panel, sums);
            for (size_t r = m; r < start + rows; r++) {
                vi row[VECTORS];
                for (size_t v = 0; v < VECTORS; v++)
                    row[v] = vi_load(sums + (r - start) * PANEL + v * LANES);
                put_sums(row, w->correction + n, w->scale + n, out + r * stride + n,
                         row_scale ? row_scale + r : NULL);
            }
        }
    }
    tiles_release();
}
