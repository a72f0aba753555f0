/* The numbers of docs/arithmetic.md, sections 1 to 5; llmzip/arithmetic/constants.py has the same
 * under the same names. Its INT8_MAX and INT16_MAX are those of stdint.h. */
#ifndef LLMZIP_ARITHMETIC_CONSTANTS_H
#define LLMZIP_ARITHMETIC_CONSTANTS_H

#include <stdint.h>

#define ROW_FLOOR 0x1p-40f

/* Of numbers of 16 bits that are two of 8: 127 * WIDE_BASE. */
#define WIDE_MAX 32512.0f
#define WIDE_BASE 256.0f
/* Of the inner vector before its rotation, where what is rotated has 16 bits. */
#define WIDE_INNER_MAX 0x1p20f

#define NORM_MAX 1023.0f

#define EXP2_MIN -30.0f
#define EXP2_MAX 30.0f
#define EXP2_C1 0x1.640ea8p-1f
#define EXP2_C2 0x1.cf7a66p-3f
#define EXP2_C3 0x1.4095f4p-4f

#define LOG2_C1 0x1.6c40c4p+0f
#define LOG2_C2 -0x1.2a06d0p-1f
#define LOG2_C3 0x1.461522p-3f

/* g * Phi(g) as g / (1 + 2^v), v = g * ((C*t + B)*t + A), t = min(g*g, GELU_LIMIT). */
#define GELU_LIMIT 36.0f
#define GELU_TANH_A -0x1.26aec2p+1f
#define GELU_TANH_B -0x1.a5a7d0p-4f
#define GELU_ERF_A -0x1.268b1ep+1f
#define GELU_ERF_B -0x1.b55b84p-4f
#define GELU_ERF_C 0x1.09f0c2p-10f

#define ATTENTION_ONE_BITS 15
#define ATTENTION_TOTAL_BITS 16
#define ROPE_BITS 14
#define ROUTING_BITS 14
#define WEIGHT_BITS 23
#define BUCKET_BITS 8
#define BUCKET_SIZE (1 << BUCKET_BITS)
#define FREQUENCY_BITS 24
/* Sums of weights are shifted below 2^39, so that times 2^24 they fit 63 bits. */
#define SUM_BITS 39

#define LOG2_E 0x1.71547652b82fep+0

#endif
