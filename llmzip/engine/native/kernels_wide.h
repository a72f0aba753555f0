/* Rows of 16 bits as two rows of bytes (docs/arithmetic.md, section 4.9, "Wide inputs"). */

/* q, at most 127 * 256, is low + 256 * high; both are stored + 128. */
static inline void store_wide(vi q, uint8_t *low, uint8_t *high)
{
    vi above = vi_add(q, vi_set(INT16_MAX + 1 + 128)), top = vi_shift_right(above, 8);
    vi_store_bytes(high, top);
    vi_store_bytes(low, vi_sub(above, vi_shift_left(top, 8)));
}

static float quantize_wide(const float *x, size_t n, uint8_t *low, uint8_t *high)
{
    float maximum = row_maximum(x, n);
    vf factor = vf_set(WIDE_MAX / maximum);
    for (size_t i = 0; i < n; i += LANES)
        store_wide(vi_round(vf_mul(vf_load(x + i), factor)), low + i, high + i);
    return maximum;
}

static float normalize_wide(const float *x, size_t n, float inverse_width, float epsilon,
                            uint8_t *low, uint8_t *high)
{
    float maximum = row_maximum(x, n);
    float inverse = WIDE_MAX / maximum;
    vf factor = vf_set(inverse);
    /* Of q = l + 256 * h: sums of l * l, l * h, h * h, each below 2^31 for n <= 2^17. */
    vi low_squares = vi_set(0), mixed = vi_set(0), high_squares = vi_set(0);
    for (size_t i = 0; i < n; i += LANES) {
        vi q = vi_round(vf_mul(vf_load(x + i), factor));
        store_wide(q, low + i, high + i);
        vi top = vi_shift_right(vi_add(q, vi_set(INT16_MAX + 1 + 128)), 8);
        vi h = vi_sub(top, vi_set(128)), l = vi_sub(q, vi_shift_left(h, 8));
        low_squares = vi_add(low_squares, vi_mul(l, l));
        mixed = vi_add(mixed, vi_mul(l, h));
        high_squares = vi_add(high_squares, vi_mul(h, h));
    }
    int64_t squares = vi_reduce_add(low_squares) + 512 * vi_reduce_add(mixed) +
                      65536 * vi_reduce_add(high_squares);
    float mean = (float)squares * inverse_width;
    float floor = inverse * inverse;
    floor = floor * epsilon;
    return 1.0f / sqrtf(mean + floor);
}
