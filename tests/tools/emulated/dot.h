/* The dot product of VNNI by AVX2: sum + the four products uint8 a * int8 b of each lane. */
#ifndef EMULATED_DOT_H
#define EMULATED_DOT_H

#include <immintrin.h>

static inline __m256i emulated_dot(__m256i sum, __m256i a, __m256i b)
{
    __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(255)),
                                     _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

#endif
