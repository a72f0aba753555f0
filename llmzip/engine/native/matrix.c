/* See matrix.h. */
#include "matrix.h"

#include <string.h>

#include "buffers.h"

int matrix_new(struct matrix *m, size_t columns, size_t width)
{
    m->columns = round_up(columns, PANEL);
    m->groups = round_up(width, INPUT_UNIT) / 4;
    m->packed = alloc_huge(m->columns * m->groups * 4);
    m->correction = alloc_huge(m->columns * sizeof *m->correction);
    m->scale = alloc_huge(m->columns * sizeof *m->scale);
    return m->packed && m->correction && m->scale;
}

void matrix_free(struct matrix *m)
{
    free_huge(m->packed);
    free_huge(m->correction);
    free_huge(m->scale);
}

void matrix_put(struct matrix *m, size_t first, size_t columns, size_t width, const int8_t *weight,
                const float *scale)
{
    for (size_t i = 0; i < columns; i++) {
        size_t n = first + i;
        const int8_t *row = weight + i * width;
        int8_t *to = m->packed + (n / PANEL * m->groups * PANEL + n % PANEL) * 4;
        int32_t sum = 0, least = 0;
        for (size_t k = 0; k < width; k++) {
            sum += row[k];
            least = row[k] < least ? row[k] : least;
        }
        m->has_lowest |= least == INT8_MIN;
        for (size_t k = 0; k < width / 4; k++)
            memcpy(to + k * PANEL * 4, row + k * 4, 4);
        memcpy(to + width / 4 * PANEL * 4, row + width / 4 * 4, width % 4);
        /* Sums wrap like those of the kernels: for wide rows only the corrected sum fits. */
        m->correction[n] = (int32_t)(0u - 128u * (uint32_t)sum);
        m->scale[n] = scale[i];
    }
}
