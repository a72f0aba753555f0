/* Vectors of 8 lanes: AVX2, and AVX-VNNI where SIMD_AVX_VNNI is defined. See simd_avx512.h for the
 * meaning. */
#include <immintrin.h>

#define LANES 8
#ifdef SIMD_AVX_VNNI
#define TILE_ROWS 3
#else
#define TILE_ROWS 2
/* The dot product takes signed bytes: broadcast rows lose 128, and sums are short of 128 times the
 * weights; and it takes no weights of -128, see vi_dot. */
#define SIGNED_ROWS
#define NARROW_WEIGHTS
#define HAS_WORDS /* a product of 16 bits does as much as two of bytes: see kernels_words.h */
#endif

typedef __m256 vf;
typedef __m256i vi;

static inline vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
static inline vf vf_set(float x) { return _mm256_set1_ps(x); }
static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf vf_floor(vf x) { return _mm256_floor_ps(x); }
static inline float vf_reduce_max(vf x)
{
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}

static inline vi vi_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void vi_store(void *p, vi x) { _mm256_storeu_si256((__m256i *)p, x); }
static inline vi vi_set(int32_t x) { return _mm256_set1_epi32(x); }
static inline vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
static inline vi vi_mul(vi a, vi b) { return _mm256_mullo_epi32(a, b); }
static inline vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
static inline vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
static inline vi vi_abs(vi x) { return _mm256_abs_epi32(x); }
static inline vi vi_shift_left(vi x, int bits) { return _mm256_slli_epi32(x, bits); }
static inline vi vi_shift_right(vi x, int bits) { return _mm256_srli_epi32(x, bits); }
static inline int32_t vi_reduce_max(vi x)
{
    __m128i y = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
static inline int64_t vi_reduce_add(vi x)
{
    __m256i low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(x));
    __m256i high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(x, 1));
    __m256i sum = _mm256_add_epi64(low, high);
    __m128i y = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    return _mm_cvtsi128_si64(y) + _mm_extract_epi64(y, 1);
}

static inline vi vi_bits(vf x) { return _mm256_castps_si256(x); }
static inline vf vf_bits(vi x) { return _mm256_castsi256_ps(x); }
static inline vf vf_from(vi x) { return _mm256_cvtepi32_ps(x); }
static inline vi vi_round(vf x) { return _mm256_cvtps_epi32(x); }
static inline vi vi_truncate(vf x) { return _mm256_cvttps_epi32(x); }

static inline void vi_store_bytes(void *p, vi x)
{
    const __m256i low = _mm256_set1_epi32(0x0c080400);
    __m256i y = _mm256_shuffle_epi8(x, low);
    __m128i four = _mm_unpacklo_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    _mm_storel_epi64((__m128i *)p, four);
}

static inline vi vi_broadcast(const void *p)
{
    int32_t four;
    memcpy(&four, p, 4);
#ifdef SIGNED_ROWS
    return _mm256_xor_si256(_mm256_set1_epi32(four), _mm256_set1_epi8(-128));
#else
    return _mm256_set1_epi32(four);
#endif
}

static inline vi vi_dot(vi sum, vi a, vi b)
{
#ifdef SIMD_AVX_VNNI
    return _mm256_dpbusd_avx_epi32(sum, a, b);
#else
    /* vpmaddubsw multiplies unsigned with signed bytes and adds two such products in 16 bits, which
     * saturates for uint8 * int8. 2 * 128 * 127 is just not too much: |a| <= 128 times b with the
     * sign of a, where -128 would stay what it is. */
    __m256i twos = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(twos, _mm256_set1_epi16(1)));
#endif
}

static inline vi vi_hadamard(vi x)
{
    vi y = _mm256_shuffle_epi32(x, 0xb1);
    x = _mm256_blend_epi32(_mm256_add_epi32(y, x), _mm256_sub_epi32(y, x), 0xaa);
    y = _mm256_shuffle_epi32(x, 0x4e);
    x = _mm256_blend_epi32(_mm256_add_epi32(y, x), _mm256_sub_epi32(y, x), 0xcc);
    y = _mm256_permute2x128_si256(x, x, 1);
    return _mm256_blend_epi32(_mm256_add_epi32(y, x), _mm256_sub_epi32(y, x), 0xf0);
}

static inline uint32_t ones_of(uint64_t x) { return (uint32_t)_mm_popcnt_u64(x); }

#define HAS_VECTOR_POPCOUNT
#define ONES_TOGETHER 4

/* How many ones each byte has (Mula's method: a table of half bytes). */
static inline __m256i ones_of_bytes(__m256i x)
{
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i half = _mm256_set1_epi8(15);
    __m256i low = _mm256_and_si256(x, half);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), half);
    return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

/* Adds to each of four sums how many of 512 bits differ from `own`. */
static inline void add_ones(const uint64_t *const *bits, const uint64_t *own, int32_t *sums)
{
    vi a = vi_load(own), b = vi_load(own + 4), all = _mm256_setzero_si256();
    for (int i = 0; i < ONES_TOGETHER; i++) { /* sums of all words fit in 16 bits */
        __m256i ones = _mm256_add_epi8(ones_of_bytes(_mm256_xor_si256(a, vi_load(bits[i]))),
                                       ones_of_bytes(_mm256_xor_si256(b, vi_load(bits[i] + 4))));
        ones = _mm256_sad_epu8(ones, _mm256_setzero_si256());
        all = _mm256_or_si256(all, _mm256_slli_epi64(ones, 16 * i));
    }
    __m128i x = _mm_add_epi64(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    x = _mm_cvtepu16_epi32(_mm_add_epi64(x, _mm_unpackhi_epi64(x, x)));
    x = _mm_add_epi32(x, _mm_loadu_si128((const __m128i *)(const void *)sums));
    _mm_storeu_si128((__m128i *)(void *)sums, x);
}
