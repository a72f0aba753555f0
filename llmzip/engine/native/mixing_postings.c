/* See mixing_postings.h.
 *
 * A linked list would cost a cache miss per position. Instead the positions are sorted from time to
 * time, so that those of a token lie together; only the few since then, which are in the cache, are
 * linked. */
#include "mixing_postings.h"

#define MIN_TAIL 1024
#define TAIL_FRACTION 64  /* sort when the unsorted are more than one in so many */
#define CHAINS_FRACTION 4 /* a chain for so many of all positions: more than the tail has */

void postings_take(struct postings *postings, struct arena *arena, int capacity_bits, size_t vocab,
                   int has_others)
{
    size_t bytes = sizeof(int32_t) << capacity_bits;
    postings->vocab = vocab;
    postings->mask = ((size_t)1 << capacity_bits) - 1;
    postings->tokens = arena_take(arena, bytes);
    postings->sorted = arena_take(arena, bytes);
    postings->others = has_others ? arena_take(arena, bytes) : NULL;
    postings->starts = arena_take(arena, (vocab + 2) * sizeof *postings->starts);
    size_t chains = (postings->mask + 1) / CHAINS_FRACTION;
    postings->chain_mask = chains - 1;
    postings->newest = arena_take(arena, chains * sizeof *postings->newest);
    postings->before = arena_take(arena, bytes);
}

void postings_add(struct postings *postings, int64_t e, int32_t token)
{
    size_t slot = (size_t)e & postings->mask;
    uint32_t *newest = &postings->newest[(size_t)token & postings->chain_mask];
    postings->tokens[slot] = token;
    postings->before[slot] = (uint32_t)e - *newest;
    *newest = (uint32_t)e + 1;
}

/* Counting sort of the positions from `first` to `end` - 1. */
static void sort(struct postings *postings, const int32_t *others, int64_t first, int64_t end)
{
    uint32_t *starts = postings->starts;
    for (size_t t = 0; t < postings->vocab + 2; t++)
        starts[t] = 0;
    for (int64_t e = first; e < end; e++)
        starts[postings->tokens[(size_t)e & postings->mask] + 2]++;
    for (size_t t = 2; t < postings->vocab + 2; t++)
        starts[t] += starts[t - 1];
    /* `starts[token + 1]` moves from the start of the token to its end. */
    for (int64_t e = first; e < end; e++) {
        size_t slot = (size_t)e & postings->mask;
        uint32_t i = starts[postings->tokens[slot] + 1]++;
        postings->sorted[i] = (uint32_t)(e - first);
        if (postings->others)
            postings->others[i] = others[slot];
    }
    postings->first = first;
    postings->end = end;
}

void postings_update(struct postings *postings, const int32_t *others, int64_t count)
{
    int64_t capacity = (int64_t)postings->mask + 1, held = count < capacity ? count : capacity;
    int64_t tail = held / TAIL_FRACTION > MIN_TAIL ? held / TAIL_FRACTION : MIN_TAIL;
    if (count - postings->end > tail)
        sort(postings, others, count - held, count);
}

/* Of the sorted positions of a token, which lie from `start` to `end` - 1, the first that is not
 * older than `oldest`. */
static uint32_t first_held(const struct postings *postings, uint32_t start, uint32_t end,
                           int64_t oldest)
{
    while (start < end) {
        uint32_t middle = start + (end - start) / 2;
        if (postings->first + postings->sorted[middle] < oldest)
            start = middle + 1;
        else
            end = middle;
    }
    return start;
}

size_t postings_collect(const struct postings *postings, const int32_t *others, int64_t count,
                        int32_t token, int32_t except, uint32_t *slots)
{
    int64_t oldest = count - (int64_t)postings->mask - 1,
            end = oldest > postings->end ? oldest : postings->end;
    size_t found = 0, seen = 0;
    /* A chain that has got nothing for so long that its number has come round leads to positions of
     * other chains, which have other tokens. */
    uint32_t newest = postings->newest[(size_t)token & postings->chain_mask];
    for (int64_t e = count - 1 - (uint32_t)((uint32_t)count - newest);
         e >= end && seen < SCANNED;) {
        size_t slot = (size_t)e & postings->mask;
        if (postings->tokens[slot] == token) {
            seen++;
            slots[found] = (uint32_t)slot;
            found += others[slot] != except;
        }
        e -= 1 + (int64_t)postings->before[slot];
    }
    uint32_t start = postings->starts[token], behind = postings->starts[token + 1];
    start = first_held(postings, start, behind, oldest);
    if (behind - start > SCANNED - seen)
        start = behind - (uint32_t)(SCANNED - seen);
    uint32_t first = (uint32_t)postings->first, mask = (uint32_t)postings->mask;
    const uint32_t *sorted = postings->sorted + start;
    const int32_t *sorted_others = postings->others ? postings->others + start : NULL;
    uint32_t left = behind - start;
    if (!sorted_others) {
        for (uint32_t i = 0; i < left; i++)
            slots[found + i] = (first + sorted[left - 1 - i]) & mask;
        return found + left;
    }
    while (left-- > 0) {
        slots[found] = (first + sorted[left]) & mask;
        found += sorted_others[left] != except;
    }
    return found;
}
