/* The numbers of docs/arithmetic.md, sections 1 to 5; llmzip/arithmetic/constants.py has the same
 * under the same names. Its INT8_MAX and INT16_MAX are those of stdint.h. */
#ifndef LLMZIP_ARITHMETIC_CONSTANTS_H
#define LLMZIP_ARITHMETIC_CONSTANTS_H

#include <stdint.h>

#define ROW_FLOOR 0x1p-40f

#define EXP2_MIN -30.0f
#define EXP2_MAX 30.0f
#define EXP2_C1 0x1.640ea8p-1f
#define EXP2_C2 0x1.cf7a66p-3f
#define EXP2_C3 0x1.4095f4p-4f

#define LOG2_C1 0x1.6c40c4p+0f
#define LOG2_C2 -0x1.2a06d0p-1f
#define LOG2_C3 0x1.461522p-3f

#define ATTENTION_ONE_BITS 15
#define ATTENTION_TOTAL_BITS 16
#define ROPE_BITS 14
#define WEIGHT_BITS 23
#define BUCKET_BITS 8
#define BUCKET_SIZE (1 << BUCKET_BITS)
#define FREQUENCY_BITS 24
/* Sums of weights are shifted below 2^39, so that times 2^24 they fit 63 bits. */
#define SUM_BITS 39

#endif
