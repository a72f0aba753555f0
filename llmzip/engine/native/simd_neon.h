/* Vectors of 4 lanes: NEON with the dot product of ARMv8.2. See simd_avx512.h for the meaning. */
#include <arm_neon.h>

#define LANES 4
/* 16 accumulators, 8 weight vectors, a broadcast: 25 of 32 registers; with 3 rows one too many. */
#define TILE_ROWS 2

/* The instruction multiplies signed bytes: broadcast rows lose 128, and sums are short of 128 times
 * the weights. */
#define SIGNED_ROWS

typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vu; /* sums wrap */

static inline vf vf_load(const float *p) { return vld1q_f32(p); }
static inline void vf_store(float *p, vf x) { vst1q_f32(p, x); }
static inline vf vf_set(float x) { return vdupq_n_f32(x); }
static inline vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
/* Correctly rounded, unlike the estimates. */
static inline vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf vf_max(vf a, vf b) { return vmaxq_f32(a, b); }
static inline vf vf_min(vf a, vf b) { return vminq_f32(a, b); }
static inline vf vf_floor(vf x) { return vrndmq_f32(x); }
static inline float vf_reduce_max(vf x) { return vmaxvq_f32(x); }

static inline vi vi_load(const void *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
static inline void vi_store(void *p, vi x) { vst1q_u8(p, vreinterpretq_u8_s32(x)); }
static inline vi vi_set(int32_t x) { return vdupq_n_s32(x); }
static inline vi vi_add(vi a, vi b) { return (vi)((vu)a + (vu)b); }
static inline vi vi_sub(vi a, vi b) { return (vi)((vu)a - (vu)b); }
static inline vi vi_mul(vi a, vi b) { return (vi)((vu)a * (vu)b); }
static inline vi vi_and(vi a, vi b) { return vandq_s32(a, b); }
static inline vi vi_max(vi a, vi b) { return vmaxq_s32(a, b); }
static inline vi vi_abs(vi x) { return vabsq_s32(x); }
static inline vi vi_shift_left(vi x, int bits) { return (vi)((vu)x << bits); }
static inline vi vi_shift_right(vi x, int bits) { return (vi)((vu)x >> bits); }
static inline int32_t vi_reduce_max(vi x) { return vmaxvq_s32(x); }
static inline int64_t vi_reduce_add(vi x) { return vaddlvq_s32(x); }

static inline vi vi_bits(vf x) { return vreinterpretq_s32_f32(x); }
static inline vf vf_bits(vi x) { return vreinterpretq_f32_s32(x); }
static inline vf vf_from(vi x) { return vcvtq_f32_s32(x); }
static inline vi vi_round(vf x) { return vcvtnq_s32_f32(x); }
static inline vi vi_truncate(vf x) { return vcvtq_s32_f32(x); }

static inline void vi_store_bytes(void *p, vi x)
{
    uint8x16_t bytes = vreinterpretq_u8_s32(x);
    bytes = vuzp1q_u8(bytes, bytes); /* every second byte */
    bytes = vuzp1q_u8(bytes, bytes);
    uint32_t four = vgetq_lane_u32(vreinterpretq_u32_u8(bytes), 0);
    memcpy(p, &four, 4);
}

static inline vi vi_broadcast(const void *p)
{
    uint32_t four;
    memcpy(&four, p, 4);
    return (vi)(vdupq_n_u32(four) ^ 0x80808080u);
}

/* sum + the four products int8 a * int8 b of each lane. In assembly, because Clang before 16 hides
 * the intrinsic from functions that have the instruction by an attribute. */
static inline vi vi_dot(vi sum, vi a, vi b)
{
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    return sum;
}

static inline vi vi_hadamard(vi x)
{
    vi y = vrev64q_s32(x);
    x = vbslq_s32((vu){0, ~0u, 0, ~0u}, vi_sub(y, x), vi_add(y, x));
    y = vextq_s32(x, x, 2);
    return vbslq_s32((vu){0, 0, ~0u, ~0u}, vi_sub(y, x), vi_add(y, x));
}

static inline uint32_t ones_of(uint64_t x) { return (uint32_t)__builtin_popcountll(x); }
