/* Token weights from scaled sums (docs/arithmetic.md, section 4.8). */

static float maximum_of(const float *x, size_t n)
{
    vf top = vf_load(x);
    for (size_t i = LANES; i < n; i += LANES)
        top = vf_max(top, vf_load(x + i));
    return vf_reduce_max(top);
}

static inline vi token_weight(vf x, vf scale, vf maximum)
{
    vf t = vf_sub(vf_mul(x, scale), maximum);
    return vi_truncate(vf_mul(exp2_clamped(t), vf_set((float)(1 << WEIGHT_BITS))));
}

static void weights(const float *x, size_t n, float scale, float maximum, int32_t *out)
{
    for (size_t i = 0; i < n; i += LANES)
        vi_store(out + i, token_weight(vf_load(x + i), vf_set(scale), vf_set(maximum)));
}

/* Sum of a bucket's weights, at most 2^31: n <= 256. */
static int64_t weight_sum(const float *x, size_t n, float scale, float maximum)
{
    vi sum = vi_set(0);
    for (size_t i = 0; i < n; i += LANES)
        sum = vi_add(sum, token_weight(vf_load(x + i), vf_set(scale), vf_set(maximum)));
    return vi_reduce_add(sum);
}
