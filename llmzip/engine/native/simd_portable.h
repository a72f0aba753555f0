/* Vectors of 4 lanes in the vector extension of GCC and Clang: SSE2, NEON or plain registers. See
 * simd_avx512.h. */

#define LANES 4
#define TILE_ROWS 1

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16))); /* sums wrap */

static inline vi vi_load(const void *p)
{
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline void vi_store(void *p, vi x) { memcpy(p, &x, sizeof x); }
static inline vi vi_set(int32_t x) { return (vi){x, x, x, x}; }
static inline vi vi_add(vi a, vi b) { return (vi)((vu)a + (vu)b); }
static inline vi vi_sub(vi a, vi b) { return (vi)((vu)a - (vu)b); }
static inline vi vi_mul(vi a, vi b) { return (vi)((vu)a * (vu)b); }
static inline vi vi_and(vi a, vi b) { return a & b; }
static inline vi vi_select(vi mask, vi a, vi b) { return (mask & a) | (~mask & b); }
static inline vi vi_max(vi a, vi b) { return vi_select(a > b, a, b); }
static inline vi vi_abs(vi x) { return vi_max(x, vi_sub(vi_set(0), x)); }
static inline vi vi_shift_left(vi x, int bits) { return (vi)((vu)x << bits); }
static inline vi vi_shift_right(vi x, int bits) { return (vi)((vu)x >> bits); }
static inline int32_t vi_reduce_max(vi x)
{
    int32_t a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
}
static inline int64_t vi_reduce_add(vi x) { return (int64_t)x[0] + x[1] + x[2] + x[3]; }

static inline vi vi_bits(vf x) { return (vi)x; }
static inline vf vf_bits(vi x) { return (vf)x; }
static inline vf vf_from(vi x) { return __builtin_convertvector(x, vf); }
static inline vi vi_truncate(vf x) { return __builtin_convertvector(x, vi); }

static inline vf vf_load(const float *p) { return (vf)vi_load(p); }
static inline void vf_store(float *p, vf x) { vi_store(p, (vi)x); }
static inline vf vf_set(float x) { return (vf){x, x, x, x}; }
static inline vf vf_add(vf a, vf b) { return a + b; }
static inline vf vf_sub(vf a, vf b) { return a - b; }
static inline vf vf_mul(vf a, vf b) { return a * b; }
static inline vf vf_div(vf a, vf b) { return a / b; }
static inline vf vf_max(vf a, vf b) { return (vf)vi_select(a > b, (vi)a, (vi)b); }
static inline vf vf_min(vf a, vf b) { return (vf)vi_select(a < b, (vi)a, (vi)b); }
static inline vf vf_floor(vf x)
{
    vf whole = vf_from(vi_truncate(x));
    return whole + vf_from(whole > x); /* a true comparison is -1 */
}
static inline float vf_reduce_max(vf x)
{
    float a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
}

/* To nearest, ties to even, for |x| <= 2^22: at 1.5 * 2^23 a float's last bit is worth 1, so the
 * addition rounds. */
static inline vi vi_round(vf x) { return vi_sub((vi)(x + 12582912.0f), vi_set(0x4b400000)); }

static inline void vi_store_bytes(void *p, vi x)
{
    uint8_t bytes[4] = {(uint8_t)x[0], (uint8_t)x[1], (uint8_t)x[2], (uint8_t)x[3]};
    memcpy(p, bytes, 4);
}

static inline vi vi_broadcast(const void *p)
{
    int32_t four;
    memcpy(&four, p, 4);
    return vi_set(four);
}

static inline vi vi_dot(vi sum, vi a, vi b)
{
    /* Equal bytes of a and b meet whatever the byte order is, and their sum is the same. */
    vu x = (vu)a, y = (vu)b;
    vu s = (vu)sum + (x & 255) * (vu)((vi)(y << 24) >> 24);
    s += (x >> 8 & 255) * (vu)((vi)(y << 16) >> 24);
    s += (x >> 16 & 255) * (vu)((vi)(y << 8) >> 24);
    return (vi)(s + (x >> 24) * (vu)((vi)y >> 24));
}

static inline uint32_t ones_of(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    return (uint32_t)(((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56);
}

static inline vi vi_hadamard(vi x)
{
    vi y = {x[1], x[0], x[3], x[2]};
    x = vi_add(y, vi_sub(x ^ (vi){0, -1, 0, -1}, (vi){0, -1, 0, -1}));
    y = (vi){x[2], x[3], x[0], x[1]};
    return vi_add(y, vi_sub(x ^ (vi){0, 0, -1, -1}, (vi){0, 0, -1, -1}));
}
