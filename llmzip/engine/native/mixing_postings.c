/* See mixing_postings.h.
 *
 * A linked list would cost a cache miss per position. Instead the positions are sorted from time to
 * time, so that those of a token lie together; the few since then are looked through one by one. */
#include "mixing_postings.h"

#define MIN_TAIL 1024
#define TAIL_FRACTION 64 /* sort when the unsorted are more than one in so many */

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

size_t postings_collect(const struct postings *postings, const int32_t *others, int64_t count,
                        int32_t token, int32_t except, uint32_t *slots)
{
    int64_t oldest = count - (int64_t)postings->mask - 1,
            end = oldest > postings->end ? oldest : postings->end;
    size_t found = 0, seen = 0;
    for (int64_t e = count - 1; e >= end && seen < SCANNED; e--) {
        size_t slot = (size_t)e & postings->mask;
        if (postings->tokens[slot] == token) {
            seen++;
            slots[found] = (uint32_t)slot;
            found += others[slot] != except;
        }
    }
    uint32_t start = postings->starts[token], i = postings->starts[token + 1];
    for (; i > start && seen < SCANNED && postings->first + postings->sorted[i - 1] >= oldest;
         i--, seen++) {
        slots[found] =
            (uint32_t)(postings->first + postings->sorted[i - 1]) & (uint32_t)postings->mask;
        found += !postings->others || postings->others[i - 1] != except;
    }
    return found;
}
