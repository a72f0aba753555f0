/* One lockstep step: every layer for all streams in a single call.
 *
 * The streams are shared out among teams. A team is one thread when there are rows enough, and then never waits;
 * with few rows all threads are one team, which shares out the columns of each product and meets in between. */
#include "session.h"

#include <math.h>

#define ROWS_PER_TEAM 16 /* fewer rows would read the weights more often than they compute with them */
#define WAITING 1.3 /* what threads that meet lose against threads that do not, on machines that also do other work */

struct step {
    struct session *session;
    const int32_t *tokens;
    size_t streams;
    int8_t *vectors;
    float *scales;
    int teams;
};

/* One thread's place in a step. */
struct member {
    struct engine *engine;
    struct session *session;
    struct team *team;
    struct attention_scratch *scratch;
    int rank, size;
    int64_t *profile; /* of the first thread, else NULL */
    int64_t since;
};

static void count_time(struct member *m, enum part part)
{
    if (m->profile) {
        int64_t now = engine_clock();
        m->profile[part] += now - m->since;
        m->since = now;
    }
}

static void meet(struct member *m) { barrier_wait(&m->team->barrier, m->size); }

/* This member's columns of a product of the team's quantized rows. */
static void product(struct member *m, const struct matrix *w, size_t rows, float *out, size_t stride, int accumulate)
{
    size_t panels = w->columns / PANEL;
    struct rows a = {m->team->quantized, round_up(w->groups * 4, PANEL), rows};
    m->engine->kernels->multiply(w, a, share(panels, m->rank, m->size), share(panels, m->rank + 1, m->size), out,
                                 stride, accumulate ? m->team->scales : NULL);
    meet(m);
    count_time(m, PART_GEMM);
}

static void normalize_rows(struct member *m, const float *x, size_t rows)
{
    struct engine *e = m->engine;
    for (size_t r = share(rows, m->rank, m->size); r < share(rows, m->rank + 1, m->size); r++)
        m->team->scales[r] = e->kernels->normalize(x + r * e->width, e->width, e->inverse_width, e->spec.norm_eps,
                                                   m->team->quantized + r * e->width);
    meet(m);
    count_time(m, PART_NORM);
}

/* Item i is key/value head i % G of stream i / G. */
static struct head_rows head_rows(const struct member *m, size_t layer, size_t first, size_t item)
{
    const struct engine *e = m->engine;
    size_t count = m->session->view.count, stride = e->layers[layer].qkv.columns;
    size_t stream = item / m->session->shape.groups, group = item % m->session->shape.groups, row = stream * count;
    return (struct head_rows){session_cache(m->session, layer, first + stream, group),
                              group,
                              m->team->qkv + row * stride,
                              stride,
                              m->team->scales + row,
                              m->team->bounds + item * count,
                              m->team->attended + row * e->heads,
                              e->heads};
}

static void attention(struct member *m, size_t layer, size_t first, size_t streams)
{
    struct session *s = m->session;
    struct engine *e = m->engine;
    size_t count = s->view.count, items = streams * s->shape.groups, rows = streams * count;
    size_t used = s->view.used / PANEL * block_bytes(s->shape.size);
    for (size_t i = share(items, m->rank, m->size); i < share(items, m->rank + 1, m->size); i++) {
        struct head_rows head = head_rows(m, layer, first, i);
        e->kernels->insert(&s->shape, &s->view, &head, m->scratch);
    }
    if (count > 1) /* else each member's queries need what it has inserted itself */
        meet(m);
    size_t last = share(items * count, m->rank + 1, m->size);
    for (size_t q = share(items * count, m->rank, m->size), end; q < last; q = end) {
        size_t i = q / count;
        end = (i + 1) * count < last ? (i + 1) * count : last;
        struct head_rows head = head_rows(m, layer, first, i);
        /* heads follow each other as items do */
        struct prefetch wanted = {head.cache.blocks + s->head_bytes, end < last ? used / 64 : 0};
        e->kernels->attend(&s->shape, &s->view, &head, q - i * count, end - i * count, m->scratch, &wanted);
    }
    meet(m);
    for (size_t r = share(rows, m->rank, m->size); r < share(rows, m->rank + 1, m->size); r++)
        m->team->scales[r] = e->kernels->quantize(m->team->attended + r * e->heads, e->heads,
                                                  m->team->quantized + r * e->heads) *
                             (float)(1.0 / 127);
    meet(m);
    count_time(m, PART_ATTENTION);
}

static void gate_rows(struct member *m, size_t rows)
{
    struct engine *e = m->engine;
    for (size_t r = share(rows, m->rank, m->size); r < share(rows, m->rank + 1, m->size); r++) {
        float *gate = m->team->gate_up + r * 2 * e->inner;
        m->team->scales[r] = e->kernels->gate(gate, gate + e->inner, e->inner, (size_t)e->spec.mlp_rotation,
                                              m->team->scales[r], m->team->quantized + r * e->inner);
    }
    meet(m);
    count_time(m, PART_MLP);
}

/* `streams` streams from `first` on through one layer. */
static void forward(struct member *m, size_t layer, size_t first, size_t streams)
{
    struct engine *e = m->engine;
    const struct layer *w = &e->layers[layer];
    size_t count = m->session->view.count, rows = streams * count;
    float *x = m->session->x + first * count * e->width;
    normalize_rows(m, x, rows);
    product(m, &w->qkv, rows, m->team->qkv, w->qkv.columns, 0);
    attention(m, layer, first, streams);
    product(m, &w->o, rows, x, e->width, 1);
    normalize_rows(m, x, rows);
    product(m, &w->gate_up, rows, m->team->gate_up, 2 * e->inner, 0);
    gate_rows(m, rows);
    product(m, &w->down, rows, x, e->width, 1);
}

static void embed(const struct engine *e, int32_t token, float *x)
{
    size_t d = (size_t)e->spec.d_model;
    const int8_t *row = e->embedding + (size_t)token * d;
    float scale = e->embedding_scale[token];
    for (size_t i = 0; i < d; i++)
        x[i] = (float)row[i] * scale;
}

static void work(void *context, int rank)
{
    const struct step *step = context;
    struct session *s = step->session;
    struct engine *e = s->engine;
    int threads = pool_threads(e->pool), team = 0;
    while (rank >= (int)share((size_t)threads, team + 1, step->teams))
        team++;
    int leader = (int)share((size_t)threads, team, step->teams);
    int end = (int)share((size_t)threads, team + 1, step->teams);
    struct member m = {e,    s, &s->teams[team], &s->attention[rank], rank - leader, end - leader,
                       rank ? NULL : e->profile, engine_clock()};

    size_t first = share(step->streams, leader, threads), last = share(step->streams, end, threads);
    size_t count = s->view.count, d = (size_t)e->spec.d_model;
    size_t row = first * count, rows = (last - first) * count;
    for (size_t r = row + share(rows, m.rank, m.size); r < row + share(rows, m.rank + 1, m.size); r++)
        embed(e, step->tokens[r], s->x + r * e->width);
    meet(&m);

    size_t block = count < ROW_BLOCK ? ROW_BLOCK / count : 1;
    for (size_t layer = 0; layer < (size_t)e->spec.layers; layer++)
        for (size_t stream = first; stream < last; stream += block)
            forward(&m, layer, stream, last - stream < block ? last - stream : block);

    uint8_t *q = m.team->quantized + (size_t)m.rank * e->width;
    for (size_t r = row + share(rows, m.rank, m.size); r < row + share(rows, m.rank + 1, m.size); r++) {
        step->scales[r] =
            e->kernels->normalize(s->x + r * e->width, e->width, e->inverse_width, e->spec.norm_eps, q);
        for (size_t i = 0; i < d; i++)
            step->vectors[r * d + i] = (int8_t)(q[i] - 128);
    }
    count_time(&m, PART_NORM);
}

/* What a thread of a team of `threads` computes of a layer's products, per row: the columns that it gets at most. */
static size_t columns_of(const struct layer *layer, size_t threads)
{
    const struct matrix *matrices[] = {&layer->qkv, &layer->o, &layer->gate_up, &layer->down};
    size_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (matrices[i]->columns / PANEL + threads - 1) / threads * matrices[i]->groups;
    return sum;
}

/* The number of teams that leaves no thread much more work than the others; the more the better, as larger teams wait. */
static int best_teams(const struct engine *engine, size_t streams, size_t rows)
{
    size_t threads = (size_t)pool_threads(engine->pool), most = rows / ROWS_PER_TEAM, best = 1;
    most = most > threads ? threads : most;
    most = most > streams ? streams : most;
    double least = HUGE_VAL;
    for (size_t teams = 1; teams <= most; teams++) {
        double work = 0;
        for (int i = 0; i < (int)teams; i++) {
            int first = (int)share(threads, i, (int)teams), last = (int)share(threads, i + 1, (int)teams);
            size_t share_of_streams = share(streams, last, (int)threads) - share(streams, first, (int)threads);
            work = fmax(work, (double)(share_of_streams * columns_of(&engine->layers[0], (size_t)(last - first))));
        }
        if (work < least * WAITING) {
            least = work;
            best = teams;
        }
    }
    return (int)best;
}

int llmzip_advance(struct session *session, const int32_t *tokens, int streams, int count, int8_t *vectors,
                   float *scales)
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
    session_place(session, (size_t)count);

    struct step step = {session, tokens, (size_t)streams, vectors, scales, best_teams(engine, (size_t)streams, rows)};
    return pool_run(engine->pool, work, &step) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
}
