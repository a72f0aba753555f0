/* How the C core lays out the numbers of candidates: in whole vectors of any processor. */
#ifndef LLMZIP_MIXING_LAYOUT_H
#define LLMZIP_MIXING_LAYOUT_H

#include "mixing_constants.h"

#define CANDIDATES_ROOM 80
#define EVIDENCE_STRIDE 16  /* a candidate's features, in float32 */
#define EVIDENCE_COLUMNS 12 /* and in fours of them */
#define SOLVED_TOGETHER 4   /* sets of weights */

/* Of each two features: the lower triangle, by rows. */
#define CURVATURE_COUNT (FEATURE_COUNT * (FEATURE_COUNT + 1) / 2)

/* The largest factors of a candidate's curvature. */
#define SPREAD_LIMIT (SPREAD_UNIT / 4)
#define EVIDENCE_BOUND (EVIDENCE_LIMIT * EVIDENCE_UNIT)
_Static_assert(MAX_CANDIDATES <= CANDIDATES_ROOM && FEATURE_COUNT <= EVIDENCE_COLUMNS,
               "there is room for all");

#endif
