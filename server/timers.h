/* timers.h - one worker's deadlines. A heap: no timer, no cost but one look at its length. */
#ifndef CORRAL_TIMERS_H
#define CORRAL_TIMERS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/clock.h"

/* Embedded in what waits. All zeroes is one that is not set. */
struct timer {
    instant due;
    size_t place; /* in the heap, counted from 1; 0: not set */
    void (*fire)(struct timer *timer);
};

struct timers {
    struct timer **heap;
    size_t len, cap;
};

void timers_free(struct timers *timers);
/* Sets it, or moves it. False when memory is short; it is not set then. */
bool timers_set(struct timers *timers, struct timer *timer, instant due);
/* Copes with one that is not set. */
void timers_cancel(struct timers *timers, struct timer *timer);
/* Calls and forgets all that are due. They may set and cancel others, and free themselves. */
void timers_run(struct timers *timers, instant now);
static inline bool timers_some(const struct timers *timers)
{
    return timers->len > 0;
}
/* The earliest; only when there are some. */
instant timers_next(const struct timers *timers);

#endif
