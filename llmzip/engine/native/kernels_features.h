/* What decoders have beyond the plain one (docs/arithmetic.md, section 4.9), on single rows. */

static void scale_and_shift(float *y, size_t n, float scale, const float *bias)
{
    for (size_t i = 0; i < n; i += LANES)
        vf_store(y + i, vf_add(vf_mul(vf_load(y + i), vf_set(scale)), vf_load(bias + i)));
}

/* The entries of a row whose squares are summed in 32 bits: 2^10 in each lane. */
#define SQUARES_AT_ONCE ((size_t)LANES << 10)

/* Normalizes y [n], of any length, in place, and multiplies by the gain. */
static void gain_norm(float *y, size_t n, float epsilon, const float *gain)
{
    size_t whole = n / LANES * LANES;
    float maximum = row_maximum(y, whole);
    for (size_t i = whole; i < n; i++)
        maximum = fmaxf(maximum, fabsf(y[i]));
    float inverse = NORM_MAX / maximum;
    int64_t squares = 0;
    for (size_t start = 0; start < whole; start += SQUARES_AT_ONCE) {
        size_t end = whole - start < SQUARES_AT_ONCE ? whole : start + SQUARES_AT_ONCE;
        vi sum = vi_set(0);
        for (size_t i = start; i < end; i += LANES) {
            vi q = vi_round(vf_mul(vf_load(y + i), vf_set(inverse)));
            sum = vi_add(sum, vi_mul(q, q));
        }
        squares += vi_reduce_add(sum);
    }
    for (size_t i = whole; i < n; i++) {
        int64_t q = (int64_t)rintf(y[i] * inverse);
        squares += q * q;
    }
    float mean = (float)squares * (float)(1.0 / (double)n);
    float floor = inverse * inverse;
    floor = floor * epsilon;
    float scale = inverse / sqrtf(mean + floor);
    for (size_t i = 0; i < whole; i += LANES)
        vf_store(y + i, vf_mul(vf_mul(vf_load(y + i), vf_set(scale)), vf_load(gain + i)));
    for (size_t i = whole; i < n; i++)
        y[i] = y[i] * scale * gain[i];
}

static void add_normed(float *y, size_t n, size_t d, float epsilon, const float *gain,
                       size_t rotation, float *x)
{
    int32_t *whole = (int32_t *)(void *)y;
    gain_norm(y, d, epsilon, gain);
    vf scale = vf_set(hadamard_rotate(y, whole, n, rotation, INT16_MAX) * (float)(1.0 / INT16_MAX));
    for (size_t i = 0; i < n; i += LANES)
        vf_store(x + i, vf_add(vf_load(x + i), vf_mul(vf_from(vi_load(whole + i)), scale)));
}

/* cap * tanh(x / cap) */
static inline vf capped(vf x, struct soft_cap cap)
{
    vf e = exp2_clamped(vf_min(vf_mul(x, vf_set(cap.steepness)), vf_set(EXP2_MAX)));
    vf tanh = vf_sub(vf_set(1.0f), vf_div(vf_set(2.0f), vf_add(e, vf_set(1.0f))));
    return vf_mul(tanh, vf_set(cap.cap));
}

static void finish(float *x, size_t n, float scale, const float *bias, struct soft_cap cap)
{
    for (size_t i = 0; i < n; i += LANES) {
        vf z = vf_mul(vf_load(x + i), vf_set(scale));
        if (bias)
            z = vf_add(z, vf_load(bias + i));
        vf_store(x + i, cap.cap > 0 ? capped(z, cap) : z);
    }
}

/* The exponent of 2 in the activation g / (1 + 2^v). */
struct gelu {
    float a, b, c;
};

static inline vf gelu_exponent(vf g, struct gelu gelu)
{
    vf t = vf_min(vf_mul(g, g), vf_set(GELU_LIMIT));
    vf y = vf_add(vf_mul(t, vf_set(gelu.c)), vf_set(gelu.b));
    y = vf_add(vf_mul(y, t), vf_set(gelu.a));
    return vf_mul(y, g);
}

/* Inlined with constant `silu` and `up` NULL or not: no decision is made for each vector. */
static inline void activate_row(float *gate, const float *up, size_t n, float scale,
                                const float *gate_bias, const float *up_bias, int silu,
                                struct gelu gelu)
{
    for (size_t i = 0; i < n; i += LANES) {
        vf g = vf_add(vf_mul(vf_load(gate + i), vf_set(scale)), vf_load(gate_bias + i));
        vf v = silu ? g : gelu_exponent(g, gelu);
        vf e = vf_add(exp2_clamped(vf_min(v, vf_set(EXP2_MAX))), vf_set(1.0f));
        if (up) {
            vf u = vf_add(vf_mul(vf_load(up + i), vf_set(scale)), vf_load(up_bias + i));
            g = vf_mul(g, u);
        }
        vf_store(gate + i, vf_div(g, e));
    }
}

static float activate(float *gate, const float *up, size_t n, size_t rotation, float scale,
                      const float *gate_bias, const float *up_bias, int activation, uint8_t *q,
                      uint8_t *high)
{
    const struct gelu tanh_form = {GELU_TANH_A, GELU_TANH_B, 0},
                      erf_form = {GELU_ERF_A, GELU_ERF_B, GELU_ERF_C};
    struct gelu gelu = activation == ACTIVATION_GELU_ERF ? erf_form : tanh_form;
    if (activation == ACTIVATION_SILU && up)
        activate_row(gate, up, n, scale, gate_bias, up_bias, 1, gelu);
    else if (activation == ACTIVATION_SILU)
        activate_row(gate, NULL, n, scale, gate_bias, NULL, 1, gelu);
    else if (up)
        activate_row(gate, up, n, scale, gate_bias, up_bias, 0, gelu);
    else
        activate_row(gate, NULL, n, scale, gate_bias, NULL, 0, gelu);
    return high ? rotate_and_quantize(gate, n, rotation, 128, q, high)
                : rotate_and_quantize(gate, n, rotation, 128, q, NULL);
}
