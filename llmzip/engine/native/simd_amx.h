/* Tiles: Intel's AMX for bytes. A tile is up to 16 rows of 64 bytes, and a multiplication of two of
 * them takes 16 cycles.
 *
 * In assembly: the compilers' intrinsics take a tile's number as text all the same, and not all of
 * them say that they read memory. No compiler uses tiles by itself, so nothing is clobbered. */

#define TILE_SIDE 16 /* rows of a tile, int32 of a row, and groups of four k of a row */
#define TILE_ROW_BYTES 64

/* What the instruction reads. */
struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static inline void tiles_configure(const struct tile_shapes *shapes)
{
    __asm__ volatile("ldtilecfg %0" ::"m"(*shapes));
}

/* Tiles in use would be saved whenever the system switches threads. */
static inline void tiles_release(void) { __asm__ volatile("tilerelease"); }

#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t::)
#define TILE_LOAD(t, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t::"r"(from), "r"((size_t)(stride)) : "memory")
#define TILE_STORE(t, to, stride)                                                         \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((size_t)(stride)) \
                     : "memory")
/* sums += uint8 rows * int8 weights, four products for each int32; wraps */
#define TILE_DOT(sums, rows, weights) \
    __asm__ volatile("tdpbusd %%tmm" #weights ", %%tmm" #rows ", %%tmm" #sums::)
