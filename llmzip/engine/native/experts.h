/* Layers that are mixtures of experts: their matrices, and what a step needs for them. */
#ifndef LLMZIP_EXPERTS_H
#define LLMZIP_EXPERTS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

struct engine;
struct worker;

/* Rows that go through a layer together: more than elsewhere, because each expert gets few of
 * them, and its weights are read once for all of them. */
#define EXPERTS_ROW_BLOCK 256

/* What the sizes of a specification become in memory. */
struct expert_sizes {
    size_t count, used;   /* E, K */
    size_t inputs;        /* matrices that read the residual vector: gate, and up */
    size_t inner;         /* F of an expert, rounded up to INPUT_UNIT like the next one */
    size_t shared_inner;  /* of the shared expert; 0: there is none */
    size_t router_stride; /* E, rounded up to PANEL: the column of the shared expert's router */
    size_t sums_stride;   /* between rows of gates and ups, and of outputs */
    size_t bytes_stride;  /* between rows of inputs */
};

/* The matrices of all experts lie one behind the other; each begins with a panel. */
struct experts {
    struct matrix router; /* with the shared expert's router behind it */
    struct matrix gate_up, down, shared_gate_up, shared_down;
};

/* The rows that pass an expert: a run of pairs of row and expert, which are sorted by experts. */
struct expert_run {
    size_t expert, first, count;
};

/* Scratch of a step, for as many rows as go through a layer together. */
struct expert_scratch {
    float *logits;           /* [rows][columns of the router] */
    int32_t *chosen;         /* [rows][K], ascending */
    float *weights;          /* [rows][K] of them */
    int32_t *pairs;          /* [rows][K]: their pairs, -1 where the weight is 0 */
    struct expert_run *runs; /* [E] */
    size_t *runs_count, *pairs_count;
    int32_t *next;           /* [E], the pairs of each expert so far */
    int32_t *pair_rows;      /* [pairs] */
    float *pair_scales;      /* [pairs] */
    float *pair_weights;     /* [pairs] */
    uint8_t *bytes;          /* [pairs][bytes_stride] */
    float *sums;             /* [pairs][sums_stride] */
    float *shared_weights;   /* [rows] */
    float *shared_scales;    /* [rows] */
    float *shared_sums;      /* [rows][width] */
};

struct expert_sizes expert_sizes(const struct spec *spec, size_t width);
/* Room for the experts of a layer. 0: out of memory. */
int experts_new(const struct engine *engine, struct experts *experts);
void experts_free(struct experts *experts);
/* Hands out the scratch for so many rows from one allocation of the returned number of bytes; base
 * NULL: only counts. */
size_t expert_scratch_new(const struct engine *engine, size_t rows, char *base,
                          struct expert_scratch *scratch);

/* A layer's experts for the team's quantized rows, added to x (section 4.9). */
void forward_experts(struct worker *self, size_t layer, float *x, size_t rows);

#endif
