/* The mixer's steps: recall, mix, learn (docs/arithmetic.md, section 6). See context_mixer.h. */
#include "context_mixer.h"

#include <stdlib.h>
#include <string.h>

#include "buffers.h"

#define NAMES 256 /* of a row's candidates; more than twice as many */
_Static_assert(2 * MAX_CANDIDATES <= NAMES, "the table of names would be crowded");

struct context_mixer {
    struct engine *engine;
    int capacity_bits;
    int32_t start_token;
    int64_t fed;
    size_t streams, active; /* rows of this step */
    size_t columns;         /* the most candidates of a row */
    struct matches matches;
    struct neighbors neighbors;
    struct biases biases;
    struct mixer mixer;
    struct row *rows;          /* [streams] */
    struct outcome *outcomes;  /* [streams] */
    uint64_t *signatures;      /* [streams][words] */
    char *searches;            /* [threads] of search_bytes: a search and its histogram */
    size_t search_bytes;
    char *tables;
    size_t table_bytes;
};

static size_t place_tables(struct context_mixer *m, char *base)
{
    struct arena arena = {base, 0};
    size_t vocab = (size_t)m->engine->spec.vocab;
    matches_place(&m->matches, &arena, m->capacity_bits);
    neighbors_place(&m->neighbors, &arena, m->capacity_bits, vocab);
    biases_place(&m->biases, &arena, m->capacity_bits, vocab);
    return arena.used;
}

/* Memory for the tables and the scratch. */
static int allocate(struct context_mixer *m)
{
    m->table_bytes = place_tables(m, NULL);
    m->tables = big_alloc(m->table_bytes);
    m->search_bytes = round_up(sizeof(struct search) + (m->neighbors.width + 1) * sizeof(uint32_t), 64) + 64;
    m->searches = big_alloc(m->search_bytes * (size_t)pool_threads(m->engine->pool));
    if (!m->tables || !m->searches)
        return 0;
    place_tables(m, m->tables);
    return 1;
}

static int allocate_rows(struct context_mixer *m, size_t streams)
{
    struct row *rows = calloc(streams, sizeof *rows);
    struct outcome *outcomes = calloc(streams, sizeof *outcomes);
    uint64_t *signatures = calloc(streams, m->neighbors.words * sizeof *signatures);
    if (!rows || !outcomes || !signatures) {
        free(rows);
        free(outcomes);
        free(signatures);
        return 0;
    }
    m->rows = rows;
    m->outcomes = outcomes;
    m->signatures = signatures;
    m->streams = streams;
    return 1;
}

static void free_rows(struct context_mixer *m)
{
    free(m->rows);
    free(m->outcomes);
    free(m->signatures);
}

int llmzip_mixer_columns(void) { return MAX_CANDIDATES; }

struct context_mixer *llmzip_mixer_new(struct engine *engine, int capacity_bits, int32_t start_token)
{
    struct context_mixer *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->engine = engine;
    m->capacity_bits = capacity_bits;
    m->start_token = start_token;
    neighbors_new(&m->neighbors, (size_t)engine->spec.d_model);
    mixer_new(&m->mixer);
    if (allocate(m) && llmzip_mixer_start(m, 1, NULL, 0) == LLMZIP_OK)
        return m;
    llmzip_mixer_free(m);
    return NULL;
}

void llmzip_mixer_free(struct context_mixer *m)
{
    if (!m)
        return;
    free_rows(m);
    big_free(m->searches);
    big_free(m->tables);
    free(m);
}

struct context_mixer *llmzip_mixer_copy(const struct context_mixer *from)
{
    struct context_mixer *m = malloc(sizeof *m);
    if (!m)
        return NULL;
    *m = *from;
    m->rows = NULL;
    m->outcomes = NULL;
    m->signatures = NULL;
    if (allocate(m) && allocate_rows(m, from->streams)) {
        memcpy(m->tables, from->tables, m->table_bytes);
        memcpy(m->rows, from->rows, m->streams * sizeof *m->rows);
        memcpy(m->signatures, from->signatures, m->streams * m->neighbors.words * sizeof *m->signatures);
        return m;
    }
    llmzip_mixer_free(m);
    return NULL;
}

static int is_token(const struct context_mixer *m, int32_t token) { return token >= 0 && token < m->engine->spec.vocab; }

int llmzip_mixer_start(struct context_mixer *m, int streams, const int32_t *context, int count)
{
    struct context_mixer before = *m;
    if (streams < 1 || count < 0)
        return LLMZIP_BAD_ARGUMENT;
    for (int i = 0; i < count; i++)
        if (!is_token(m, context[i]))
            return LLMZIP_BAD_ARGUMENT;
    if (!allocate_rows(m, (size_t)streams))
        return LLMZIP_NO_MEMORY;
    free_rows(&before);
    for (size_t r = 0; r < m->streams; r++)
        for (int i = 0; i < HISTORY; i++)
            m->rows[r].history[i] = i < count ? context[count - 1 - i] : m->start_token;
    m->fed = 1 + count;
    m->active = m->columns = 0;
    return LLMZIP_OK;
}

/* Where a token stands among a row's candidates, each of which has one of these names. */
struct names {
    uint8_t place[NAMES]; /* + 1; 0: free */
};

static size_t add_candidate(struct row *row, struct names *names, int32_t token)
{
    size_t name = (uint32_t)token * 0x9E3779B1u >> 24;
    for (; names->place[name]; name = (name + 1) % NAMES)
        if (row->tokens[names->place[name] - 1] == token)
            return names->place[name] - 1u;
    size_t place = row->count++;
    names->place[name] = (uint8_t)row->count;
    row->tokens[place] = token;
    row->near[place] = row->nearer[place] = row->surprises[place] = 0;
    return place;
}

#define ROWS_TO_SHARE 16 /* fewer are done before another thread has woken, which on a busy machine takes long */

struct recall_step {
    struct context_mixer *mixer;
    const int8_t *vectors;
    const int32_t *top;
    int top_tokens;
    atomic_size_t next; /* row */
};

static void recall_row(struct recall_step *step, size_t r, struct search *search)
{
    struct context_mixer *m = step->mixer;
    struct row *row = &m->rows[r];
    uint64_t *signature = m->signatures + r * m->neighbors.words;
    const int32_t *top = step->top + r * (size_t)step->top_tokens;
    struct votes votes;
    matches_hash(&m->matches, row);
    neighbors_sign(&m->neighbors, step->vectors + r * m->neighbors.width, signature);
    row->top = top[0];
    neighbors_recall(&m->neighbors, m->engine->kernels, search, signature, row, &votes);
    matches_recall(&m->matches, row);

    struct names names = {0};
    row->count = 0;
    for (int i = 0; i < step->top_tokens; i++)
        if (top[i] >= 0)
            add_candidate(row, &names, top[i]);
    if (row->successor >= 0)
        add_candidate(row, &names, row->successor);
    for (size_t i = 0; i < votes.count; i++) {
        size_t place = add_candidate(row, &names, votes.tokens[i]);
        row->near[place] += votes.near[i];
        row->nearer[place] += votes.nearer[i];
        row->surprises[place] += votes.surprises[i];
    }
    biases_recall(&m->biases, row);
}

static void recall_rows(void *context, int rank)
{
    struct recall_step *step = context;
    struct context_mixer *m = step->mixer;
    struct search *search = (struct search *)(void *)(m->searches + (size_t)rank * m->search_bytes);
    search->histogram = (uint32_t *)(void *)(search + 1);
    for (size_t r; (r = atomic_fetch_add(&step->next, 1)) < m->active;)
        recall_row(step, r, search);
}

static void mix_row(const struct context_mixer *m, struct row *row, const int32_t *weights, int64_t total, int64_t *mixed)
{
    row->total = total > 0 ? total : 1; /* of a model within its bounds it is 2^23 at least */
    for (size_t i = 0; i < row->count; i++) {
        row->before[i] = weights[i];
        row->weights[i] = weights[i] > 1 ? weights[i] : 1;
        row->probabilities[i] = (float)row->weights[i] / (float)total;
    }
    matches_features(&m->matches, row);
    neighbors_features(&m->neighbors, row);
    biases_features(&m->biases, row);
    mixer_mix(&m->mixer, row);
    for (size_t i = 0; i < m->columns; i++)
        mixed[i] = i < row->count ? row->mixed[i] : 0;
}

int llmzip_mixer_recall(struct context_mixer *m, const int8_t *vectors, const int32_t *top, int rows, int top_tokens,
                         int32_t *tokens)
{
    int64_t start = engine_clock();
    if (rows < 0 || (size_t)rows > m->streams || top_tokens < 1 || top_tokens > LLMZIP_TOP)
        return LLMZIP_BAD_ARGUMENT;
    for (int i = 0; i < rows * top_tokens; i++)
        if (!is_token(m, top[i]) && (top[i] != -1 || i % top_tokens == 0))
            return LLMZIP_BAD_ARGUMENT;
    m->active = (size_t)rows;
    matches_usable(&m->matches, m->fed);
    struct recall_step step = {.mixer = m, .vectors = vectors, .top = top, .top_tokens = top_tokens};
    int status = LLMZIP_OK;
    if (rows < ROWS_TO_SHARE)
        recall_rows(&step, 0);
    else if (pool_run(m->engine->pool, recall_rows, &step))
        status = LLMZIP_NO_MEMORY;
    m->columns = 0;
    for (size_t r = 0; r < m->active; r++)
        m->columns = m->rows[r].count > m->columns ? m->rows[r].count : m->columns;
    for (size_t r = 0; r < m->active; r++)
        for (size_t i = 0; i < m->columns; i++)
            *tokens++ = i < m->rows[r].count ? m->rows[r].tokens[i] : -1;
    m->engine->profile[PART_RECALL] += engine_clock() - start;
    return status == LLMZIP_OK ? (int)m->columns : status;
}

void llmzip_mixer_mix(struct context_mixer *m, const int32_t *weights, const int64_t *totals, int64_t *mixed)
{
    int64_t start = engine_clock();
    for (size_t r = 0; r < m->active; r++)
        mix_row(m, &m->rows[r], weights + r * m->columns, totals[r], mixed + r * m->columns);
    m->engine->profile[PART_MIX] += engine_clock() - start;
}

static void remember(struct row *row, int32_t token)
{
    memmove(row->history + 1, row->history, (HISTORY - 1) * sizeof *row->history);
    row->history[0] = token;
}

int llmzip_mixer_learn(struct context_mixer *m, const int32_t *tokens, const int32_t *weights)
{
    int64_t start = engine_clock();
    for (size_t r = 0; r < m->active; r++) {
        struct row *row = &m->rows[r];
        if (!is_token(m, tokens[r]))
            return LLMZIP_BAD_ARGUMENT;
        float weight = (float)(weights[r] > 1 ? weights[r] : 1);
        m->outcomes[r] = (struct outcome){tokens[r], -1, weight / (float)row->total};
        for (size_t i = 0; i < row->count; i++)
            if (row->tokens[i] == tokens[r])
                m->outcomes[r].place = (int)i;
    }
    mixer_learn(&m->mixer, m->rows, m->outcomes, m->active);
    matches_learn(&m->matches, m->rows, m->outcomes, m->active);
    neighbors_learn(&m->neighbors, m->rows, m->outcomes, m->signatures, m->active);
    biases_learn(&m->biases, m->rows, m->outcomes, m->active);
    for (size_t r = 0; r < m->active; r++)
        remember(&m->rows[r], tokens[r]);
    m->fed++;
    m->engine->profile[PART_LEARN] += engine_clock() - start;
    return LLMZIP_OK;
}
