/* The numbers of docs/arithmetic.md, section 6: as in llmzip/mixing/, under the same names. */
#ifndef LLMZIP_MIXING_CONSTANTS_H
#define LLMZIP_MIXING_CONSTANTS_H

#include "native.h"

/* token_classes.py */
#define CLASSES 13

/* hashing.py */
#define HASH_FACTOR 0x9E3779B97F4A7C15u
#define HASH_SHIFT 29

/* matches.py */
#define ORDERS {1, 2, 3, 4, 6, 8, 12, 16, 24, 32}
#define ORDER_COUNT 10
#define HISTORY 32 /* the longest order */
#define MATCH_SLOTS_BITS 3
#define MAX_RUN 255 /* a byte of the slot */
#define SHORT_RUNS 8
#define RUN_BINS 16
#define RATE_LIMIT 500
#define RATE_FACTOR 5
#define RATE_PRIOR 4

/* neighbors.py */
#define SCANNED 2048
#define NEIGHBORS 64
#define FIRST_KERNEL 148
#define KERNEL 120
#define CONTEXTS 4
#define CONTEXT_BITS 16 /* together a word */
#define VOTED_BINS 16
#define VOTED_SCALE 14
#define DOUBT_BINS 16
#define MIN_KERNEL_LOG2 -15.0f
#define MIN_CLOSENESS_LOG2 -30.0f
#define VOTE_BITS 15
#define SURPRISE_BITS 8
#define SURPRISE_FACTOR 16.0f
#define DISTANCE_BINS 32
#define DISTANCE_BIN_SCALE 96
#define SHARE_BINS 8
#define AGREEMENT_BINS 5
#define TRUST_BITS 16
#define TRUST (1 << TRUST_BITS)
#define DISTRUST (9 << TRUST_BITS)
#define TRUST_LIMIT (2000 << TRUST_BITS)
#define TRUST_FLOOR (1 << (TRUST_BITS - 8))

/* counts.py */
#define OCCURRENCE (1 << 12)

/* biases.py */
#define BIAS_SLOTS_BITS 2
#define TOKEN_FACTOR 0x9E3779B97F4A7C15u
#define LAST_FACTOR 0xC2B2AE3D27D4EB4Fu
#define BEFORE_FACTOR 0x165667B19E3779F9u
#define TOP_FACTOR 0x85EBCA77C2B2AE63u

/* calibration.py */
#define LOG_SCALE 0.25f
#define RANKS (LLMZIP_TOP_TOKENS + 1)

/* mixer.py */
#define WEIGHT_UNIT (1 << 20)
#define WEIGHT_LIMIT (8 << 20)
#define GRADIENT_UNIT 0x1p20f
#define MAX_BITS 20.0f
#define EVIDENCE_UNIT 0x1p8f
#define EVIDENCE_LIMIT 127.0f
#define SPREAD_UNIT 0x1p16f

/* descent.py */
#define RATE 0.001f
#define EXTRA_RATE 0.2f
#define RATE_STEPS 20.0f

/* newton.py */
#define CURVATURE_UNIT 0x1p32
#define STEP 0.4
#define MEMORY 1024.0
#define RIDGE 64.0

/* reference.py: the experts in their order, and their features one after the other. Version 1 has
 * no calibration; features that it does not have are 0. */
enum expert { EXPERT_MATCHES, EXPERT_NEIGHBORS, EXPERT_BIASES, EXPERT_CALIBRATION, EXPERT_COUNT };
enum feature {
    FEATURE_MATCH,
    FEATURE_SHARE,
    FEATURE_SURPRISE,
    FEATURE_VOTED,
    FEATURE_BIAS, /* of the token alone; the next after one and two tokens, and by top token */
    FEATURE_ONE = FEATURE_BIAS + 4,
    FEATURE_BITS,
    FEATURE_RANK,
    FEATURE_COUNT
};
#define INITIAL_WEIGHTS {0.1, 0.9, 0.1, 0.2, 0.3, 0.3, 0.1, 0.1, 0.0, 0.0, 0.2}
/* How many mixer contexts each expert tells apart. */
#define CONTEXT_COUNTS {1 + ORDER_COUNT, 1 + AGREEMENT_BINS, 1, CLASSES}
#define MAX_CONTEXT_COUNT CLASSES

#define MAX_CANDIDATES (LLMZIP_TOP_TOKENS + 1 + NEIGHBORS)

#endif
