/* Whether a narrow step is quicker on all threads or on one. It meets at some hundred barriers: on a busy machine, where a
 * thread waits for its turn on a processor, each of them can cost milliseconds. Both ways are timed, the other one now and
 * then. No bit depends on it. */
#ifndef LLMZIP_PACE_H
#define LLMZIP_PACE_H

#include <stdint.h>

#define FIRST_TRIAL 8
#define MOST_STEPS_BETWEEN_TRIALS 512

struct pace {
    int64_t usual[2]; /* nanoseconds of a step: on all threads, on one; 0: not known */
    int alone;        /* the way that is usually quicker */
    int steps, gap;   /* until the next trial, between trials */
};

/* The way that the next step goes. */
static inline int pace_alone(struct pace *pace)
{
    if (!pace->gap)
        pace->gap = pace->steps = FIRST_TRIAL;
    return pace->steps-- > 0 ? pace->alone : !pace->alone;
}

static inline void pace_took(struct pace *pace, int alone, int64_t nanoseconds)
{
    int trial = alone != pace->alone;
    int64_t *usual = &pace->usual[alone];
    *usual = *usual ? *usual + (nanoseconds - *usual) / (trial ? 2 : 4) : nanoseconds;
    int64_t mine = pace->usual[pace->alone], other = pace->usual[!pace->alone];
    if (other && mine > other + other / 8) {
        pace->alone = !pace->alone;
        pace->gap = pace->steps = FIRST_TRIAL;
    } else if (trial) {
        pace->gap = 2 * pace->gap < MOST_STEPS_BETWEEN_TRIALS ? 2 * pace->gap : MOST_STEPS_BETWEEN_TRIALS;
        pace->steps = pace->gap;
    }
}

#endif
