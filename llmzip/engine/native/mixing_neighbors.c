/* See mixing_neighbors.h. */
#include "mixing_neighbors.h"

#include <string.h>

_Static_assert(CONTEXTS *CONTEXT_BITS == 64, "the contexts fill a word of a signature");

void neighbors_new(struct neighbors *neighbors, size_t width, int version)
{
    neighbors->width = width;
    neighbors->sign_words = (width + 63) / 64;
    neighbors->words = neighbors->sign_words + (version >= 2);
    neighbors->kernel = version >= 2 ? KERNEL : FIRST_KERNEL;
    for (int d = 0; d < DISTANCE_BINS; d++)
        for (int s = 0; s < SHARE_BINS; s++) {
            neighbors->trust[d][s][0] = TRUST;
            neighbors->trust[d][s][1] = DISTRUST;
        }
}

void neighbors_take(struct neighbors *n, struct arena *arena, int capacity_bits, size_t vocab)
{
    size_t capacity = (size_t)1 << capacity_bits;
    n->mask = capacity - 1;
    n->signatures = arena_take(arena, capacity * n->words * sizeof *n->signatures);
    n->positions = arena_take(arena, capacity * sizeof *n->positions);
    postings_take(&n->by_last, arena, capacity_bits, vocab, 0);
    postings_take(&n->by_top, arena, capacity_bits, vocab, 1);
}

/* The first bits of the hash of each context: of the last token but one, of the two from there on,
 * ... */
static uint64_t sign_contexts(const int32_t *history)
{
    uint64_t key = 0, word = 0;
    for (int i = 1; i <= CONTEXTS; i++) {
        key = (key ^ ((uint64_t)history[i] + 1)) * HASH_FACTOR;
        key ^= key >> HASH_SHIFT;
        word = word << CONTEXT_BITS | key >> (64 - CONTEXT_BITS);
    }
    return word;
}

/* Bit i of the result: whether the byte i of 8 is positive. */
static uint64_t positive_bytes(const int8_t *bytes)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t x = 0;
    for (int i = 0; i < 8; i++) /* one load */
        x |= (uint64_t)(uint8_t)bytes[i] << 8 * i;
    uint64_t positive = ((x & 0x7f * ones) + 0x7f * ones) & ~x & 0x80 * ones;
    return (positive >> 7) * 0x0102040810204080 >> 56; /* no two bits meet */
}

void neighbors_sign(const struct neighbors *n, const int8_t *vector, const int32_t *history,
                    uint64_t *signature)
{
    for (size_t w = 0; w < n->sign_words; w++) {
        size_t bits = n->width - 64 * w < 64 ? n->width - 64 * w : 64;
        uint64_t word = 0;
        size_t i = 0;
        for (; i + 8 <= bits; i += 8)
            word |= positive_bytes(vector + 64 * w + i) << i;
        for (; i < bits; i++)
            word |= (uint64_t)(vector[64 * w + i] > 0) << i;
        signature[w] = word;
    }
    if (n->words > n->sign_words)
        signature[n->sign_words] = sign_contexts(history);
}

/* Words of a signature from `first` on that lie together. */
static size_t slice_words(const struct neighbors *n, size_t first)
{
    return n->words - first < SLICE_WORDS ? n->words - first : SLICE_WORDS;
}

/* The slice of all signatures that starts with the word `first`. */
static uint64_t *slice(const struct neighbors *n, size_t first)
{
    return n->signatures + first * (n->mask + 1);
}

/* The `limit` up to which there are `wanted` of `count` distances, but not below it; `below`: how
 * many there are below it. The distances are those of `indices`. */
static int32_t find_limit(const struct neighbors *n, const struct search *search,
                          const uint32_t *indices, size_t count, size_t wanted, size_t *below)
{
    uint32_t *histogram = search->histogram;
    int32_t limit = 0;
    memset(histogram, 0, (64 * n->words + 1) * sizeof *histogram);
    for (size_t i = 0; i < count; i++)
        histogram[search->distances[indices[i]]]++;
    for (*below = 0; wanted && *below + histogram[limit] < wanted; limit++)
        *below += histogram[limit];
    return limit;
}

/* One of so many distances tells roughly where the nearest end. */
#define SAMPLED 16
#define MIN_SAMPLED (SAMPLED * NEIGHBORS)
#define SAMPLES_WANTED (4 * NEIGHBORS / SAMPLED)

/* A distance that most likely some more than NEIGHBORS do not exceed. */
static int32_t guess_limit(const struct neighbors *n, struct search *search, size_t count)
{
    if (count < MIN_SAMPLED)
        return INT32_MAX;
    size_t samples = 0, below;
    for (size_t i = 0; i < count; i += SAMPLED)
        search->indices[samples++] = (uint32_t)i;
    return find_limit(n, search, search->indices, samples, SAMPLES_WANTED, &below);
}

/* Finds the nearest of `first` and then `second` slots, both newest first; returns how many. */
static size_t select_nearest(const struct neighbors *n, const struct kernels *kernels,
                             struct search *search, size_t first, size_t second)
{
    size_t count = first + second, wanted = count < NEIGHBORS ? count : NEIGHBORS, found, end;
    const int32_t *distances = search->distances;
    uint32_t *indices = search->indices;
    int32_t limit = guess_limit(n, search, count);
    for (;; limit = INT32_MAX) {
        found = kernels->at_most(distances, 0, first, limit, indices);
        end = found + kernels->at_most(distances, first, count, limit, indices + found);
        if (end >= wanted)
            break;
    }
    size_t below, kept = 0, newest = (size_t)(n->count - 1), a = 0, b = found;
    limit = find_limit(n, search, indices, end, wanted, &below);
    for (size_t i = 0; kept < below; i++) {
        search->near_slots[kept] = search->slots[indices[i]];
        search->near_distances[kept] = distances[indices[i]];
        kept += distances[indices[i]] < limit;
    }
    /* Of the equally distant ones at the limit, the newest of both lists. */
    while (kept < wanted) {
        while (a < found && distances[indices[a]] != limit)
            a++;
        while (b < end && distances[indices[b]] != limit)
            b++;
        int is_first =
            b == end || (a < found && ((newest - search->slots[indices[a]]) & n->mask) <
                                          ((newest - search->slots[indices[b]]) & n->mask));
        search->near_slots[kept] = search->slots[indices[is_first ? a++ : b++]];
        search->near_distances[kept++] = limit;
    }
    return wanted;
}

static float kernel_scale(const struct neighbors *n)
{
    return (float)n->kernel / (float)(n->width * n->width);
}

void neighbors_recall(const struct neighbors *n, const struct kernels *kernels,
                      struct search *search, const uint64_t *signature, struct neighbor_row *row,
                      struct votes *votes)
{
    const int32_t *lasts = n->by_last.tokens;
    size_t first = postings_collect(&n->by_last, lasts, n->count, row->last, -1, search->slots);
    size_t second =
        postings_collect(&n->by_top, lasts, n->count, row->top, row->last, search->slots + first);
    memset(search->distances, 0, (first + second) * sizeof *search->distances);
    for (size_t w = 0; w < n->words; w += SLICE_WORDS)
        kernels->distances(slice(n, w), slice_words(n, w), signature + w, search->slots,
                           first + second, search->distances);
    votes->count = row->found = select_nearest(n, kernels, search, first, second);
    row->nearest = 0;
    for (size_t i = 0; i < votes->count; i++)
        if (i == 0 || search->near_distances[i] < row->nearest)
            row->nearest = search->near_distances[i];
    float bits[NEIGHBORS] = {0}, scale = kernel_scale(n);
    for (size_t i = 0; i < votes->count; i++) {
        int64_t distance = search->near_distances[i];
        bits[i] = scale * (float)(row->nearest * row->nearest - distance * distance);
    }
    kernels->exp2_within(bits, votes->count, MIN_KERNEL_LOG2, 0.0f);
    row->near_total = row->nearer_total = 0;
    for (size_t i = 0; i < votes->count; i++) {
        struct position position = n->positions[search->near_slots[i]];
        float y = bits[i];
        votes->tokens[i] = position.token;
        votes->near[i] = (int32_t)llrintf(y * (float)(1 << VOTE_BITS));
        votes->nearer[i] = (int32_t)llrintf(y * y * (float)(1 << VOTE_BITS));
        votes->surprises[i] = votes->near[i] * position.surprise;
        row->near_total += votes->near[i];
        row->nearer_total += votes->nearer[i];
    }
}

void neighbors_count_votes(struct neighbor_row *row, const struct votes *votes, const size_t *voted,
                           size_t count)
{
    memset(row->near, 0, count * sizeof *row->near);
    memset(row->nearer, 0, count * sizeof *row->nearer);
    memset(row->surprises, 0, count * sizeof *row->surprises);
    for (size_t i = 0; i < votes->count; i++) {
        row->near[voted[i]] += votes->near[i];
        row->nearer[voted[i]] += votes->nearer[i];
        row->surprises[voted[i]] += votes->surprises[i];
    }
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* By how many votes it has and how likely it is: how often such a candidate came. */
static void voted_features(const struct neighbors *n, const struct kernels *kernels,
                           struct neighbor_row *row, const struct candidates *candidates,
                           float *features)
{
    if (n->words == n->sign_words)
        return;
    for (size_t i = 0; i < candidates->count; i++) {
        int doubt = (int)smaller_of(-candidates->bits[i], DOUBT_BINS - 1);
        row->doubt_bins[i] = (uint8_t)(doubt > 0 ? doubt : 0);
        features[i] = ratio_of(n->voted[row->voted_bins[i]][row->doubt_bins[i]]);
    }
    kernels->log2(features, candidates->count);
}

static void learn_voted(struct neighbors *n, const struct neighbor_row *row,
                        const struct candidates *candidates, const struct observation *observation)
{
    for (size_t i = 0; n->words > n->sign_words && i < candidates->count; i++)
        count(&n->voted[row->voted_bins[i]][row->doubt_bins[i]], observation->index == (int)i,
              expectation(candidates, i));
}

int neighbors_features(const struct neighbors *n, const struct kernels *kernels,
                       struct neighbor_row *row, const struct candidates *candidates,
                       float (*features)[CANDIDATES_ROOM])
{
    float *shares = features[0], *surprises = features[1];
    memset(row->voted_bins, 0, candidates->count);
    if (!row->found) {
        memset(shares, 0, candidates->count * sizeof *shares);
        memset(surprises, 0, candidates->count * sizeof *surprises);
        voted_features(n, kernels, row, candidates, features[2]);
        return 0;
    }
    int64_t best = 0;
    for (size_t i = 0; i < candidates->count; i++)
        best = row->near[i] > best ? row->near[i] : best;
    row->distance_bin =
        (int)smaller(DISTANCE_BIN_SCALE * row->nearest / (int64_t)n->width, DISTANCE_BINS - 1);
    row->share_bin = (int)smaller(SHARE_BINS * best / row->near_total, SHARE_BINS - 1);
    const int64_t *trust = n->trust[row->distance_bin][row->share_bin];
    row->odds = (float)trust[0] / (float)trust[1];

    float bits = kernel_scale(n) * -(float)(row->nearest * row->nearest);
    float closeness = exp2_of(larger_of(bits, MIN_CLOSENESS_LOG2));
    for (size_t i = 0; i < candidates->count; i++) {
        float near = (float)row->near[i] / (float)row->near_total;
        float nearer = (float)row->nearer[i] / (float)row->nearer_total;
        float evidence =
            (float)row->surprises[i] * (1.0f / (1 << (VOTE_BITS + SURPRISE_BITS))) * closeness;
        row->share[i] = (near + nearer) * 0.5f;
        shares[i] = 1.0f + row->odds * row->share[i] / candidates->probabilities[i];
        surprises[i] = 1.0f + SURPRISE_FACTOR * evidence;
        int voted = (int)(row->share[i] * (float)VOTED_SCALE);
        row->voted_bins[i] =
            (uint8_t)(row->share[i] > 0.0f ? 2 + (voted < VOTED_SCALE ? voted : VOTED_SCALE - 1)
                                           : 1);
    }
    kernels->log2(shares, candidates->count);
    kernels->log2(surprises, candidates->count);
    voted_features(n, kernels, row, candidates, features[2]);
    return 1 + (int)smaller(AGREEMENT_BINS * best / row->near_total, AGREEMENT_BINS - 1);
}

/* Whether the votes were better than the model. */
static void learn_trust(struct neighbors *n, const struct neighbor_row *rows,
                        const struct observation *observations, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        const struct neighbor_row *row = &rows[r];
        if (!row->found)
            continue;
        float voted =
            row->odds * (observations[r].index >= 0 ? row->share[observations[r].index] : 0.0f);
        int64_t credit =
            llrintf(voted / (observations[r].probability + voted) * (float)(1 << TRUST_BITS));
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

void neighbors_learn(struct neighbors *n, const struct neighbor_row *rows,
                     const struct candidates *candidates, const struct observation *observations,
                     const uint64_t *signatures, size_t rows_count)
{
    learn_trust(n, rows, observations, rows_count);
    for (size_t r = 0; r < rows_count; r++, n->count++) {
        learn_voted(n, &rows[r], &candidates[r], &observations[r]);
        size_t slot = (size_t)n->count & n->mask;
        float surprise = (1.0f - observations[r].probability) * (float)(1 << SURPRISE_BITS);
        for (size_t w = 0; w < n->words; w++)
            slice(
                n,
                w - w % SLICE_WORDS)[slot * slice_words(n, w - w % SLICE_WORDS) + w % SLICE_WORDS] =
                signatures[r * n->words + w];
        postings_add(&n->by_last, n->count, rows[r].last);
        postings_add(&n->by_top, n->count, rows[r].top);
        n->positions[slot] = (struct position){observations[r].token, (int32_t)llrintf(surprise)};
    }
    postings_update(&n->by_last, n->by_last.tokens, n->count);
    postings_update(&n->by_top, n->by_last.tokens, n->count);
}
