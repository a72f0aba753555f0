/* AMX's tiles for bytes in plain C, in the place of the file of the same name. What a processor
 * would refuse (an undefined instruction) ends the process. */
#include <stdio.h>
#include <stdlib.h>

#define TILE_SIDE 16
#define TILE_ROW_BYTES 64

struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static _Thread_local struct {
    struct tile_shapes shapes; /* palette 0: none, as after tilerelease */
    uint8_t rows[8][TILE_SIDE][TILE_ROW_BYTES];
} emulated;

static inline void tile_needs(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "tiles: %s\n", what);
        abort();
    }
}

static inline void tile_is_there(int t)
{
    tile_needs(emulated.shapes.palette == 1, "used without a configuration");
    tile_needs(emulated.shapes.rows[t] && emulated.shapes.row_bytes[t], "a tile without a shape");
}

static inline void tiles_configure(const struct tile_shapes *shapes)
{
    tile_needs(shapes->palette == 1 && !shapes->start_row, "another palette or start");
    for (int i = 0; i < 14; i++)
        tile_needs(!shapes->reserved[i], "reserved bytes");
    for (int t = 0; t < 16; t++) {
        tile_needs(shapes->rows[t] <= TILE_SIDE && shapes->row_bytes[t] <= TILE_ROW_BYTES,
                   "a tile too large");
        tile_needs(!shapes->rows[t] == !shapes->row_bytes[t], "half of a shape");
        tile_needs(t < 8 || !shapes->rows[t], "more than eight tiles");
    }
    memset(&emulated, 0, sizeof emulated);
    emulated.shapes = *shapes;
}

static inline void tiles_release(void) { memset(&emulated, 0, sizeof emulated); }

static inline void tile_zero(int t)
{
    tile_is_there(t);
    memset(emulated.rows[t], 0, sizeof emulated.rows[t]);
}

static inline void tile_load(int t, const void *from, size_t stride)
{
    tile_zero(t);
    for (size_t r = 0; r < emulated.shapes.rows[t]; r++)
        memcpy(emulated.rows[t][r], (const uint8_t *)from + r * stride,
               emulated.shapes.row_bytes[t]);
}

static inline void tile_store(int t, void *to, size_t stride)
{
    tile_is_there(t);
    for (size_t r = 0; r < emulated.shapes.rows[t]; r++)
        memcpy((uint8_t *)to + r * stride, emulated.rows[t][r], emulated.shapes.row_bytes[t]);
}

static inline void tile_dot(int sums, int rows, int weights)
{
    const struct tile_shapes *shapes = &emulated.shapes;
    tile_is_there(sums);
    tile_is_there(rows);
    tile_is_there(weights);
    tile_needs(sums != rows && rows != weights && sums != weights, "one tile twice");
    tile_needs(shapes->rows[sums] == shapes->rows[rows] &&
                   shapes->row_bytes[sums] == shapes->row_bytes[weights] &&
                   shapes->row_bytes[rows] == 4 * shapes->rows[weights] &&
                   shapes->row_bytes[sums] % 4 == 0,
               "shapes that do not fit");
    for (size_t m = 0; m < shapes->rows[sums]; m++) {
        vi sum = vi_load(emulated.rows[sums][m]); /* beyond a row's bytes all is zero */
        for (size_t k = 0; k < shapes->rows[weights]; k++)
            sum = vi_dot(sum, vi_broadcast(emulated.rows[rows][m] + 4 * k),
                         vi_load(emulated.rows[weights][k]));
        vi_store(emulated.rows[sums][m], sum);
    }
}

#define TILE_ZERO(t) tile_zero(t)
#define TILE_LOAD(t, from, stride) tile_load(t, from, stride)
#define TILE_STORE(t, to, stride) tile_store(t, to, stride)
#define TILE_DOT(sums, rows, weights) tile_dot(sums, rows, weights)
