/* Kernels on single rows: exp2, quantization and the RMS norm. Included once per instruction set,
 * after a simd_*.h. */

/* Section 1.3; also gives the exponent's clamp from below, which every caller needs. */
static inline vf exp2_clamped(vf x)
{
    x = vf_max(x, vf_set(EXP2_MIN));
    vf whole = vf_floor(x);
    vf r = vf_sub(x, whole);
    vf y = vf_add(vf_mul(vf_set(EXP2_C3), r), vf_set(EXP2_C2));
    y = vf_add(vf_mul(y, r), vf_set(EXP2_C1));
    y = vf_add(vf_mul(y, r), vf_set(1.0f));
    return vf_bits(vi_add(vi_bits(y), vi_shift_left(vi_truncate(whole), 23)));
}

/* max(|x|, 2^-40): the order of non-negative floats is that of their bits. */
static inline float row_maximum(const float *x, size_t n)
{
    vi top = vi_bits(vf_set(ROW_FLOOR));
    for (size_t i = 0; i < n; i += LANES)
        top = vi_max(top, vi_and(vi_bits(vf_load(x + i)), vi_set(0x7fffffff)));
    int32_t bits = vi_reduce_max(top);
    float maximum;
    memcpy(&maximum, &bits, 4);
    return maximum;
}

/* Section 1.2 with limit INT8_MAX: stores q + bias and returns the maximum. */
static inline float quantize_biased(const float *x, size_t n, int32_t bias, uint8_t *q)
{
    float maximum = row_maximum(x, n);
    vf factor = vf_set((float)INT8_MAX / maximum);
    for (size_t i = 0; i < n; i += LANES)
        vi_store_bytes(q + i, vi_add(vi_round(vf_mul(vf_load(x + i), factor)), vi_set(bias)));
    return maximum;
}

static float quantize(const float *x, size_t n, uint8_t *q)
{
    return quantize_biased(x, n, 128, q);
}

static float normalize(const float *x, size_t n, float inverse_width, float epsilon, uint8_t *q)
{
    float maximum = row_maximum(x, n);
    float inverse = (float)INT8_MAX / maximum;
    vf factor = vf_set(inverse);
    vi squares = vi_set(0);
    for (size_t i = 0; i < n; i += LANES) {
        vi whole = vi_round(vf_mul(vf_load(x + i), factor));
        squares = vi_add(squares, vi_mul(whole, whole));
        vi_store_bytes(q + i, vi_add(whole, vi_set(128)));
    }
    float mean = (float)vi_reduce_add(squares) * inverse_width;
    float floor = inverse * inverse;
    floor = floor * epsilon;
    return 1.0f / sqrtf(mean + floor);
}
