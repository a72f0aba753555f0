/* Vectors of 16 lanes: AVX-512 with VNNI. The simd_*.h offer the same functions; the kernels are
 * written on them.
 *
 * vf: float32 lanes, vi: int32 lanes (sums wrap). Nothing here rounds twice or fuses. */
#include <immintrin.h>

#define LANES 16
/* 24 accumulators, two weight vectors and a broadcast: 27 of 32 registers. */
#define TILE_ROWS 12

typedef __m512 vf;
typedef __m512i vi;

static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
static inline vf vf_set(float x) { return _mm512_set1_ps(x); }
static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf vf_floor(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
static inline float vf_reduce_max(vf x) { return _mm512_reduce_max_ps(x); }

static inline vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
static inline void vi_store(void *p, vi x) { _mm512_storeu_si512(p, x); }
static inline vi vi_set(int32_t x) { return _mm512_set1_epi32(x); }
static inline vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
static inline vi vi_mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
static inline vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
static inline vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
static inline vi vi_abs(vi x) { return _mm512_abs_epi32(x); }
static inline vi vi_shift_left(vi x, int bits) { return _mm512_slli_epi32(x, (unsigned)bits); }
static inline vi vi_shift_right(vi x, int bits) { return _mm512_srli_epi32(x, (unsigned)bits); }
static inline int32_t vi_reduce_max(vi x) { return _mm512_reduce_max_epi32(x); }
static inline int64_t vi_reduce_add(vi x)
{
    __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(x));
    __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(x, 1));
    return _mm512_reduce_add_epi64(_mm512_add_epi64(low, high));
}

static inline vi vi_bits(vf x) { return _mm512_castps_si512(x); }
static inline vf vf_bits(vi x) { return _mm512_castsi512_ps(x); }
static inline vf vf_from(vi x) { return _mm512_cvtepi32_ps(x); }
static inline vi vi_round(vf x) { return _mm512_cvtps_epi32(x); } /* to nearest, ties to even */
static inline vi vi_truncate(vf x) { return _mm512_cvttps_epi32(x); }

/* The low byte of each lane. */
static inline void vi_store_bytes(void *p, vi x)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(x));
}

/* The same four bytes in every lane. */
static inline vi vi_broadcast(const void *p)
{
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}

/* sum + the four products uint8 a * int8 b of each lane. */
static inline vi vi_dot(vi sum, vi a, vi b) { return _mm512_dpbusd_epi32(sum, a, b); }

/* Hadamard transform across the lanes: each stage is (a + b, a - b) at lane distance 1, 2, 4, 8. */
static inline vi vi_hadamard(vi x)
{
    vi y = _mm512_shuffle_epi32(x, _MM_PERM_CDAB);
    x = _mm512_mask_sub_epi32(_mm512_add_epi32(y, x), 0xaaaa, y, x);
    y = _mm512_shuffle_epi32(x, _MM_PERM_BADC);
    x = _mm512_mask_sub_epi32(_mm512_add_epi32(y, x), 0xcccc, y, x);
    y = _mm512_shuffle_i32x4(x, x, 0xb1);
    x = _mm512_mask_sub_epi32(_mm512_add_epi32(y, x), 0xf0f0, y, x);
    y = _mm512_shuffle_i32x4(x, x, 0x4e);
    return _mm512_mask_sub_epi32(_mm512_add_epi32(y, x), 0xff00, y, x);
}

static inline uint32_t ones_of(uint64_t x) { return (uint32_t)_mm_popcnt_u64(x); }
