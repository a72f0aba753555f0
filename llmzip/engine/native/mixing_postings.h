/* Postings: the positions of each token, as a search engine lists the documents of a word. */
#ifndef LLMZIP_MIXING_POSTINGS_H
#define LLMZIP_MIXING_POSTINGS_H

#include "arena.h"
#include "mixing_constants.h"

/* Positions by one of their tokens, newest first; position e lies in slot e mod 2^c of a ring.
 * Those from `first` to `end` - 1 are sorted. */
struct postings {
    size_t vocab, mask;
    int64_t first, end;
    int32_t *tokens;  /* [2^c], by slot */
    uint32_t *sorted; /* [2^c]: positions - first, by token and then by age */
    int32_t *others;  /* [2^c], in the same order, or NULL */
    uint32_t *starts; /* [vocab + 2]: where a token's positions start in `sorted` */
    /* Those from `end` on: chains of the positions whose tokens have the same low bits. */
    size_t chain_mask;
    uint32_t *newest; /* [chains]: the chain's newest position + 1, modulo 2^32 */
    uint32_t *before; /* [2^c], by slot: how far before it the chain's next one is, less 1 */
};

void postings_take(struct postings *postings, struct arena *arena, int capacity_bits, size_t vocab,
                   int has_others);
/* Position `e`, the one after the last. */
void postings_add(struct postings *postings, int64_t e, int32_t token);
/* After positions have been added; others [2^c], by slot. */
void postings_update(struct postings *postings, const int32_t *others, int64_t count);
/* The slots of the newest SCANNED positions with this token, less those among them whose other
 * token is `except`. */
size_t postings_collect(const struct postings *postings, const int32_t *others, int64_t count,
                        int32_t token, int32_t except, uint32_t *slots);

#endif
