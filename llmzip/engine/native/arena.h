/* Several arrays in one allocation. */
#ifndef LLMZIP_ARENA_H
#define LLMZIP_ARENA_H

#include <stddef.h>

#include "kernels.h"

/* Hands out parts of one allocation; without a base it only counts. */
struct arena {
    char *base;
    size_t used;
};

static inline void *arena_take(struct arena *arena, size_t bytes)
{
    size_t start = arena->used;
    arena->used = round_up(start + bytes, 64);
    return arena->base ? arena->base + start : NULL;
}

#endif
