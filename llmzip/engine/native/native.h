/* The functions that native_core.py declares. Arrays are C-contiguous and belong to the caller. */
#ifndef LLMZIP_NATIVE_H
#define LLMZIP_NATIVE_H

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

struct engine;
struct session;
struct context_mixer;

/* How many of the most likely tokens the head names. */
#define LLMZIP_TOP_TOKENS 8

enum { LLMZIP_OK = 0, LLMZIP_NO_MEMORY = -1, LLMZIP_BAD_ARGUMENT = -2 };

/* docs/arithmetic.md, section 2.1. */
struct spec {
    int32_t layers, d_model, heads, kv_heads, head_dim, d_ff, vocab, max_positions, mlp_rotation;
    float norm_eps;
    /* Section 2.6; read only where the decoder is featured. */
    int32_t featured, model_rotation, activation, gated, parallel, pre_norm, post_norm, head_norm;
    int32_t learned_positions, rope_tables, key_rotation;
    float attention_cap, logit_cap;
    int32_t experts, experts_used, expert_ff, experts_normalized, expert_rotation;
    int32_t shared_ff, shared_weighted, shared_rotation;
};

enum activation { ACTIVATION_SILU, ACTIVATION_GELU_TANH, ACTIVATION_GELU_ERF };

enum head_norm { HEAD_NORM_NONE, HEAD_NORM_HEAD, HEAD_NORM_ALL };

/* The products whose inputs may have 16 bits, by their first tensor. */
enum wide { WIDE_Q, WIDE_O, WIDE_GATE, WIDE_DOWN };

enum tensor {
    TENSOR_Q,
    TENSOR_K,
    TENSOR_V,
    TENSOR_O,
    TENSOR_GATE,
    TENSOR_UP,
    TENSOR_DOWN,
    TENSOR_ROUTER,
    TENSOR_EXPERTS_GATE,
    TENSOR_EXPERTS_UP,
    TENSOR_EXPERTS_DOWN,
    TENSOR_SHARED_ROUTER,
    TENSOR_SHARED_GATE,
    TENSOR_SHARED_UP,
    TENSOR_SHARED_DOWN,
    TENSOR_HEAD
};

/* The biases and gains of a layer, and the head's bias. */
enum vector {
    VECTOR_Q_BIAS,
    VECTOR_K_BIAS,
    VECTOR_O_BIAS,
    VECTOR_GATE_BIAS,
    VECTOR_UP_BIAS,
    VECTOR_DOWN_BIAS,
    VECTOR_HEAD_BIAS,
    VECTOR_Q_NORM,
    VECTOR_K_NORM,
    VECTOR_O_NORM,
    VECTOR_DOWN_NORM
};

/* The phases that the profile tells apart, in nanoseconds of the first thread. */
enum phase {
    PHASE_NORM,
    PHASE_GEMM,
    PHASE_ATTENTION,
    PHASE_MLP,
    PHASE_HEAD,
    PHASE_WEIGHTS,
    PHASE_RECALL,
    PHASE_MIX,
    PHASE_LEARN,
    PHASES
};

/* The name of the kernels for `cpu` (NULL: the best that the processor has), or NULL. */
EXPORT const char *llmzip_kernels(const char *cpu);

/* `embedding`, its scales and `rope` are used in place and must outlive the engine; the other
 * tensors are copied. layer_experts: 1 for each layer that has experts, else 0. */
EXPORT struct engine *llmzip_engine_new(const struct spec *spec, int threads, const char *cpu,
                                        const int8_t *embedding, const float *embedding_scale,
                                        const int16_t *rope, const uint8_t *layer_experts);
EXPORT void llmzip_engine_put(struct engine *engine, int tensor, int layer, const int8_t *weight,
                              const float *scale);
/* Features of a layer: its rotary table (-1: none) among those that `rope` holds one after the
 * other, how many positions it sees (0: all), and which of its products have inputs of 16 bits: the
 * sum of 1 << each of them. */
EXPORT void llmzip_engine_layer(struct engine *engine, int layer, int rope_table, int window,
                                int wide);
/* A bias or gain, which is copied. */
EXPORT void llmzip_engine_vector(struct engine *engine, int vector, int layer, const float *values);
/* Learned positions [max_positions, d] and their scales, used in place. */
EXPORT void llmzip_engine_positions(struct engine *engine, const int8_t *weight,
                                    const float *scale);
/* The same model with threads of its own, for calls beside those of others; `engine` must outlive
 * it, and is complete. NULL: out of memory or threads. */
EXPORT struct engine *llmzip_engine_share(const struct engine *engine, int threads);
EXPORT void llmzip_engine_free(struct engine *engine);
/* Copies the phases' nanoseconds [PHASES], and sets them to 0. */
EXPORT void llmzip_engine_profile(struct engine *engine, int64_t *nanoseconds);

/* A session at position 0. NULL: out of memory. */
EXPORT struct session *llmzip_session_new(struct engine *engine, int streams, int window,
                                          int chunk);
/* A session whose streams continue from these of `origin`, [streams], of which no token may have
 * left the window; `engine` is that of the origin or shares its model. It may share what these have
 * read, so `origin` must outlive it. NULL: out of memory. */
EXPORT struct session *llmzip_session_fork(struct engine *engine, struct session *origin,
                                           const int32_t *from, int streams, int window, int chunk);
EXPORT void llmzip_session_free(struct session *session);

/* Feeds tokens [streams, count]: head inputs are vectors [streams, count, d_model] and scales
 * [streams, count]. */
EXPORT int llmzip_advance(struct session *session, const int32_t *tokens, int streams, int count,
                          int8_t *vectors, float *scales);

/* Takes back the last `count` tokens of each stream: fewer than the last advance has fed, those
 * that were taken back since included. */
EXPORT int llmzip_session_rewind(struct session *session, int count);

/* From head inputs [rows, d_model] and [rows] to sums [rows, stride], stride = 256 * buckets,
 * without the row's scale; the maximum of each row with its scale; the weights of its buckets
 * [rows, buckets] and their totals [rows]; and its most likely tokens [rows, LLMZIP_TOP_TOKENS]
 * (-1 where the vocabulary is smaller). */
EXPORT int llmzip_head(struct engine *engine, const int8_t *vectors, const float *scales, int rows,
                       float *sums, float *maxima, int64_t *bucket_weights, int64_t *totals,
                       int32_t *top);
/* From sums, scales and maxima to token weights [rows, vocab]. */
EXPORT int llmzip_weights(struct engine *engine, const float *sums, const float *scales,
                          const float *maxima, int rows, int32_t *weights);
/* The same for the tokens [rows, count] only; 0 for negative ones. */
EXPORT void llmzip_weights_of(struct engine *engine, const float *sums, const float *scales,
                              const float *maxima, const int32_t *tokens, int rows, int count,
                              int32_t *weights);
/* Updates the buckets' weights [rows, buckets] for tokens [rows, count] that get other weights;
 * negative tokens are skipped. */
EXPORT void llmzip_replace(struct engine *engine, const float *sums, const float *scales,
                           const float *maxima, const int32_t *tokens, const int64_t *weights,
                           int rows, int count, int64_t *bucket_weights);
/* Frequencies of a bucket's tokens for each row [rows, 256], where replaced_tokens [rows, replaced]
 * (or NULL) have other weights than the model's. */
EXPORT int llmzip_token_frequencies(struct engine *engine, const float *sums, const float *scales,
                                    const float *maxima, const int32_t *buckets,
                                    const int32_t *replaced_tokens, const int64_t *replaced_weights,
                                    int replaced, int rows, uint32_t *frequencies);
/* Section 5: from weights [rows, symbols] to frequencies [rows, symbols]. */
EXPORT int llmzip_frequencies(struct engine *engine, const int64_t *weights, int rows, int symbols,
                              uint32_t *frequencies);

/* A mixer of 2^capacity_bits positions by a version of section 6 (docs/arithmetic.md), which the
 * engine must outlive; classes: of all tokens, [vocab]. NULL: out of memory. */
EXPORT struct context_mixer *llmzip_mixer_new(struct engine *engine, int capacity_bits, int version,
                                              int32_t start_token, const uint8_t *classes);
EXPORT struct context_mixer *llmzip_mixer_copy(const struct context_mixer *mixer);
EXPORT void llmzip_mixer_free(struct context_mixer *mixer);
/* Begins a block of `streams` streams that have all read `context` [count], on the threads of
 * `engine`: the mixer's own, or one that shares its model; it must outlive what follows. */
EXPORT int llmzip_mixer_start(struct context_mixer *mixer, struct engine *engine, int streams,
                              const int32_t *context, int count);
/* The steps of several mixers, different ones that compute with the threads of the same engine, in
 * one call: mixer i has the `counts[i]` rows from `firsts[i]` on, in ascending order, of all `rows`
 * of a step. What lies between them is skipped, or filled up where it is a result. */
/* Finds the candidates of rows with head inputs [rows, d_model] and most likely tokens [rows,
 * top_tokens] (-1 where there are fewer). Returns the columns of the result [rows, columns], which
 * is filled up with -1 and has at most llmzip_mixer_columns(); or a negative status. */
EXPORT int llmzip_mixers_recall(struct context_mixer *const *mixers, const int32_t *firsts,
                                const int32_t *counts, int parts, const int8_t *vectors,
                                const int32_t *top, int rows, int top_tokens, int32_t *tokens);
EXPORT int llmzip_mixer_columns(void);
/* From the candidates' weights [rows, columns], of as many columns as were found, and the totals of
 * all weights [rows] to corrected weights [rows, columns], 0 at -1. */
EXPORT int llmzip_mixers_mix(struct context_mixer *const *mixers, const int32_t *firsts,
                             const int32_t *counts, int parts, const int32_t *weights,
                             const int64_t *totals, int rows, int columns, int64_t *mixed);
/* Learns from the observed tokens [rows] and the model's weights of them [rows]. */
EXPORT int llmzip_mixers_learn(struct context_mixer *const *mixers, const int32_t *firsts,
                               const int32_t *counts, int parts, const int32_t *tokens,
                               const int32_t *weights, int rows);
/* Between mix and learn, for who explains a file: the bits that each expert adds to the logarithm
 * of each candidate's weight, [rows, columns, llmzip_mixer_experts()], 0 at -1. */
EXPORT void llmzip_mixer_evidence(const struct context_mixer *mixer, float *evidence);
EXPORT int llmzip_mixer_experts(void);
/* Notes the observed tokens [rows] and learns nothing. */
EXPORT int llmzip_mixer_follow(struct context_mixer *mixer, const int32_t *tokens);
/* Between learn and recall: the tokens that the matches expect in the first rows, [rows, most], -1
 * from where nothing is known, and the share of such ones that came so far, [rows, most]. */
EXPORT int llmzip_mixer_draft(struct context_mixer *mixer, int rows, int most, int32_t *tokens,
                              float *chances);
/* From now on the streams are these of the former ones, [streams], in ascending order. */
EXPORT int llmzip_mixer_select(struct context_mixer *mixer, const int32_t *from, int streams);

/* The range coder of docs/format.md. state: [4], the lower end and the range, how many words there
 * are so far, and the point of a decoder. Tables [rows, count] of at least 1 that sum to 2^24.
 * words: of an encoder with room for one a row; of a decoder `length`, beyond which zeros follow.
 * Decoding returns how many symbols [rows] are known: fewer than `rows` where the words cannot have
 * come from these tables. */
EXPORT int llmzip_range_encode(uint64_t *state, uint32_t *words, const int32_t *symbols,
                               const uint32_t *frequencies, int rows, int count);
EXPORT int llmzip_range_decode(uint64_t *state, const uint32_t *words, int length,
                               const uint32_t *frequencies, int rows, int count, int32_t *symbols);

/* The same for several decoders: states, words and lengths of each, [parts]; the first and the
 * number of its rows in tables and symbols; and, written, how many symbols of it are known. */
EXPORT void llmzip_range_decode_parts(uint64_t *const *states, const uint32_t *const *words,
                                      const int32_t *lengths, const int32_t *firsts,
                                      const int32_t *counts, int parts, const uint32_t *frequencies,
                                      int count, int32_t *symbols, int32_t *known);

/* One product of a layer's tensor on uint8 rows, for benchmarks: [rows, K rounded up to 64] ->
 * [rows, N rounded up to 32]. */
EXPORT int llmzip_product(struct engine *engine, int tensor, int layer, const uint8_t *x, int rows,
                          float *out);
/* The processor's dot product alone, on registers, `rounds` times on every thread: how many
 * multiply-adds that was. For benchmarks, like the next one. */
EXPORT int llmzip_peak(struct engine *engine, int rounds, int64_t *multiply_adds);
/* Reads all of `data` once, each thread its part of it. */
EXPORT int llmzip_read(struct engine *engine, const uint8_t *data, int mebibytes);

#endif
