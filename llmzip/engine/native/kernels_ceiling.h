/* What the processor does at best, for benchmarks: the dot product on registers alone, and reading
 * memory from its beginning to its end. */

#define PEAK_SUMS 12 /* more than the dot product takes cycles, times how many begin in one */

static volatile int32_t ceiling_sink; /* what is stored here must be computed */

#if !defined(HAS_TILES)
/* Hides from the compiler that a vector stays the same. */
#if defined(__x86_64__)
#define CHANGE(x) __asm__ volatile("" : "+v"(x))
#elif defined(__aarch64__)
#define CHANGE(x) __asm__ volatile("" : "+w"(x))
#else
#define CHANGE(x) __asm__ volatile("" : "+m"(x))
#endif

#if !defined(PEAK_DOT)
#define PEAK_DOT vi_dot
#define PEAK_PRODUCTS (LANES * 4)
#endif

static int64_t peak(size_t rounds)
{
    vi sums[PEAK_SUMS], a = vi_set(ceiling_sink), b = vi_set(ceiling_sink);
    for (int i = 0; i < PEAK_SUMS; i++)
        sums[i] = vi_set(i);
    for (size_t n = 0; n < rounds; n++)
#pragma GCC unroll 16
        for (int i = 0; i < PEAK_SUMS; i++) {
            CHANGE(b);
            sums[i] = PEAK_DOT(sums[i], a, b);
        }
    for (int i = 1; i < PEAK_SUMS; i++)
        sums[0] = vi_max(sums[0], sums[i]);
    ceiling_sink = vi_reduce_max(sums[0]);
    return (int64_t)rounds * PEAK_SUMS * PEAK_PRODUCTS;
}
#endif

static void read_through(const uint8_t *from, size_t bytes)
{
    const size_t line = 4 * LANES * sizeof(int32_t);
    vi a = vi_set(0), b = a, c = a, d = a;
    for (; bytes >= line; bytes -= line, from += line) {
        a = vi_max(a, vi_load(from));
        b = vi_max(b, vi_load(from + line / 4));
        c = vi_max(c, vi_load(from + line / 2));
        d = vi_max(d, vi_load(from + line / 4 * 3));
    }
    ceiling_sink = vi_reduce_max(vi_max(vi_max(a, b), vi_max(c, d)));
}
