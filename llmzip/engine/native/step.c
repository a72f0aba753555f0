/* One lockstep step: every layer for all streams in a single call.
 *
 * The streams are partitioned among teams. A team is one thread when there are rows enough, and
 * then never waits; with few rows all threads are one team, which partitions the columns of each
 * product, with barriers in between. */
#include "worker.h"

#include <math.h>

/* The factor by which barriers slow a team down on a machine that also does other work. */
#define BARRIER_COST 1.3

struct step {
    struct session *session;
    const int32_t *tokens;
    size_t streams;
    int8_t *vectors;
    float *scales;
    int teams;
};

void count_time(struct worker *self, enum phase phase)
{
    if (self->profile) {
        int64_t now = engine_clock();
        self->profile[phase] += now - self->since;
        self->since = now;
    }
}

void synchronize(struct worker *self) { barrier_wait(&self->team->barrier, self->size); }

/* What is done with a row between two products. */
typedef void row_function(struct worker *self, const float *x, size_t r);

/* Once all of the team have come here: rows to the team's quantized rows and scales. A single row
 * is the work of whoever comes last, which saves a barrier. */
static void for_rows(struct worker *self, size_t rows, row_function *function, const float *x)
{
    struct barrier *barrier = &self->team->barrier;
    if (rows == 1) {
        if (barrier_arrive(barrier, self->size)) {
            function(self, x, 0);
            barrier_release(barrier, self->size);
        }
        return;
    }
    synchronize(self);
    for (size_t r = partition(rows, self->rank, self->size);
         r < partition(rows, self->rank + 1, self->size); r++)
        function(self, x, r);
    synchronize(self);
}

/* This worker's columns of a product of the team's quantized rows. */
static void product_part(struct worker *self, const struct matrix *w, size_t rows, float *out,
                         size_t stride, int accumulate)
{
    size_t panels = w->columns / PANEL;
    struct rows a = {self->team->quantized, w->groups * 4, rows};
    self->engine->kernels->multiply(w, a, partition(panels, self->rank, self->size),
                                    partition(panels, self->rank + 1, self->size), out, stride,
                                    accumulate ? self->team->scales : NULL);
    count_time(self, PHASE_GEMM);
}

void product(struct worker *self, const struct matrix *w, size_t rows, float *out, size_t stride,
             int accumulate)
{
    product_part(self, w, rows, out, stride, accumulate);
    synchronize(self);
    count_time(self, PHASE_GEMM);
}

static void normalize_row(struct worker *self, const float *x, size_t r)
{
    struct engine *e = self->engine;
    self->team->scales[r] =
        e->kernels->normalize(x + r * e->width, e->width, e->inverse_width, e->spec.norm_eps,
                              self->team->quantized + r * e->width);
}

void normalize_rows(struct worker *self, const float *x, size_t rows)
{
    for_rows(self, rows, normalize_row, x);
    count_time(self, PHASE_NORM);
}

/* Item i is key/value head i % G of stream i / G. */
static struct head_rows head_rows(const struct worker *self, size_t layer, size_t first,
                                  size_t item)
{
    const struct engine *e = self->engine;
    size_t count = self->session->view.count, stride = e->layers[layer].qkv.columns;
    size_t stream = item / self->session->shape.groups, group = item % self->session->shape.groups,
           row = stream * count;
    return (struct head_rows){session_cache(self->session, layer, first + stream, group),
                              group,
                              self->team->qkv + row * stride,
                              stride,
                              self->team->scales + row,
                              self->team->bounds + item * count,
                              self->team->attended + row * e->heads,
                              e->heads};
}

static void quantize_row(struct worker *self, const float *attended, size_t r)
{
    struct engine *e = self->engine;
    self->team->scales[r] = e->kernels->quantize(attended + r * e->heads, e->heads,
                                                 self->team->quantized + r * e->heads) *
                            (float)(1.0 / INT8_MAX);
}

void attention(struct worker *self, size_t layer, size_t first, size_t streams)
{
    struct session *s = self->session;
    struct engine *e = self->engine;
    const struct view *view = &s->views[e->layers[layer].view];
    size_t count = s->view.count, items = streams * s->shape.groups, rows = streams * count;
    size_t used = s->view.used / PANEL * block_bytes(s->shape.size);
    for (size_t i = partition(items, self->rank, self->size);
         i < partition(items, self->rank + 1, self->size); i++) {
        struct head_rows head = head_rows(self, layer, first, i);
        e->kernels->insert(&s->shape, view, &head, self->scratch);
    }
    if (count > 1) /* else each worker's queries need what it has inserted itself */
        synchronize(self);
    size_t last = partition(items * count, self->rank + 1, self->size);
    for (size_t q = partition(items * count, self->rank, self->size), end; q < last; q = end) {
        size_t i = q / count;
        end = (i + 1) * count < last ? (i + 1) * count : last;
        struct head_rows head = head_rows(self, layer, first, i);
        /* heads follow each other as items do */
        struct prefetch wanted = {head.cache.blocks + s->head_bytes, end < last ? used / 64 : 0};
        e->kernels->attend(&s->shape, view, &head, q - i * count, end - i * count, self->scratch,
                           &wanted);
    }
    for_rows(self, rows, quantize_row, self->team->attended);
    count_time(self, PHASE_ATTENTION);
}

static void gate_row(struct worker *self, const float *unused, size_t r)
{
    struct engine *e = self->engine;
    float *gate = self->team->gate_up + r * e->gate_stride; /* which is overwritten */
    (void)unused;
    self->team->scales[r] =
        e->kernels->gate(gate, gate + e->inner, e->inner, (size_t)e->spec.mlp_rotation,
                         self->team->scales[r], self->team->quantized + r * e->inner);
}

/* `streams` streams from `first` on through one layer. The threads of a team leave it as they
 * come. */
static void forward(struct worker *self, size_t layer, size_t first, size_t streams)
{
    struct engine *e = self->engine;
    const struct layer *w = &e->layers[layer];
    size_t count = self->session->view.count, rows = streams * count;
    float *x = self->session->x + first * count * e->width;
    if (e->spec.featured) {
        forward_featured(self, layer, first, streams);
        return;
    }
    normalize_rows(self, x, rows);
    product(self, &w->qkv, rows, self->team->qkv, w->qkv.columns, 0);
    attention(self, layer, first, streams);
    product_part(self, &w->o, rows, x, e->width, 1);
    normalize_rows(self, x, rows);
    product_part(self, &w->gate_up, rows, self->team->gate_up, e->gate_stride, 0);
    for_rows(self, rows, gate_row, NULL);
    count_time(self, PHASE_MLP);
    product_part(self, &w->down, rows, x, e->width, 1);
}

static void embed(const struct engine *e, int32_t token, int32_t position, float *x)
{
    size_t d = (size_t)e->spec.d_model;
    const int8_t *row = e->embedding + (size_t)token * d;
    float scale = e->embedding_scale[token];
    for (size_t i = 0; i < d; i++)
        x[i] = (float)row[i] * scale;
    if (e->positions) {
        row = e->positions + (size_t)position * d;
        scale = e->positions_scale[position];
        for (size_t i = 0; i < d; i++)
            x[i] += (float)row[i] * scale;
    }
}

static void work(void *context, int rank)
{
    const struct step *step = context;
    struct session *s = step->session;
    struct engine *e = s->engine;
    int threads = pool_threads(e->pool), team = 0;
    while (rank >= (int)partition((size_t)threads, team + 1, step->teams))
        team++;
    int leader = (int)partition((size_t)threads, team, step->teams);
    int end = (int)partition((size_t)threads, team + 1, step->teams);
    struct worker self = {e,
                          s,
                          &s->teams[team],
                          &s->attention[rank],
                          rank - leader,
                          end - leader,
                          rank ? NULL : e->profile,
                          engine_clock()};

    size_t first = partition(step->streams, leader, threads),
           last = partition(step->streams, end, threads);
    size_t count = s->view.count, d = (size_t)e->spec.d_model;
    size_t row = first * count, rows = (last - first) * count;
    for (size_t r = row + partition(rows, self.rank, self.size);
         r < row + partition(rows, self.rank + 1, self.size); r++)
        embed(e, step->tokens[r], s->view.first + (int32_t)(r % count), s->x + r * e->width);
    synchronize(&self);

    size_t block = count < ROW_BLOCK ? ROW_BLOCK / count : 1;
    for (size_t layer = 0; layer < (size_t)e->spec.layers; layer++)
        for (size_t stream = first; stream < last; stream += block)
            forward(&self, layer, stream, last - stream < block ? last - stream : block);
    synchronize(&self);

    uint8_t *q = self.team->quantized + (size_t)self.rank * e->width;
    for (size_t r = row + partition(rows, self.rank, self.size);
         r < row + partition(rows, self.rank + 1, self.size); r++) {
        step->scales[r] = e->kernels->normalize(s->x + r * e->width, e->width, e->inverse_width,
                                                e->spec.norm_eps, q);
        for (size_t i = 0; i < d; i++)
            step->vectors[r * d + i] = (int8_t)(q[i] - 128);
    }
    count_time(&self, PHASE_NORM);
}

/* What a thread of a team of `threads` computes of a layer's products, per row: the columns of the
 * largest partition. */
static size_t columns_of(const struct layer *layer, size_t threads)
{
    const struct matrix *matrices[] = {&layer->qkv, &layer->o, &layer->gate_up, &layer->down};
    size_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (matrices[i]->columns / PANEL + threads - 1) / threads * matrices[i]->groups;
    return sum;
}

/* The number of teams that leaves no thread much more work than the others; the more the better, as
 * larger teams wait. */
static int best_teams(const struct engine *engine, size_t streams, size_t rows)
{
    size_t threads = (size_t)pool_threads(engine->pool), best = 1,
           limit = rows / engine->kernels->rows_per_thread;
    limit = limit > threads ? threads : limit;
    limit = limit > streams ? streams : limit;
    double least = HUGE_VAL;
    for (size_t teams = 1; teams <= limit; teams++) {
        double work = 0;
        for (int i = 0; i < (int)teams; i++) {
            int first = (int)partition(threads, i, (int)teams),
                last = (int)partition(threads, i + 1, (int)teams);
            size_t team_streams =
                partition(streams, last, (int)threads) - partition(streams, first, (int)threads);
            work = fmax(work, (double)(team_streams *
                                       columns_of(&engine->layers[0], (size_t)(last - first))));
        }
        if (work < least * BARRIER_COST) {
            least = work;
            best = teams;
        }
    }
    return (int)best;
}

int llmzip_advance(struct session *session, const int32_t *tokens, int streams, int count,
                   int8_t *vectors, float *scales)
{
    struct engine *engine = session->engine;
    if (streams < 1 || streams > session->active || count < 1 || count > session->chunk ||
        count > engine->spec.max_positions - session->position)
        return LLMZIP_BAD_ARGUMENT;
    size_t rows = (size_t)streams * (size_t)count;
    for (size_t i = 0; i < rows; i++)
        if (tokens[i] < 0 || tokens[i] >= engine->spec.vocab)
            return LLMZIP_BAD_ARGUMENT;
    session->active = streams;
    session_assign_slots(session, (size_t)count);

    struct step step = {session, tokens, (size_t)streams,
                        vectors, scales, best_teams(engine, (size_t)streams, rows)};
    return pool_run(engine->pool, work, &step) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}
