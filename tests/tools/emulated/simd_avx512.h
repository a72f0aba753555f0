/* Vectors of 16 lanes by two of AVX2, in the place of the file of the same name, for processors
 * without AVX-512. Each function does what the instructions there do, lane by lane. */
#include "dot.h"

#define LANES 16
#define TILE_ROWS 12

typedef struct {
    __m256 low, high;
} vf;
typedef struct {
    __m256i low, high;
} vi;

#define OF_TWO(NAME, VECTOR, INSTRUCTION)                                          \
    static inline VECTOR NAME(VECTOR a, VECTOR b)                                  \
    {                                                                              \
        return (VECTOR){INSTRUCTION(a.low, b.low), INSTRUCTION(a.high, b.high)};   \
    }
#define OF_ONE(NAME, RESULT, ARGUMENT, INSTRUCTION)                                \
    static inline RESULT NAME(ARGUMENT x)                                          \
    {                                                                              \
        return (RESULT){INSTRUCTION(x.low), INSTRUCTION(x.high)};                  \
    }

#define LARGEST_LANE(NAME, NUMBER, VECTOR, STORE)                                  \
    static inline NUMBER NAME(VECTOR x)                                            \
    {                                                                              \
        NUMBER lanes[LANES];                                                       \
        STORE(lanes, x);                                                           \
        for (int i = 1; i < LANES; i++)                                            \
            lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];                  \
        return lanes[0];                                                           \
    }

static inline vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x.low);
    _mm256_storeu_ps(p + 8, x.high);
}
static inline vf vf_set(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
OF_TWO(vf_add, vf, _mm256_add_ps)
OF_TWO(vf_sub, vf, _mm256_sub_ps)
OF_TWO(vf_mul, vf, _mm256_mul_ps)
OF_TWO(vf_div, vf, _mm256_div_ps)
OF_TWO(vf_max, vf, _mm256_max_ps)
OF_TWO(vf_min, vf, _mm256_min_ps)
OF_ONE(vf_floor, vf, vf, _mm256_floor_ps)
LARGEST_LANE(vf_reduce_max, float, vf, vf_store)

static inline vi vi_load(const void *p)
{
    const __m256i *from = p;
    return (vi){_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
}
static inline void vi_store(void *p, vi x)
{
    __m256i *to = p;
    _mm256_storeu_si256(to, x.low);
    _mm256_storeu_si256(to + 1, x.high);
}
static inline vi vi_set(int32_t x) { return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
OF_TWO(vi_add, vi, _mm256_add_epi32)
OF_TWO(vi_sub, vi, _mm256_sub_epi32)
OF_TWO(vi_mul, vi, _mm256_mullo_epi32)
OF_TWO(vi_and, vi, _mm256_and_si256)
OF_TWO(vi_max, vi, _mm256_max_epi32)
OF_ONE(vi_abs, vi, vi, _mm256_abs_epi32)
static inline vi vi_shift_left(vi x, int bits)
{
    return (vi){_mm256_slli_epi32(x.low, bits), _mm256_slli_epi32(x.high, bits)};
}
static inline vi vi_shift_right(vi x, int bits)
{
    return (vi){_mm256_srli_epi32(x.low, bits), _mm256_srli_epi32(x.high, bits)};
}
LARGEST_LANE(vi_reduce_max, int32_t, vi, vi_store)
static inline int64_t vi_reduce_add(vi x)
{
    int32_t lanes[LANES];
    int64_t sum = 0;
    vi_store(lanes, x);
    for (int i = 0; i < LANES; i++)
        sum += lanes[i];
    return sum;
}

OF_ONE(vi_bits, vi, vf, _mm256_castps_si256)
OF_ONE(vf_bits, vf, vi, _mm256_castsi256_ps)
OF_ONE(vf_from, vf, vi, _mm256_cvtepi32_ps)
OF_ONE(vi_round, vi, vf, _mm256_cvtps_epi32)
OF_ONE(vi_truncate, vi, vf, _mm256_cvttps_epi32)

static inline void vi_store_bytes(void *p, vi x)
{
    int32_t lanes[LANES];
    uint8_t *to = p;
    vi_store(lanes, x);
    for (int i = 0; i < LANES; i++)
        to[i] = (uint8_t)lanes[i];
}

static inline vi vi_broadcast(const void *p)
{
    int32_t four;
    memcpy(&four, p, 4);
    return vi_set(four);
}

static inline vi vi_dot(vi sum, vi a, vi b)
{
    return (vi){emulated_dot(sum.low, a.low, b.low), emulated_dot(sum.high, a.high, b.high)};
}

static inline vi vi_hadamard(vi x)
{
    int32_t lanes[LANES];
    vi_store(lanes, x);
    for (int distance = 1; distance < LANES; distance *= 2)
        for (int i = 0; i < LANES; i++)
            if (!(i & distance)) {
                uint32_t a = (uint32_t)lanes[i], b = (uint32_t)lanes[i + distance];
                lanes[i] = (int32_t)(a + b);
                lanes[i + distance] = (int32_t)(a - b);
            }
    return vi_load(lanes);
}

static inline uint32_t ones_of(uint64_t x) { return (uint32_t)_mm_popcnt_u64(x); }
