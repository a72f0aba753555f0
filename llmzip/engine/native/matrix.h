/* Packing int8 weights for the product kernels. */
#ifndef LLMZIP_MATRIX_H
#define LLMZIP_MATRIX_H

#include "kernels.h"

/* A zero matrix with room for [columns, width]; 0 when there is no memory. */
int matrix_new(struct matrix *m, size_t columns, size_t width);
void matrix_free(struct matrix *m);

/* Weights [columns, width] into the columns from `first` on. */
void matrix_put(struct matrix *m, size_t first, size_t columns, size_t width, const int8_t *weight,
                const float *scale);

#endif
