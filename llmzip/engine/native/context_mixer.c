/* The context mixer's steps: recall, mix, learn (docs/arithmetic.md, section 6).
 *
 * Each expert has a header and a file of its own, with its tables, its row of a stream's step, and
 * the steps of a row: recall (candidates), features (what speaks for each), learn. A further expert
 * is one more such pair, called here. Rows are independent until they are learned. */
#include <stdlib.h>
#include <string.h>

#include "buffers.h"
#include "engine.h"
#include "mixing_biases.h"
#include "mixing_calibration.h"
#include "mixing_matches.h"
#include "mixing_mixer.h"
#include "mixing_neighbors.h"

#define TABLE_SIZE 256 /* of a row's candidates; more than twice as many */
_Static_assert(2 * MAX_CANDIDATES <= TABLE_SIZE, "the table of candidates would be crowded");

struct history {
    int32_t tokens[HISTORY]; /* the latest first */
};

struct context_mixer {
    struct engine *engine;
    int capacity_bits, version;
    int32_t start_token;
    int64_t fed;
    size_t streams, active; /* active: the rows of this step */
    size_t columns;         /* the largest number of candidates of a row of the step */
    struct matches matches;
    struct neighbors neighbors;
    struct biases biases;
    struct calibration calibration;
    struct mixer mixer;
    uint8_t *classes; /* of tokens, [vocab] */
    char *tables;     /* of the experts, and the classes */
    size_t table_bytes;
    char *scratch; /* [threads] of scratch_bytes: a search and its histogram, or sums of rows */
    size_t scratch_bytes;
    size_t sum_count;        /* how many of the threads' sums learning takes */
    atomic_size_t sums_left; /* that are not complete yet */

    /* The rows: one of each kind for each stream. */
    char *rows;
    size_t row_bytes; /* of all of them */
    struct history *histories;
    struct candidates *candidates;
    struct observation *observations;
    struct match_row *match_rows;
    struct neighbor_row *neighbor_rows;
    struct bias_row *bias_rows;
    struct mixer_row *mixer_rows;
    uint64_t *signatures; /* [streams][words] */
};

static size_t take_tables(struct context_mixer *m, char *base)
{
    struct arena arena = {base, 0};
    size_t vocab = (size_t)m->engine->spec.vocab;
    matches_take(&m->matches, &arena, m->capacity_bits);
    neighbors_take(&m->neighbors, &arena, m->capacity_bits, vocab);
    biases_take(&m->biases, &arena, m->capacity_bits, vocab);
    m->classes = arena_take(&arena, vocab);
    return arena.used;
}

static size_t take_rows(struct context_mixer *m, char *base, size_t streams)
{
    struct arena arena = {base, 0};
    m->histories = arena_take(&arena, streams * sizeof *m->histories);
    m->candidates = arena_take(&arena, streams * sizeof *m->candidates);
    m->observations = arena_take(&arena, streams * sizeof *m->observations);
    m->match_rows = arena_take(&arena, streams * sizeof *m->match_rows);
    m->neighbor_rows = arena_take(&arena, streams * sizeof *m->neighbor_rows);
    m->bias_rows = arena_take(&arena, streams * sizeof *m->bias_rows);
    m->mixer_rows = arena_take(&arena, streams * sizeof *m->mixer_rows);
    m->signatures = arena_take(&arena, streams * m->neighbors.words * sizeof *m->signatures);
    return arena.used;
}

/* The experts' tables; 0 when there is no memory. */
static int allocate_tables(struct context_mixer *m)
{
    m->table_bytes = take_tables(m, NULL);
    m->tables = alloc_huge(m->table_bytes);
    if (!m->tables)
        return 0;
    take_tables(m, m->tables);
    return 1;
}

/* Scratch for the threads of an engine in the place of what was before; 0 when there is no memory,
 * and nothing has changed. */
static int allocate_scratch(struct context_mixer *m, struct engine *engine)
{
    size_t search = sizeof(struct search) + (64 * m->neighbors.words + 1) * sizeof(uint32_t);
    size_t bytes = round_up(larger(search, sizeof(struct mixer_sums)), 64) + 64;
    char *scratch = alloc_huge(bytes * (size_t)pool_threads(engine->pool));
    if (!scratch)
        return 0;
    free_huge(m->scratch);
    m->scratch = scratch;
    m->scratch_bytes = bytes;
    m->engine = engine;
    return 1;
}

/* Rows for so many streams in the place of those before; 0 when there is no memory, and nothing has
 * changed. */
static int allocate_rows(struct context_mixer *m, size_t streams)
{
    struct context_mixer counted = *m;
    size_t bytes = take_rows(&counted, NULL, streams);
    char *rows = alloc_huge(bytes);
    if (!rows)
        return 0;
    free_huge(m->rows);
    m->rows = rows;
    m->row_bytes = bytes;
    m->streams = streams;
    take_rows(m, rows, streams);
    return 1;
}

int llmzip_mixer_columns(void) { return MAX_CANDIDATES; }

struct context_mixer *llmzip_mixer_new(struct engine *engine, int capacity_bits, int version,
                                       int32_t start_token, const uint8_t *classes)
{
    struct context_mixer *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->engine = engine;
    m->capacity_bits = capacity_bits;
    m->version = version;
    m->start_token = start_token;
    neighbors_new(&m->neighbors, (size_t)engine->spec.d_model, version);
    biases_new(&m->biases, version);
    mixer_new(&m->mixer, version);
    if (allocate_tables(m) && llmzip_mixer_start(m, engine, 1, NULL, 0) == LLMZIP_OK) {
        /* Classes beyond what is known would lead out of the tables. */
        for (int32_t t = 0; t < engine->spec.vocab; t++)
            m->classes[t] = classes[t] < CLASSES ? classes[t] : 0;
        return m;
    }
    llmzip_mixer_free(m);
    return NULL;
}

void llmzip_mixer_free(struct context_mixer *m)
{
    if (!m)
        return;
    free_huge(m->rows);
    free_huge(m->scratch);
    free_huge(m->tables);
    free(m);
}

struct context_mixer *llmzip_mixer_copy(const struct context_mixer *from)
{
    struct context_mixer *m = malloc(sizeof *m);
    if (!m)
        return NULL;
    *m = *from;
    m->rows = m->scratch = NULL;
    if (allocate_tables(m) && allocate_scratch(m, from->engine) &&
        allocate_rows(m, from->streams)) {
        memcpy(m->tables, from->tables, m->table_bytes);
        memcpy(m->rows, from->rows, m->row_bytes);
        return m;
    }
    llmzip_mixer_free(m);
    return NULL;
}

static int is_token(const struct context_mixer *m, int32_t token)
{
    return token >= 0 && token < m->engine->spec.vocab;
}

int llmzip_mixer_start(struct context_mixer *m, struct engine *engine, int streams,
                       const int32_t *context, int count)
{
    if (streams < 1 || count < 0)
        return LLMZIP_BAD_ARGUMENT;
    for (int i = 0; i < count; i++)
        if (!is_token(m, context[i]))
            return LLMZIP_BAD_ARGUMENT;
    if (!allocate_scratch(m, engine) || !allocate_rows(m, (size_t)streams))
        return LLMZIP_NO_MEMORY;
    for (size_t r = 0; r < m->streams; r++)
        for (int i = 0; i < HISTORY; i++)
            m->histories[r].tokens[i] = i < count ? context[count - 1 - i] : m->start_token;
    m->fed = 1 + count;
    m->active = m->columns = 0;
    return LLMZIP_OK;
}

/* Finds a token's index among a row's candidates: a hash table with open addressing. */
struct candidate_table {
    uint8_t entries[TABLE_SIZE]; /* index + 1; 0: free */
};

/* The token's index, after it has been added where it was not there. */
static size_t add_candidate(struct candidates *candidates, struct candidate_table *table,
                            int32_t token)
{
    size_t i = (uint32_t)token * 0x9E3779B1u >> 24;
    for (; table->entries[i]; i = (i + 1) % TABLE_SIZE)
        if (candidates->tokens[table->entries[i] - 1] == token)
            return table->entries[i] - 1u;
    size_t index = candidates->count++;
    table->entries[i] = (uint8_t)candidates->count;
    candidates->tokens[index] = token;
    return index;
}

/* Fewer are done before another thread has woken, which on a busy machine takes long. */
#define MIN_SHARED_ROWS 16

/* Rows of several mixers as one sequence; see native.h. */
struct parts {
    struct context_mixer *const *mixers;
    const int32_t *firsts, *counts;
    size_t count; /* of mixers */
};

struct recall_step {
    struct parts parts;
    const int8_t *vectors;
    const int32_t *top; /* [rows][top_tokens] */
    int top_tokens;
    atomic_size_t next; /* row among those of all mixers */
};

struct mix_step {
    struct parts parts;
    const int32_t *weights; /* [rows][columns] */
    const int64_t *totals;
    size_t columns;
    int64_t *mixed; /* [rows][columns] */
    atomic_size_t next;
};

struct learn_step {
    struct parts parts;
    size_t sum_count;   /* the largest of a mixer */
    atomic_size_t next; /* mixer, or lesson */
};

/* Whether the parts lie in order in `rows` rows. */
static int parts_fit(const struct parts *parts, int rows)
{
    int64_t end = 0;
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->counts[i] < 0 || parts->firsts[i] < end)
            return 0;
        end = (int64_t)parts->firsts[i] + parts->counts[i];
    }
    return parts->count > 0 && end <= rows;
}

static size_t rows_of(const struct parts *parts)
{
    size_t rows = 0;
    for (size_t i = 0; i < parts->count; i++)
        rows += (size_t)parts->counts[i];
    return rows;
}

/* The mixer of row `next` among those of all, and the row in it and in the step; NULL behind the
 * last. */
static struct context_mixer *mixer_of(const struct parts *parts, size_t next, size_t *own,
                                      size_t *row)
{
    for (size_t i = 0; i < parts->count; next -= (size_t)parts->counts[i++])
        if (next < (size_t)parts->counts[i]) {
            *own = next;
            *row = (size_t)parts->firsts[i] + next;
            return parts->mixers[i];
        }
    return NULL;
}

/* Calls work(step, rank) on every thread, or on this one alone where there is little to share. */
static int share(const struct parts *parts, int is_much, void (*work)(void *, int), void *step)
{
    if (is_much)
        return pool_run(parts->mixers[0]->engine->pool, work, step) ? LLMZIP_NO_MEMORY : LLMZIP_OK;
    work(step, 0);
    return LLMZIP_OK;
}

/* The candidates of a row: the most likely tokens, the match model's successor, and what the
 * neighbors vote for. */
static void collect_candidates(struct context_mixer *m, size_t r, const int32_t *top,
                               int top_tokens, const struct votes *votes)
{
    struct candidates *candidates = &m->candidates[r];
    int32_t successor = m->match_rows[r].successor;
    struct candidate_table table = {0};
    size_t voted[NEIGHBORS];
    candidates->count = 0;
    for (int i = 0; i < top_tokens; i++)
        if (top[i] >= 0)
            add_candidate(candidates, &table, top[i]);
    candidates->tops = candidates->count;
    if (successor >= 0)
        add_candidate(candidates, &table, successor);
    for (size_t i = 0; i < votes->count; i++)
        voted[i] = add_candidate(candidates, &table, votes->tokens[i]);
    for (size_t i = 0; i < candidates->count; i++)
        candidates->classes[i] = m->classes[candidates->tokens[i]];
    neighbors_count_votes(&m->neighbor_rows[r], votes, voted, candidates->count);
}

static void recall_row(struct context_mixer *m, size_t r, const int8_t *vector, const int32_t *top,
                       int top_tokens, struct search *search)
{
    const int32_t *history = m->histories[r].tokens;
    uint64_t *signature = m->signatures + r * m->neighbors.words;
    struct votes votes;
    matches_hash(&m->matches, history, &m->match_rows[r]);
    neighbors_sign(&m->neighbors, vector, history, signature);
    m->neighbor_rows[r].last = history[0];
    m->neighbor_rows[r].top = top[0];
    neighbors_recall(&m->neighbors, m->engine->kernels, search, signature, &m->neighbor_rows[r],
                     &votes);
    m->mixer_rows[r].contexts[EXPERT_MATCHES] = matches_recall(&m->matches, &m->match_rows[r]);
    collect_candidates(m, r, top, top_tokens, &votes);
    biases_recall(&m->biases, history, m->neighbor_rows[r].top, &m->candidates[r],
                  &m->bias_rows[r]);
}

static void *scratch_of(const struct context_mixer *m, size_t rank)
{
    return m->scratch + rank * m->scratch_bytes;
}

static void recall_rows(void *context, int rank)
{
    struct recall_step *step = context;
    struct context_mixer *m;
    size_t own, row;
    while ((m = mixer_of(&step->parts, atomic_fetch_add(&step->next, 1), &own, &row))) {
        struct search *search = scratch_of(m, (size_t)rank);
        search->histogram = (uint32_t *)(void *)(search + 1);
        recall_row(m, own, step->vectors + row * m->neighbors.width,
                   step->top + row * (size_t)step->top_tokens, step->top_tokens, search);
    }
}

static void mix_row(const struct context_mixer *m, size_t r, const int32_t *weights, int64_t total,
                    size_t columns, int64_t *mixed)
{
    struct candidates *candidates = &m->candidates[r];
    struct mixer_row *row = &m->mixer_rows[r];
    const struct kernels *kernels = m->engine->kernels;
    /* Of a model within its bounds it is 2^23 at least. */
    candidates->total = total > 0 ? total : 1;
    for (size_t i = 0; i < candidates->count; i++) {
        row->model_weights[i] = weights[i];
        candidates->weights[i] = weights[i] > 1 ? weights[i] : 1;
        candidates->probabilities[i] = (float)candidates->weights[i] / (float)total;
        candidates->bits[i] = candidates->probabilities[i];
    }
    kernels->log2(candidates->bits, candidates->count);
    matches_features(&m->matches, &m->match_rows[r], candidates, row->features[FEATURE_MATCH]);
    row->contexts[EXPERT_NEIGHBORS] = neighbors_features(
        &m->neighbors, kernels, &m->neighbor_rows[r], candidates, &row->features[FEATURE_SHARE]);
    biases_features(&m->biases, kernels, &m->bias_rows[r], candidates,
                    &row->features[FEATURE_BIAS]);
    row->contexts[EXPERT_BIASES] = 0;
    if (m->version >= 2)
        calibration_features(&m->calibration, kernels, candidates, &row->features[FEATURE_ONE]);
    row->contexts[EXPERT_CALIBRATION] = m->classes[m->histories[r].tokens[0]];
    mixer_mix(&m->mixer, kernels, candidates, row);
    for (size_t i = 0; i < columns; i++)
        mixed[i] = i < candidates->count ? row->mixed[i] : 0;
}

static void mix_rows(void *context, int rank)
{
    struct mix_step *step = context;
    const struct context_mixer *m;
    size_t own, row;
    (void)rank;
    while ((m = mixer_of(&step->parts, atomic_fetch_add(&step->next, 1), &own, &row)))
        mix_row(m, own, step->weights + row * step->columns, step->totals[row], step->columns,
                step->mixed + row * step->columns);
}

int llmzip_mixers_recall(struct context_mixer *const *mixers, const int32_t *firsts,
                         const int32_t *counts, int parts, const int8_t *vectors,
                         const int32_t *top, int rows, int top_tokens, int32_t *tokens)
{
    int64_t start = engine_clock();
    struct recall_step step = {.parts = {mixers, firsts, counts, (size_t)parts},
                               .vectors = vectors,
                               .top = top,
                               .top_tokens = top_tokens};
    if (!parts_fit(&step.parts, rows) || top_tokens < 1 || top_tokens > LLMZIP_TOP_TOKENS)
        return LLMZIP_BAD_ARGUMENT;
    for (size_t i = 0; i < step.parts.count; i++) {
        if ((size_t)counts[i] > mixers[i]->streams)
            return LLMZIP_BAD_ARGUMENT;
        const int32_t *own = top + (ptrdiff_t)firsts[i] * top_tokens;
        for (int j = 0; j < counts[i] * top_tokens; j++)
            if (!is_token(mixers[i], own[j]) && (own[j] != -1 || j % top_tokens == 0))
                return LLMZIP_BAD_ARGUMENT;
    }
    for (size_t i = 0; i < step.parts.count; i++) {
        mixers[i]->active = (size_t)counts[i];
        matches_begin_step(&mixers[i]->matches, mixers[i]->fed);
    }
    int status = share(&step.parts, rows_of(&step.parts) >= MIN_SHARED_ROWS, recall_rows, &step);
    size_t columns = 0, own, row;
    for (size_t i = 0; i < step.parts.count; i++)
        for (size_t r = 0; r < mixers[i]->active; r++)
            columns = larger(columns, mixers[i]->candidates[r].count);
    for (size_t i = 0; i < step.parts.count; i++)
        mixers[i]->columns = columns;
    memset(tokens, -1, (size_t)rows * columns * sizeof *tokens);
    const struct context_mixer *m;
    for (size_t r = 0; (m = mixer_of(&step.parts, r, &own, &row)); r++)
        memcpy(tokens + row * columns, m->candidates[own].tokens,
               m->candidates[own].count * sizeof *tokens);
    mixers[0]->engine->profile[PHASE_RECALL] += engine_clock() - start;
    return status == LLMZIP_OK ? (int)columns : status;
}

int llmzip_mixers_mix(struct context_mixer *const *mixers, const int32_t *firsts,
                      const int32_t *counts, int parts, const int32_t *weights,
                      const int64_t *totals, int rows, int columns, int64_t *mixed)
{
    int64_t start = engine_clock();
    struct mix_step step = {.parts = {mixers, firsts, counts, (size_t)parts},
                            .weights = weights,
                            .totals = totals,
                            .columns = (size_t)columns,
                            .mixed = mixed};
    if (!parts_fit(&step.parts, rows))
        return LLMZIP_BAD_ARGUMENT;
    for (size_t i = 0; i < step.parts.count; i++)
        if ((size_t)counts[i] != mixers[i]->active || (size_t)columns != mixers[i]->columns)
            return LLMZIP_BAD_ARGUMENT;
    memset(mixed, 0, (size_t)rows * (size_t)columns * sizeof *mixed);
    int status = share(&step.parts, rows_of(&step.parts) >= MIN_SHARED_ROWS, mix_rows, &step);
    mixers[0]->engine->profile[PHASE_MIX] += engine_clock() - start;
    return status;
}

int llmzip_mixer_experts(void) { return EXPERT_COUNT; }

void llmzip_mixer_evidence(const struct context_mixer *m, float *evidence)
{
    memset(evidence, 0, m->active * m->columns * EXPERT_COUNT * sizeof *evidence);
    for (size_t r = 0; r < m->active; r++)
        mixer_evidence(&m->mixer, &m->candidates[r], &m->mixer_rows[r],
                       evidence + r * m->columns * EXPERT_COUNT);
}

static void append(struct history *history, int32_t token)
{
    memmove(history->tokens + 1, history->tokens, (HISTORY - 1) * sizeof *history->tokens);
    history->tokens[0] = token;
}

/* The tokens of a step have been read. */
static void note(struct context_mixer *m, const int32_t *tokens)
{
    for (size_t r = 0; r < m->active; r++)
        append(&m->histories[r], tokens[r]);
    m->fed++;
}

static void observe(struct context_mixer *m, const int32_t *tokens, const int32_t *weights)
{
    for (size_t r = 0; r < m->active; r++) {
        const struct candidates *candidates = &m->candidates[r];
        float weight = (float)(weights[r] > 1 ? weights[r] : 1);
        m->observations[r] = (struct observation){tokens[r], -1, weight / (float)candidates->total};
        for (size_t i = 0; i < candidates->count; i++)
            if (candidates->tokens[i] == tokens[r])
                m->observations[r].index = (int)i;
    }
}

static void sum_rows(const struct context_mixer *m, size_t first, size_t end,
                     struct mixer_sums *sums)
{
    mixer_begin_sums(sums);
    mixer_sum(&m->mixer, m->engine->kernels, m->mixer_rows + first, m->candidates + first,
              m->observations + first, end - first, sums);
}

/* Sums a part of the rows. Whoever completes the last sum adds all, and the mixer learns. */
static void learn_weights(struct context_mixer *m, size_t part)
{
    size_t parts = m->sum_count;
    sum_rows(m, m->active * part / parts, m->active * (part + 1) / parts, scratch_of(m, part));
    if (atomic_fetch_sub(&m->sums_left, 1) > 1)
        return;
    for (size_t i = 1; i < parts; i++)
        mixer_add_sums(&m->mixer, scratch_of(m, 0), scratch_of(m, i));
    mixer_learn(&m->mixer, m->engine->kernels, scratch_of(m, 0));
}

/* The experts learn different tables from the same observations, so in any order or at once. */
enum lesson { LESSON_BIASES, LESSON_NEIGHBORS, LESSON_MATCHES, LESSON_COUNT };

static void learn(struct context_mixer *m, enum lesson lesson)
{
    switch (lesson) {
    case LESSON_BIASES:
        biases_learn(&m->biases, m->bias_rows, m->candidates, m->observations, m->active);
        break;
    case LESSON_NEIGHBORS:
        neighbors_learn(&m->neighbors, m->neighbor_rows, m->candidates, m->observations,
                        m->signatures, m->active);
        break;
    default:
        matches_learn(&m->matches, m->match_rows, m->observations, m->active);
        if (m->version >= 2)
            calibration_learn(&m->calibration, m->candidates, m->observations, m->active);
    }
}

/* Mixers as a whole, with sums that stay in the cache from one to the next. */
static void learn_mixers(void *context, int rank)
{
    struct learn_step *step = context;
    struct mixer_sums *sums = scratch_of(step->parts.mixers[0], (size_t)rank);
    for (size_t i; (i = atomic_fetch_add(&step->next, 1)) < step->parts.count;) {
        struct context_mixer *m = step->parts.mixers[i];
        sum_rows(m, 0, m->active, sums);
        mixer_learn(&m->mixer, m->engine->kernels, sums);
        for (enum lesson lesson = 0; lesson < LESSON_COUNT; lesson++)
            learn(m, lesson);
    }
}

/* Lessons of all mixers; first the sums, of which some thread must wait for the last. */
static void learn_lessons(void *context, int rank)
{
    struct learn_step *step = context;
    size_t mixers = step->parts.count, sums = mixers * step->sum_count;
    (void)rank;
    for (size_t i; (i = atomic_fetch_add(&step->next, 1)) < sums + mixers * LESSON_COUNT;)
        if (i < sums) {
            struct context_mixer *m = step->parts.mixers[i / step->sum_count];
            if (i % step->sum_count < m->sum_count)
                learn_weights(m, i % step->sum_count);
        } else {
            learn(step->parts.mixers[(i - sums) % mixers], (enum lesson)((i - sums) / mixers));
        }
}

int llmzip_mixers_learn(struct context_mixer *const *mixers, const int32_t *firsts,
                        const int32_t *counts, int parts, const int32_t *tokens,
                        const int32_t *weights, int rows)
{
    int64_t start = engine_clock();
    struct learn_step step = {.parts = {mixers, firsts, counts, (size_t)parts}};
    if (!parts_fit(&step.parts, rows))
        return LLMZIP_BAD_ARGUMENT;
    for (size_t i = 0; i < step.parts.count; i++) {
        if ((size_t)counts[i] != mixers[i]->active)
            return LLMZIP_BAD_ARGUMENT;
        for (int32_t r = 0; r < counts[i]; r++)
            if (!is_token(mixers[i], tokens[firsts[i] + r]))
                return LLMZIP_BAD_ARGUMENT;
    }
    size_t threads = (size_t)pool_threads(mixers[0]->engine->pool);
    for (size_t i = 0; i < step.parts.count; i++) {
        struct context_mixer *m = mixers[i];
        size_t most = larger(m->active / MIN_SHARED_ROWS, 1);
        m->sum_count = most < threads ? most : threads;
        atomic_store(&m->sums_left, m->sum_count);
        step.sum_count = larger(step.sum_count, m->sum_count);
        observe(m, tokens + firsts[i], weights + firsts[i]);
    }
    /* Whole mixers where they are small: their rows stay in the cache of one thread. */
    int is_much = (parts > 1 || step.sum_count > 1) && rows_of(&step.parts) >= MIN_SHARED_ROWS;
    int status =
        share(&step.parts, is_much, step.sum_count > 1 ? learn_lessons : learn_mixers, &step);
    for (size_t i = 0; status == LLMZIP_OK && i < step.parts.count; i++)
        note(mixers[i], tokens + firsts[i]);
    mixers[0]->engine->profile[PHASE_LEARN] += engine_clock() - start;
    return status;
}

int llmzip_mixer_follow(struct context_mixer *m, const int32_t *tokens)
{
    for (size_t r = 0; r < m->active; r++)
        if (!is_token(m, tokens[r]))
            return LLMZIP_BAD_ARGUMENT;
    note(m, tokens);
    return LLMZIP_OK;
}

int llmzip_mixer_draft(struct context_mixer *m, int rows, int most, int32_t *tokens, float *chances)
{
    if (rows < 0 || (size_t)rows > m->streams || most < 0)
        return LLMZIP_BAD_ARGUMENT;
    for (int r = 0; r < rows; r++) {
        struct history history = m->histories[r];
        int known = 1;
        for (int i = 0; i < most; i++) {
            struct match_row row = {.successor = -1};
            if (known) {
                matches_begin_step(&m->matches, m->fed + i);
                matches_hash(&m->matches, history.tokens, &row);
                known = matches_recall(&m->matches, &row) > 0;
            }
            *tokens++ = row.successor;
            *chances++ = known ? matches_chance(&m->matches, &row) : 0;
            if (known)
                append(&history, row.successor);
        }
    }
    matches_begin_step(&m->matches, m->fed); /* as it was */
    return LLMZIP_OK;
}

int llmzip_mixer_select(struct context_mixer *m, const int32_t *from, int streams)
{
    for (int i = 0; i < streams; i++)
        if (from[i] < (i ? from[i - 1] + 1 : 0) || (size_t)from[i] >= m->streams)
            return LLMZIP_BAD_ARGUMENT;
    for (int i = 0; i < streams; i++)
        m->histories[i] = m->histories[from[i]];
    m->active = m->columns = 0;
    return LLMZIP_OK;
}
