/* One lockstep step: every layer for all streams in a single call.
 *
 * The streams are partitioned among teams. A team is one thread when there are rows enough, and
 * then never waits; with few rows all threads are one team, which partitions the columns of each
 * product, with barriers in between. */
#include "worker.h"

#include <math.h>
#include <string.h>

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

/* Chunks for each thread of a team: several, so that one that is late leaves some of its part to
 * the others; but memory is read more quickly in long runs, and a single row's products do little
 * else (4 chunks cost a single stream 5 %). */
#define CHUNKS_PER_THREAD 4
#define CHUNKS_OF_A_SINGLE_ROW 1

size_t chunks_for(size_t rows) { return rows == 1 ? CHUNKS_OF_A_SINGLE_ROW : CHUNKS_PER_THREAD; }

void for_items(struct worker *self, size_t items, size_t per_thread, range_function *function,
               const void *job, row_function *last, const float *x)
{
    struct stage *stage = &self->team->stage;
    if (self->size == 1) {
        function(self, job, 0, items);
        if (last)
            last(self, x, 0);
        return;
    }
    size_t chunks = (size_t)self->size * per_thread;
    chunks = chunks < items ? chunks : items;
    unsigned number = self->stage++;
    for (int c; (c = stage_take(stage, number, (unsigned)chunks)) >= 0;) {
        function(self, job, partition(items, c, (int)chunks), partition(items, c + 1, (int)chunks));
        if (stage_chunk_done(stage, (unsigned)chunks)) {
            if (last)
                last(self, x, 0);
            stage_end(stage, number);
        }
    }
    stage_wait(stage, number);
}

/* Where the next chunk of this thread begins, if the threads of its team take turns. */
static size_t next_turn(const struct worker *self, size_t first, size_t last)
{
    return last + (last - first) * (size_t)(self->size - 1);
}

struct row_job {
    row_function *function;
    const float *x;
};

static void row_range(struct worker *self, const void *context, size_t first, size_t last)
{
    const struct row_job *job = context;
    for (size_t r = first; r < last; r++)
        job->function(self, job->x, r);
}

void for_rows(struct worker *self, size_t rows, row_function *function, const float *x)
{
    struct row_job each = {function, x};
    for_items(self, rows, CHUNKS_PER_THREAD, row_range, &each, NULL, NULL);
}

struct product_job {
    const struct matrix *matrix;
    size_t rows;
    float *out;
    size_t stride;
    enum output output;
    int wide;
};

static void product_range(struct worker *self, const void *context, size_t first, size_t last)
{
    const struct product_job *job = context;
    const struct team *team = self->team;
    size_t width = job->matrix->groups * 4;
    struct rows rows = {team->quantized, width, job->rows}, high = {team->high, width, job->rows};
    if (job->output == SCALED_PRODUCT) /* 0 and what is added */
        for (size_t r = 0; r < job->rows; r++)
            memset(job->out + r * job->stride + first * PANEL, 0,
                   (last - first) * PANEL * sizeof(float));
    size_t after = next_turn(self, first, last);
    self->engine->kernels->multiply(job->matrix, rows, first, last, after, job->out, job->stride,
                                    job->output == PRODUCT ? NULL : team->scales);
    if (job->wide)
        self->engine->kernels->multiply(job->matrix, high, first, last, after, job->out,
                                        job->stride, team->high_scales);
}

/* A product of the team's quantized rows, and what is done with the rows then. A single row is the
 * work of the thread that ends the product. */
static void product_then(struct worker *self, const struct matrix *w, size_t rows, float *out,
                         size_t stride, enum output output, int wide, row_function *then,
                         const float *x, enum phase phase)
{
    struct product_job job = {w, rows, out, stride, output, wide};
    for_items(self, w->columns / PANEL, chunks_for(rows), product_range, &job,
              rows == 1 ? then : NULL, x);
    count_time(self, PHASE_GEMM);
    if (then && rows > 1) {
        for_rows(self, rows, then, x);
        count_time(self, phase);
    }
}

void product(struct worker *self, const struct matrix *w, size_t rows, float *out, size_t stride,
             enum output output, int wide)
{
    product_then(self, w, rows, out, stride, output, wide, NULL, NULL, PHASE_GEMM);
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
                              1,
                              group,
                              self->team->qkv + row * stride,
                              stride,
                              self->team->scales + row,
                              session_bounds(self->session, layer, first + stream, group),
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

static void quantize_row_wide(struct worker *self, const float *attended, size_t r)
{
    struct engine *e = self->engine;
    struct team *team = self->team;
    float scale = e->kernels->quantize_wide(attended + r * e->heads, e->heads,
                                            team->quantized + r * e->heads,
                                            team->high + r * e->heads) *
                  (float)(1.0 / WIDE_MAX);
    team->scales[r] = scale;
    team->high_scales[r] = scale * WIDE_BASE;
}

struct attention_job {
    const struct view *view;
    size_t layer, first_stream, items;
};

static void insert_items(struct worker *self, const void *context, size_t first, size_t last)
{
    const struct attention_job *job = context;
    for (size_t i = first; i < last; i++) {
        struct head_rows head = head_rows(self, job->layer, job->first_stream, i);
        self->engine->kernels->insert(&self->session->shape, job->view, &head, self->scratch);
    }
}

/* The queries [first, last) of all items, item by item. */
static void attend_queries(struct worker *self, const void *context, size_t first, size_t last)
{
    const struct attention_job *job = context;
    struct session *s = self->session;
    size_t count = s->view.count, block = block_bytes(s->shape.size),
           used = (job->view->used / PANEL - s->borrowed.blocks) * block;
    for (size_t q = first, end; q < last; q = end) {
        size_t i = q / count;
        end = (i + 1) * count < last ? (i + 1) * count : last;
        struct head_rows head = head_rows(self, job->layer, job->first_stream, i);
        head.cache.blocks += job->view->skipped * block;
        head.fresh = head.cache.blocks != self->asked;
        /* heads follow each other as items do */
        size_t next = end < last ? i + 1 : next_turn(self, first, last) / count;
        struct prefetch wanted = bytes_from(head.cache.blocks + (next - i) * s->head_bytes,
                                            next < job->items ? used : 0);
        self->asked = next < job->items ? wanted.next : NULL;
        self->engine->kernels->attend(&s->shape, job->view, &head, q - i * count, end - i * count,
                                      self->scratch, &wanted);
    }
}

static void insert_and_attend(struct worker *self, const void *job, size_t first, size_t last)
{
    insert_items(self, job, first, last);
    attend_queries(self, job, first, last);
}

void attention(struct worker *self, size_t layer, size_t first, size_t streams)
{
    struct session *s = self->session;
    size_t count = s->view.count, items = streams * s->shape.groups, rows = streams * count;
    const struct layer *w = &self->engine->layers[layer];
    struct attention_job job = {&s->views[w->view], layer, first, items};
    row_function *quantized = is_wide(w, WIDE_O) ? quantize_row_wide : quantize_row,
                 *last = rows == 1 ? quantized : NULL;
    if (count > 1) {
        for_items(self, items, CHUNKS_PER_THREAD, insert_items, &job, NULL, NULL);
        for_items(self, items * count, CHUNKS_PER_THREAD, attend_queries, &job, NULL, NULL);
    } else { /* a query needs what its own item has inserted */
        for_items(self, items, CHUNKS_PER_THREAD, insert_and_attend, &job, last,
                  self->team->attended);
    }
    if (!last)
        for_rows(self, rows, quantized, self->team->attended);
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

/* `streams` streams from `first` on through one layer. */
static void forward(struct worker *self, size_t layer, size_t first, size_t streams)
{
    struct engine *e = self->engine;
    const struct layer *w = &e->layers[layer];
    struct team *team = self->team;
    size_t count = self->session->view.count, rows = streams * count;
    float *x = self->session->x + first * count * e->width;
    if (rows > 1 || layer == 0) /* else the layer before has done it */
        normalize_rows(self, x, rows);
    product(self, &w->qkv, rows, team->qkv, w->qkv.columns, PRODUCT, 0);
    attention(self, layer, first, streams);
    product_then(self, &w->o, rows, x, e->width, ADDED_PRODUCT, 0, normalize_row, x, PHASE_NORM);
    product_then(self, &w->gate_up, rows, team->gate_up, e->gate_stride, PRODUCT, 0, gate_row, NULL,
                 PHASE_MLP);
    product_then(self, &w->down, rows, x, e->width, ADDED_PRODUCT, 0,
                 rows > 1 ? NULL : normalize_row, x, PHASE_NORM);
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
                          NULL,
                          rank - leader,
                          end - leader,
                          0,
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

    size_t block = count < e->row_block ? e->row_block / count : 1;
    for (size_t layer = 0; layer < (size_t)e->spec.layers; layer++)
        for (size_t stream = first; stream < last; stream += block)
            (e->spec.featured ? forward_featured : forward)(
                &self, layer, stream, last - stream < block ? last - stream : block);

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
    if (engine->spec.experts) /* which are shared by all rows */
        return 1;
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
    if (!session_assign_slots(session, (size_t)count))
        return LLMZIP_NO_MEMORY;
    session->active = streams;

    struct step step = {session, tokens, (size_t)streams,
                        vectors, scales, best_teams(engine, (size_t)streams, rows)};
    for (int i = 0; i < pool_threads(engine->pool); i++)
        memset(&session->teams[i].stage, 0, sizeof session->teams[i].stage);
    return pool_run(engine->pool, work, &step) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}
