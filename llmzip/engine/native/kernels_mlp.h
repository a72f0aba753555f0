/* The gated MLP between its products (docs/arithmetic.md, section 4.6): one row at a time, in
 * integers after the gate. */

/* Butterflies (a + b, a - b) at distances `from`, 2 * from, ... below `block`, in place; `from` >=
 * LANES. */
static inline void butterflies(int32_t *x, size_t from, size_t block)
{
    size_t distance = from;
    for (; distance * 4 <= block; distance *= 4) /* two stages per pass over the row */
        for (size_t i = 0; i < block; i += 4 * distance)
            for (size_t j = i; j < i + distance; j += LANES) {
                vi a = vi_load(x + j), b = vi_load(x + j + distance);
                vi c = vi_load(x + j + 2 * distance), d = vi_load(x + j + 3 * distance);
                vi ab = vi_add(a, b), a_b = vi_sub(a, b), cd = vi_add(c, d), c_d = vi_sub(c, d);
                vi_store(x + j, vi_add(ab, cd));
                vi_store(x + j + distance, vi_add(a_b, c_d));
                vi_store(x + j + 2 * distance, vi_sub(ab, cd));
                vi_store(x + j + 3 * distance, vi_sub(a_b, c_d));
            }
    if (distance < block)
        for (size_t j = 0; j < distance; j += LANES) {
            vi a = vi_load(x + j), b = vi_load(x + j + distance);
            vi_store(x + j, vi_add(a, b));
            vi_store(x + j + distance, vi_sub(a, b));
        }
}

/* The same for blocks smaller than a vector. */
static inline void narrow_butterflies(int32_t *x, size_t block)
{
    for (size_t distance = 1; distance < block; distance *= 2)
        for (size_t i = 0; i < block; i += 2 * distance)
            for (size_t j = i; j < i + distance; j++) {
                /* Wraps, as vectors do. */
                uint32_t a = (uint32_t)x[j], b = (uint32_t)x[j + distance];
                x[j] = (int32_t)(a + b);
                x[j + distance] = (int32_t)(a - b);
            }
}

/* gate = gate * scale * up / (exp2(gate * scale) + 1) */
static inline void apply_gate(float *gate, const float *up, size_t n, float scale)
{
    for (size_t i = 0; i < n; i += LANES) {
        vf g = vf_mul(vf_load(gate + i), vf_set(scale));
        vf e = vf_add(exp2_clamped(vf_min(g, vf_set(EXP2_MAX))), vf_set(1.0f));
        vf_store(gate + i, vf_div(vf_mul(g, vf_load(up + i)), e));
    }
}

/* x to integers with this limit, rotated by blocks, which overwrite x; returns the maximum of x. */
static inline float hadamard_rotate(float *x, int32_t *whole, size_t n, size_t rotation,
                                    float limit)
{
    float maximum = row_maximum(x, n);
    vf factor = vf_set(limit / maximum);
    for (size_t i = 0; i < n; i += LANES) {
        vi q = vi_round(vf_mul(vf_load(x + i), factor));
        vi_store(whole + i, rotation >= LANES ? vi_hadamard(q) : q);
    }
    for (size_t i = 0; i < n; i += rotation)
        if (rotation >= LANES)
            butterflies(whole + i, LANES, rotation);
        else
            narrow_butterflies(whole + i, rotation);
    return maximum;
}

/* The vector x [n], which is overwritten, rotated by blocks and as bytes q + bias; with `high`, as
 * numbers of 16 bits, whose low bytes are q. Returns the scale of the row. */
static inline float rotate_and_quantize(float *x, size_t n, size_t rotation, int32_t bias,
                                        uint8_t *q, uint8_t *high)
{
    int32_t *whole = (int32_t *)(void *)x;
    float inner_limit = high ? WIDE_INNER_MAX : (float)INT16_MAX;
    float maximum = hadamard_rotate(x, whole, n, rotation, inner_limit);

    vi top = vi_set(0);
    for (size_t i = 0; i < n; i += LANES)
        top = vi_max(top, vi_abs(vi_load(whole + i)));
    float rotated_maximum = fmaxf((float)vi_reduce_max(top), ROW_FLOOR);
    float limit = high ? WIDE_MAX : (float)INT8_MAX;
    vf factor = vf_set(limit / rotated_maximum);
    for (size_t i = 0; i < n; i += LANES) {
        vi r = vi_round(vf_mul(vf_from(vi_load(whole + i)), factor));
        if (high)
            store_wide(r, q + i, high + i);
        else
            vi_store_bytes(q + i, vi_add(r, vi_set(bias)));
    }
    float a = maximum * (high ? 1.0f / WIDE_INNER_MAX : (float)(1.0 / INT16_MAX));
    float b = rotated_maximum * (high ? (float)(1.0 / WIDE_MAX) : (float)(1.0 / INT8_MAX));
    return a * b;
}

static float gate_row(float *gate, const float *up, size_t n, size_t rotation, float scale,
                      uint8_t *q)
{
    apply_gate(gate, up, n, scale);
    return rotate_and_quantize(gate, n, rotation, 128, q, NULL) * scale;
}
