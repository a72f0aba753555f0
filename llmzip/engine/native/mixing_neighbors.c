/* Section 6.3: positions whose head input was like this one's, and the tokens that followed them. */
#include <string.h>

#include "context_mixer.h"
#include "mixing_math.h"

void neighbors_new(struct neighbors *neighbors, size_t width)
{
    neighbors->width = width;
    neighbors->words = (width + 63) / 64;
    for (int d = 0; d < DISTANCE_BINS; d++)
        for (int s = 0; s < SHARE_BINS; s++) {
            neighbors->trust[d][s][0] = TRUST;
            neighbors->trust[d][s][1] = DISTRUST;
        }
}

void neighbors_place(struct neighbors *n, struct arena *arena, int capacity_bits, size_t vocab)
{
    size_t capacity = (size_t)1 << capacity_bits;
    n->mask = capacity - 1;
    n->signatures = arena_take(arena, capacity * n->words * sizeof *n->signatures);
    n->positions = arena_take(arena, capacity * sizeof *n->positions);
    lists_place(&n->by_last, arena, capacity_bits, vocab, 0);
    lists_place(&n->by_top, arena, capacity_bits, vocab, 1);
}

void neighbors_sign(const struct neighbors *n, const int8_t *vector, uint64_t *signature)
{
    for (size_t w = 0; w < n->words; w++) {
        size_t bits = n->width - 64 * w < 64 ? n->width - 64 * w : 64;
        uint64_t word = 0;
        for (size_t i = 0; i < bits; i++)
            word |= (uint64_t)(vector[64 * w + i] > 0) << i;
        signature[w] = word;
    }
}

/* Words of a signature from `first` on that lie together. */
static size_t slice_words(const struct neighbors *n, size_t first)
{
    return n->words - first < SLICE_WORDS ? n->words - first : SLICE_WORDS;
}

/* The slice of all signatures that starts with the word `first`. */
static uint64_t *slice(const struct neighbors *n, size_t first) { return n->signatures + first * (n->mask + 1); }

/* Moves the nearest of `first` and then `second` places, both newest first, to the front; returns how many. */
static size_t select_nearest(const struct neighbors *n, struct search *search, size_t first, size_t second)
{
    size_t count = first + second, wanted = count < NEIGHBORS ? count : NEIGHBORS, below = 0, kept = 0;
    uint32_t limit = 0;
    memset(search->histogram, 0, (n->width + 1) * sizeof *search->histogram);
    for (size_t i = 0; i < count; i++)
        search->histogram[search->distances[i]]++;
    while (wanted && below + search->histogram[limit] < wanted)
        below += search->histogram[limit++];

    /* Of the equally distant ones at the limit, the newest of both lists. */
    size_t newest = (size_t)(n->count - 1), a = 0, b = first;
    uint32_t ties[NEIGHBORS];
    for (size_t t = 0; t < wanted - below; t++) {
        while (a < first && search->distances[a] != limit)
            a++;
        while (b < count && search->distances[b] != limit)
            b++;
        int is_first = b == count || (a < first && ((newest - search->places[a]) & n->mask) <
                                                       ((newest - search->places[b]) & n->mask));
        ties[t] = search->places[is_first ? a++ : b++];
    }
    for (size_t i = 0; kept < below; i++)
        if (search->distances[i] < limit) {
            search->places[kept] = search->places[i];
            search->distances[kept++] = search->distances[i];
        }
    for (size_t t = 0; kept < wanted; t++) {
        search->places[kept] = ties[t];
        search->distances[kept++] = limit;
    }
    return wanted;
}

static float bend(const struct neighbors *n) { return (float)KERNEL / (float)(n->width * n->width); }

void neighbors_recall(const struct neighbors *n, const struct kernels *kernels, struct search *search,
                       const uint64_t *signature, struct row *row, struct votes *votes)
{
    const int32_t *lasts = n->by_last.tokens;
    size_t first = lists_collect(&n->by_last, lasts, n->count, row->history[0], -1, search->places);
    size_t second =
        lists_collect(&n->by_top, lasts, n->count, row->top, row->history[0], search->places + first);
    memset(search->distances, 0, (first + second) * sizeof *search->distances);
    for (size_t w = 0; w < n->words; w += SLICE_WORDS)
        kernels->distances(slice(n, w), slice_words(n, w), signature + w, search->places, first + second,
                           search->distances);
    votes->count = row->found = select_nearest(n, search, first, second);
    row->nearest = 0;
    for (size_t i = 0; i < votes->count; i++)
        if (i == 0 || search->distances[i] < row->nearest)
            row->nearest = search->distances[i];
    row->near_total = row->nearer_total = 0;
    for (size_t i = 0; i < votes->count; i++) {
        struct position position = n->positions[search->places[i]];
        int64_t distance = search->distances[i];
        float y = exp2_of(larger_of(bend(n) * (float)(row->nearest * row->nearest - distance * distance), -15.0f));
        votes->tokens[i] = position.token;
        votes->near[i] = (int32_t)llrintf(y * (float)(1 << VOTE_BITS));
        votes->nearer[i] = (int32_t)llrintf(y * y * (float)(1 << VOTE_BITS));
        votes->surprises[i] = votes->near[i] * position.surprise;
        row->near_total += votes->near[i];
        row->nearer_total += votes->nearer[i];
    }
}

void neighbors_features(const struct neighbors *n, struct row *row)
{
    row->situations[EXPERT_NEIGHBORS] = 0;
    if (!row->found) {
        memset(row->features[FEATURE_SHARE], 0, sizeof row->features[0]);
        memset(row->features[FEATURE_SURPRISE], 0, sizeof row->features[0]);
        return;
    }
    int64_t best = 0;
    for (size_t i = 0; i < row->count; i++)
        best = row->near[i] > best ? row->near[i] : best;
    int64_t distance = DISTANCE_BIN_SCALE * row->nearest / (int64_t)n->width;
    int64_t agreement = AGREEMENTS * best / row->near_total, share = SHARE_BINS * best / row->near_total;
    row->situations[EXPERT_NEIGHBORS] = 1 + (int)(agreement < AGREEMENTS ? agreement : AGREEMENTS - 1);
    row->distance_bin = (int)(distance < DISTANCE_BINS ? distance : DISTANCE_BINS - 1);
    row->share_bin = (int)(share < SHARE_BINS ? share : SHARE_BINS - 1);
    const int64_t *trust = n->trust[row->distance_bin][row->share_bin];
    row->odds = (float)trust[0] / (float)trust[1];

    float closeness = exp2_of(larger_of(bend(n) * -(float)(row->nearest * row->nearest), -30.0f));
    for (size_t i = 0; i < row->count; i++) {
        float near = (float)row->near[i] / (float)row->near_total;
        float nearer = (float)row->nearer[i] / (float)row->nearer_total;
        float evidence = (float)row->surprises[i] * (1.0f / (1 << (VOTE_BITS + SURPRISE_BITS))) * closeness;
        row->share[i] = (near + nearer) * 0.5f;
        row->features[FEATURE_SHARE][i] = log2_of(1.0f + row->odds * row->share[i] / row->probabilities[i]);
        row->features[FEATURE_SURPRISE][i] = log2_of(1.0f + 16.0f * evidence);
    }
}

/* Whether the votes were better than the model. */
static void learn_trust(struct neighbors *n, const struct row *rows, const struct outcome *outcomes, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        const struct row *row = &rows[r];
        if (!row->found)
            continue;
        float voted = row->odds * (outcomes[r].place >= 0 ? row->share[outcomes[r].place] : 0.0f);
        int64_t credit = llrintf(voted / (outcomes[r].probability + voted) * (float)(1 << TRUST_BITS));
        int64_t *trust = n->trust[row->distance_bin][row->share_bin];
        trust[0] += credit;
        trust[1] += (1 << TRUST_BITS) - credit;
    }
    for (int d = 0; d < DISTANCE_BINS; d++)
        for (int s = 0; s < SHARE_BINS; s++) {
            int64_t *trust = n->trust[d][s];
            if (trust[0] + trust[1] > TRUST_LIMIT)
                for (int i = 0; i < 2; i++)
                    trust[i] = trust[i] >> 1 > TRUST_FLOOR ? trust[i] >> 1 : TRUST_FLOOR;
        }
}

void neighbors_learn(struct neighbors *n, const struct row *rows, const struct outcome *outcomes,
                      const uint64_t *signatures, size_t count)
{
    learn_trust(n, rows, outcomes, count);
    for (size_t r = 0; r < count; r++, n->count++) {
        size_t place = (size_t)n->count & n->mask;
        float surprise = (1.0f - outcomes[r].probability) * (float)(1 << SURPRISE_BITS);
        for (size_t w = 0; w < n->words; w++)
            slice(n, w - w % SLICE_WORDS)[place * slice_words(n, w - w % SLICE_WORDS) + w % SLICE_WORDS] =
                signatures[r * n->words + w];
        n->by_last.tokens[place] = rows[r].history[0];
        n->by_top.tokens[place] = rows[r].top;
        n->positions[place] = (struct position){outcomes[r].token, (int32_t)llrintf(surprise)};
    }
    lists_learn(&n->by_last, n->by_last.tokens, n->count);
    lists_learn(&n->by_top, n->by_last.tokens, n->count);
}
