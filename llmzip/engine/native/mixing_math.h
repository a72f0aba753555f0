/* Sections 1.3 and 1.5 for single numbers. */
#ifndef LLMZIP_MIXING_MATH_H
#define LLMZIP_MIXING_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "arithmetic_constants.h"

/* EXP2_MIN <= x <= EXP2_MAX. */
static inline float exp2_of(float x)
{
    /* The floor by an integer: floorf is a call where the processor has no instruction for it. */
    int32_t below = (int32_t)x;
    below -= (float)below > x;
    float r = x - (float)below;
    float y = ((EXP2_C3 * r + EXP2_C2) * r + EXP2_C1) * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &y, 4);
    bits += (uint32_t)below << 23;
    memcpy(&y, &bits, 4);
    return y;
}

/* x is normal and positive. */
static inline float log2_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    float exponent = (float)((int32_t)(bits >> 23) - 127);
    bits = (bits & 0x7fffff) | 0x3f800000;
    memcpy(&x, &bits, 4);
    float r = x - 1.0f;
    return exponent + ((LOG2_C3 * r + LOG2_C2) * r + LOG2_C1) * r;
}

static inline float larger_of(float a, float b) { return a > b ? a : b; }
static inline float smaller_of(float a, float b) { return a < b ? a : b; }

#endif
