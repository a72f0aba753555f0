/* The numbers of docs/arithmetic.md, section 6; llmzip/mixing/ holds the same under the same names. */
#ifndef LLMZIP_MIXING_CONSTANTS_H
#define LLMZIP_MIXING_CONSTANTS_H

#include "native.h"

/* Matches. */
#define ORDERS 10
#define ORDER_LENGTHS {1, 2, 3, 4, 6, 8, 12, 16, 24, 32}
#define HISTORY 32 /* the longest */
#define MATCH_SLOTS_BITS 3
#define HASH_FACTOR 0x9E3779B97F4A7C15u
#define HASH_SHIFT 29
#define MAX_RUN 255 /* a byte of the slot */
#define RUN_BINS 16
#define RATE_LIMIT 500

/* Neighbors. */
#define SCANNED 2048
#define NEIGHBORS 64
#define KERNEL 148
#define VOTE_BITS 15
#define SURPRISE_BITS 8
#define DISTANCE_BINS 32
#define DISTANCE_BIN_SCALE 96
#define SHARE_BINS 8
#define TRUST_BITS 16
#define TRUST (1 << TRUST_BITS)
#define DISTRUST (9 << TRUST_BITS)
#define TRUST_LIMIT (2000 << TRUST_BITS)
#define TRUST_FLOOR (1 << (TRUST_BITS - 8))
#define AGREEMENTS 5 /* situations with neighbors */

/* Biases. */
#define BIAS_SLOTS_BITS 2
#define BIAS_UNIT (1 << 12)
#define TOKEN_FACTOR 0x9E3779B97F4A7C15u
#define LAST_FACTOR 0xC2B2AE3D27D4EB4Fu
#define BEFORE_FACTOR 0x165667B19E3779F9u

/* Mixing. */
#define WEIGHT_UNIT (1 << 20)
#define WEIGHT_LIMIT (8 << 20)
#define GRADIENT_UNIT 0x1p20f
#define MAX_BITS 20.0f
#define RATE 0.001f
#define EXTRA_RATE 0.2f
#define RATE_STEPS 20.0f

enum expert { EXPERT_MATCHES, EXPERT_NEIGHBORS, EXPERT_BIASES, EXPERTS };
enum feature {
    FEATURE_MATCH,
    FEATURE_SHARE,
    FEATURE_SURPRISE,
    FEATURE_BIAS, /* of the token alone; the next two after one and two tokens */
    FEATURES = FEATURE_BIAS + 3
};
#define INITIAL_WEIGHTS {0.1, 0.9, 0.1, 0.3, 0.3, 0.1} /* the first expert's */
#define SITUATIONS {1 + ORDERS, 1 + AGREEMENTS, 1}
#define MOST_SITUATIONS (1 + ORDERS) /* of any expert */

#define MAX_CANDIDATES (LLMZIP_TOP + 1 + NEIGHBORS)

#endif
