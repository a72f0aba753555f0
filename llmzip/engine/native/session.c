/* See session.h. Slots 0..3 hold the first positions for ever, the others are a ring of window +
 * chunk - 1, so that writing a chunk overwrites nothing that the chunk still sees. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "buffers.h"

#define MAX_ALLOCATIONS 34

static void *own(struct session *session, size_t count, size_t size)
{
    void *p = alloc_huge(count * size);
    if (p)
        session->owned[session->owned_count++] = p;
    return p;
}

/* A buffer for all threads or teams: slice i starts at i * returned stride, which keeps them on
 * different lines. */
static char *own_slices(struct session *session, size_t slices, size_t bytes, size_t *stride)
{
    *stride = round_up(bytes, 64) + 64;
    return own(session, slices, *stride);
}

#define TEAM_BUFFERS 9

static int new_teams(struct session *session, size_t threads)
{
    struct engine *engine = session->engine;
    size_t rows = larger(engine->row_block, (size_t)session->chunk), stride[TEAM_BUFFERS];
    char *slices[TEAM_BUFFERS];
    size_t widest = larger(larger(engine->width, engine->heads),
                           larger(engine->inner, engine->experts.shared_inner));
    size_t bytes[TEAM_BUFFERS] = {
        /* Rotating a head reads past its end. */
        (rows * engine->layers[0].qkv.columns + PANEL) * sizeof(float),
        rows * engine->heads * sizeof(float),
        rows * engine->gate_stride * sizeof(float),
        rows * widest,
        rows * sizeof(float),
        engine->spec.featured ? rows * sizeof(float) : 0,
        engine->spec.featured && engine->spec.post_norm ? rows * engine->width * sizeof(float) : 0,
        engine->spec.featured ? rows * widest : 0,
        engine->spec.featured ? rows * sizeof(float) : 0,
    };
    session->teams = own(session, threads, sizeof *session->teams);
    if (!session->teams)
        return 0;
    if (engine->spec.experts)
        threads = 1; /* there is but one team */
    for (int i = 0; i < TEAM_BUFFERS; i++)
        if (!(slices[i] = own_slices(session, threads, bytes[i], &stride[i])))
            return 0;
    for (size_t t = 0; t < threads; t++) {
        struct team *team = &session->teams[t];
        team->qkv = (float *)(void *)(slices[0] + t * stride[0]);
        team->attended = (float *)(void *)(slices[1] + t * stride[1]);
        team->gate_up = (float *)(void *)(slices[2] + t * stride[2]);
        team->quantized = (uint8_t *)(slices[3] + t * stride[3]);
        team->scales = (float *)(void *)(slices[4] + t * stride[4]);
        team->kept = (float *)(void *)(slices[5] + t * stride[5]);
        team->added = (float *)(void *)(slices[6] + t * stride[6]);
        team->high = (uint8_t *)(slices[7] + t * stride[7]);
        team->high_scales = (float *)(void *)(slices[8] + t * stride[8]);
    }
    return 1;
}

static int new_experts(struct session *session)
{
    const struct engine *engine = session->engine;
    size_t rows = larger(engine->row_block, (size_t)session->chunk);
    if (!engine->spec.experts)
        return 1;
    char *base = own(session, 1, expert_scratch_new(engine, rows, NULL, &session->experts));
    return base && expert_scratch_new(engine, rows, base, &session->experts);
}

static int new_attention(struct session *session, size_t threads)
{
    size_t queries = (size_t)session->chunk * (session->shape.heads / session->shape.groups),
           stride[5];
    size_t size = session->shape.size, slots = session->view.slots;
    char *slices[5];
    size_t bytes[5] = {
        QUERY_TILE * slots * sizeof(float),
        2 * QUERY_TILE * slots,
        queries * round_up(size, PANEL),
        queries * sizeof(float),
        2 * round_up(size / 2, PANEL) * sizeof(float),
    };
    session->attention = own(session, threads, sizeof *session->attention);
    if (!session->attention)
        return 0;
    for (int i = 0; i < 5; i++)
        if (!(slices[i] = own_slices(session, threads, bytes[i], &stride[i])))
            return 0;
    for (size_t t = 0; t < threads; t++) {
        struct attention_scratch *scratch = &session->attention[t];
        scratch->scores = (float *)(void *)(slices[0] + t * stride[0]);
        scratch->limbs = (uint8_t *)(slices[1] + t * stride[1]);
        scratch->queries = (uint8_t *)(slices[2] + t * stride[2]);
        scratch->query_scales = (float *)(void *)(slices[3] + t * stride[3]);
        scratch->head = (float *)(void *)(slices[4] + t * stride[4]);
    }
    return 1;
}

static int new_cache(struct session *session)
{
    size_t heads =
        (size_t)session->engine->spec.layers * (size_t)session->streams * session->shape.groups;
    session->head_bytes =
        (session->view.slots / PANEL - session->borrowed.blocks) * block_bytes(session->shape.size);
    session->largest = own(session, heads, sizeof *session->largest);
    session->bounds = own(session, heads * (size_t)session->chunk, sizeof *session->bounds);
    session->cache = own(session, heads, session->head_bytes);
    return session->largest && session->bounds && session->cache;
}

/* The number of a head among all. */
static size_t head_number(const struct session *session, size_t layer, size_t stream, size_t group)
{
    return (layer * (size_t)session->streams + stream) * session->shape.groups + group;
}

struct head_cache session_cache(const struct session *session, size_t layer, size_t stream,
                                size_t group)
{
    size_t head = head_number(session, layer, stream, group);
    const struct loan *loan = &session->borrowed;
    size_t lent = (layer * loan->streams + loan->stream) * session->shape.groups + group;
    return (struct head_cache){session->cache + head * session->head_bytes, session->largest + head,
                               loan->blocks ? loan->cache + lent * loan->head_bytes : NULL,
                               loan->blocks};
}

float *session_bounds(const struct session *session, size_t layer, size_t stream, size_t group)
{
    return session->bounds +
           head_number(session, layer, stream, group) * (size_t)session->chunk;
}

/* Numbers of a kind of view's rotary tables for a chunk. */
static size_t rope_stride(const struct session *session)
{
    return (size_t)session->chunk * 2 * round_up(session->shape.size / 2, PANEL);
}

static struct session *new_session(struct engine *engine, int streams, int window, int chunk,
                                   struct loan borrowed)
{
    const struct spec *spec = &engine->spec;
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->owned = calloc(MAX_ALLOCATIONS, sizeof *session->owned);
    session->engine = engine;
    session->borrowed = borrowed;
    session->streams = session->active = streams;
    session->chunk = chunk < spec->max_positions ? chunk : spec->max_positions;
    session->view.window = window < spec->max_positions ? window : spec->max_positions;
    session->ring = (int64_t)session->view.window + session->chunk - 1;
    session->capacity = (size_t)spec->max_positions;
    if (SINK_TOKENS + session->ring < spec->max_positions)
        session->capacity = (size_t)(SINK_TOKENS + session->ring);
    session->view.slots = round_up(session->capacity, PANEL);
    session->shape = (struct head_shape){(size_t)spec->heads, (size_t)spec->kv_heads,
                                         (size_t)spec->head_dim,
                                         spec->featured ? (size_t)spec->key_rotation : 1,
                                         features_score_cap(spec)};

    size_t chunk_size = (size_t)session->chunk, slots = session->view.slots,
           threads = (size_t)pool_threads(engine->pool), views = engine->views_count;
    if (session->owned && (session->slot = own(session, chunk_size, sizeof *session->slot)) &&
        (session->positions = own(session, slots, sizeof *session->positions)) &&
        (session->views = own(session, views, sizeof *session->views)) &&
        (session->partial = own(session, views * chunk_size, slots / PANEL)) &&
        (session->rope = own(session, views * rope_stride(session), sizeof(float))) &&
        (session->x = own(session, (size_t)streams * chunk_size * engine->width, sizeof(float))) &&
        new_cache(session) && new_teams(session, threads) && new_experts(session) &&
        new_attention(session, threads)) {
        for (size_t i = 0; i < slots; i++)
            session->positions[i] = INT32_MAX;
        session->view.slot = session->slot;
        session->view.positions = session->positions;
        return session;
    }
    llmzip_session_free(session);
    return NULL;
}

struct session *llmzip_session_new(struct engine *engine, int streams, int window, int chunk)
{
    return new_session(engine, streams, window, chunk, (struct loan){0});
}

/* What these streams of a session may share: what it has borrowed itself, or the whole blocks of
 * the one stream that all of them continue. */
static struct loan loan_of(struct session *origin, const int32_t *streams, int count)
{
    struct engine *engine = origin->engine;
    if (origin->borrowed.blocks)
        return origin->borrowed;
    for (int i = 1; i < count; i++)
        if (streams[i] != streams[0])
            return (struct loan){0};
    if (origin->never_lends || engine->views_count > 1 || engine->views[0].local < INT32_MAX)
        return (struct loan){0};
    size_t blocks = (size_t)origin->position / PANEL;
    origin->lent = larger(origin->lent, blocks);
    return (struct loan){origin->cache, (size_t)origin->streams, (size_t)streams[0],
                         origin->head_bytes, blocks};
}

/* Copies the blocks [first, last) of a head. */
static void copy_blocks(const struct session *session, const struct head_cache *from,
                        const struct head_cache *to, size_t first, size_t last)
{
    size_t size = session->shape.size;
    for (size_t p = first; p < last; p++)
        memcpy(cache_block(to, size, p).keys, cache_block(from, size, p).keys, block_bytes(size));
}

struct session *llmzip_session_fork(struct engine *engine, struct session *origin,
                                    const int32_t *from_streams, int streams, int window, int chunk)
{
    struct loan loan = loan_of(origin, from_streams, streams);
    struct session *session = new_session(engine, streams, window, chunk, loan);
    if (!session)
        return NULL;
    session->never_lends = 1;
    const struct spec *spec = &engine->spec;
    /* No slot has been used twice: position p is in slot p. */
    size_t fed = (size_t)origin->position, blocks = round_up(fed, PANEL) / PANEL;
    for (size_t layer = 0; layer < (size_t)spec->layers; layer++)
        for (size_t stream = 0; stream < (size_t)streams; stream++)
            for (size_t group = 0; group < origin->shape.groups; group++) {
                struct head_cache from =
                    session_cache(origin, layer, (size_t)from_streams[stream], group);
                struct head_cache to = session_cache(session, layer, stream, group);
                copy_blocks(session, &from, &to, loan.blocks, blocks);
                *to.largest = *from.largest;
            }
    memcpy(session->positions, origin->positions, fed * sizeof *session->positions);
    session->position = origin->position;
    return session;
}

/* Moves to a cache of its own, so that blocks which others see can be overwritten. */
static int renew_cache(struct session *session)
{
    struct session before = *session;
    size_t heads =
        (size_t)session->engine->spec.layers * (size_t)session->streams * session->shape.groups;
    size_t blocks = session->view.slots / PANEL;
    session->borrowed = (struct loan){0};
    session->head_bytes = blocks * block_bytes(session->shape.size);
    session->cache = own(session, heads, session->head_bytes);
    if (!session->cache) {
        *session = before;
        return 0;
    }
    session->lent = 0;
    session->never_lends = 1;
    for (size_t layer = 0; layer < (size_t)session->engine->spec.layers; layer++)
        for (size_t stream = 0; stream < (size_t)session->streams; stream++)
            for (size_t group = 0; group < session->shape.groups; group++) {
                struct head_cache from = session_cache(&before, layer, stream, group);
                struct head_cache to = session_cache(session, layer, stream, group);
                copy_blocks(session, &from, &to, 0, blocks);
            }
    return 1;
}

/* Slots of positions that are taken back stay as they are: nobody sees a position ahead of his own,
 * and a chunk's slots are none that its first position sees. */
int llmzip_session_rewind(struct session *session, int count)
{
    if (count < 0 || (count && (size_t)count >= session->view.count))
        return LLMZIP_BAD_ARGUMENT;
    if (!count)
        return LLMZIP_OK;
    session->position -= count;
    session->view.count -= (size_t)count;
    for (size_t layer = 0; layer < (size_t)session->engine->spec.layers; layer++)
        for (size_t stream = 0; stream < (size_t)session->active; stream++)
            for (size_t group = 0; group < session->shape.groups; group++)
                session->largest[head_number(session, layer, stream, group)] =
                    session_bounds(session, layer, stream, group)[session->view.count - 1];
    return LLMZIP_OK;
}

void llmzip_session_free(struct session *session)
{
    if (!session)
        return;
    for (size_t i = 0; i < session->owned_count; i++)
        free_huge(session->owned[i]);
    free(session->owned);
    free(session);
}

/* Cosines, then sines of a position in a table (-1: of no rotation), each padded with zeros. */
static void fill_rope(const struct session *session, int32_t table, int32_t position, float *to)
{
    const struct engine *engine = session->engine;
    size_t half = session->shape.size / 2, h = round_up(half, PANEL);
    if (table < 0) {
        for (size_t i = 0; i < half; i++)
            to[i] = 1.0f;
        return;
    }
    size_t row = (size_t)table * (size_t)engine->spec.max_positions + (size_t)position;
    const int16_t *from = engine->rope + row * 2 * half;
    for (size_t i = 0; i < half; i++) {
        to[i] = (float)from[i] * (1.0f / (1 << ROPE_BITS));
        to[h + i] = (float)from[half + i] * (1.0f / (1 << ROPE_BITS));
    }
}

/* A view of the panels [first, last) alone: for attention they are the cache. What is hidden adds
 * nothing, so that the numbers are the same. */
static void narrow_view(struct view *view, size_t first, size_t last)
{
    view->skipped = first;
    view->used = (last - first) * PANEL;
    view->positions += first * PANEL;
    view->partial += first;
}

/* What the layers of one kind see of the new positions. */
static void make_view(struct session *session, size_t index)
{
    const struct view_kind *kind = &session->engine->views[index];
    struct view *view = &session->views[index];
    size_t count = session->view.count, panels = session->view.slots / PANEL;
    float *rope = session->rope + index * rope_stride(session);
    uint8_t *partial = session->partial + index * (size_t)session->chunk * panels;
    *view = session->view;
    view->local = kind->local;
    view->rope = rope;
    view->partial = partial;
    for (size_t t = 0; t < count; t++)
        fill_rope(session, kind->rope_table, view->first + (int32_t)t,
                  rope + t * 2 * round_up(session->shape.size / 2, PANEL));
    memset(partial, 0, count * panels);
    size_t lowest = view->used, highest = 0; /* slots that some position sees */
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < view->used; i++)
            if (!is_visible(session->positions[i], view->first + (int32_t)t, view->window,
                            view->local)) {
                partial[t * panels + i / PANEL] = 1;
            } else {
                lowest = i < lowest ? i : lowest;
                highest = i > highest ? i : highest;
            }
    if (view->local < INT32_MAX)
        narrow_view(view, lowest / PANEL, highest / PANEL + 1);
}

static size_t slot_of(const struct session *session, int32_t position)
{
    return position < SINK_TOKENS
               ? (size_t)position
               : (size_t)(SINK_TOKENS + (position - SINK_TOKENS) % session->ring);
}

int session_assign_slots(struct session *session, size_t count)
{
    struct view *view = &session->view;
    size_t shared = larger(session->borrowed.blocks, session->lent) * PANEL;
    for (size_t t = 0; t < count; t++)
        if (slot_of(session, session->position + (int32_t)t) < shared) {
            if (!renew_cache(session))
                return 0;
            break;
        }
    view->first = session->position;
    view->count = count;
    for (size_t t = 0; t < count; t++) {
        int32_t p = session->position++;
        session->slot[t] = (int32_t)slot_of(session, p);
        session->positions[session->slot[t]] = p;
    }
    size_t used = (size_t)session->position;
    view->used = round_up(used < session->capacity ? used : session->capacity, PANEL);
    for (size_t i = 0; i < session->engine->views_count; i++)
        make_view(session, i);
    return 1;
}
