/* Positions by a token that they share: what the search looks at.
 *
 * A linked list would cost a cache miss per position. Instead the positions are sorted from time to time, so that those
 * of a token lie together; the few since then are looked through one by one. */
#include "context_mixer.h"

#define LEAST_TAIL 1024
#define TAIL_SHARE 64 /* sort when the unsorted are more than one in so many */

void lists_place(struct lists *lists, struct arena *arena, int capacity_bits, size_t vocab, int has_others)
{
    size_t bytes = sizeof(int32_t) << capacity_bits;
    lists->vocab = vocab;
    lists->mask = ((size_t)1 << capacity_bits) - 1;
    lists->tokens = arena_take(arena, bytes);
    lists->sorted = arena_take(arena, bytes);
    lists->others = has_others ? arena_take(arena, bytes) : NULL;
    lists->starts = arena_take(arena, (vocab + 2) * sizeof *lists->starts);
}

/* Counting sort of the positions from `first` to `end` - 1. */
static void sort(struct lists *lists, const int32_t *others, int64_t first, int64_t end)
{
    uint32_t *starts = lists->starts;
    for (size_t t = 0; t < lists->vocab + 2; t++)
        starts[t] = 0;
    for (int64_t e = first; e < end; e++)
        starts[lists->tokens[(size_t)e & lists->mask] + 2]++;
    for (size_t t = 2; t < lists->vocab + 2; t++)
        starts[t] += starts[t - 1];
    for (int64_t e = first; e < end; e++) { /* starts[token + 1] moves from the token's start to its end */
        size_t place = (size_t)e & lists->mask;
        uint32_t i = starts[lists->tokens[place] + 1]++;
        lists->sorted[i] = (uint32_t)(e - first);
        if (lists->others)
            lists->others[i] = others[place];
    }
    lists->first = first;
    lists->end = end;
}

void lists_learn(struct lists *lists, const int32_t *others, int64_t count)
{
    int64_t capacity = (int64_t)lists->mask + 1, held = count < capacity ? count : capacity;
    int64_t tail = held / TAIL_SHARE > LEAST_TAIL ? held / TAIL_SHARE : LEAST_TAIL;
    if (count - lists->end > tail)
        sort(lists, others, count - held, count);
}

size_t lists_collect(const struct lists *lists, const int32_t *others, int64_t count, int32_t token, int32_t except,
                     uint32_t *places)
{
    int64_t oldest = count - (int64_t)lists->mask - 1, end = oldest > lists->end ? oldest : lists->end;
    size_t found = 0, seen = 0;
    for (int64_t e = count - 1; e >= end && seen < SCANNED; e--) {
        size_t place = (size_t)e & lists->mask;
        if (lists->tokens[place] == token) {
            seen++;
            places[found] = (uint32_t)place;
            found += others[place] != except;
        }
    }
    uint32_t start = lists->starts[token], i = lists->starts[token + 1];
    for (; i > start && seen < SCANNED && lists->first + lists->sorted[i - 1] >= oldest; i--, seen++) {
        places[found] = (uint32_t)(lists->first + lists->sorted[i - 1]) & (uint32_t)lists->mask;
        found += !lists->others || lists->others[i - 1] != except;
    }
    return found;
}
