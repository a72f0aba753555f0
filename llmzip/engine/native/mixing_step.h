/* What all experts see of a stream at one step. */
#ifndef LLMZIP_MIXING_STEP_H
#define LLMZIP_MIXING_STEP_H

#include <stddef.h>
#include <stdint.h>

#include "mixing_layout.h"

/* The tokens whose weights may be corrected, with the model's predictions. */
struct candidates {
    size_t count;
    size_t tops; /* the first so many are the most likely tokens, in their order */
    int32_t tokens[CANDIDATES_ROOM];
    int32_t weights[CANDIDATES_ROOM]; /* the model's, at least 1 */
    float probabilities[CANDIDATES_ROOM];
    float bits[CANDIDATES_ROOM];      /* log2 of them */
    uint8_t classes[CANDIDATES_ROOM]; /* of the tokens */
    int64_t total;                    /* of all tokens' weights */
};

/* The token that a stream has coded. */
struct observation {
    int32_t token;
    int index;         /* among the candidates, or -1 */
    float probability; /* the model's */
};

#endif
