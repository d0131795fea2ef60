/* clock.h - instants and spans; the one place that reads the time.
 *
 * Clients name moments in Unix time, so an instant is milliseconds since the
 * Unix epoch. A loop turn reads the clock once and hands the instant down;
 * nothing below server/worker.c reads it by itself. */
#ifndef CORRAL_CLOCK_H
#define CORRAL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t ms;
} instant; /* a point in Unix time; ms == 0 means "never" where an expiry is meant */
typedef struct {
    int64_t ms;
} span; /* a length of time */

static inline instant after(instant t, span d)
{
    return (instant){t.ms + d.ms};
}
static inline span since(instant later, instant earlier)
{
    return (span){later.ms - earlier.ms};
}
static inline bool is_before(instant a, instant b)
{
    return a.ms < b.ms;
}

/* The wall clock. Expiry is measured on it because clients may name absolute times. */
instant clock_now(void);
/* The wall clock to the microsecond, for TIME. */
int64_t clock_now_us(void);
/* Milliseconds that nobody can set back or ahead, to a few milliseconds; cheap.
 * What must wait for a while waits by these. */
int64_t clock_ticks_ms(void);

/* Notices when the wall clock was set. All zeroes is one that has seen nothing. */
struct clock_watch {
    int64_t wall_ms, ticks_ms;
};
/* By how much it was set since the last look, in milliseconds; 0 when it only
 * drifted, and on the first look. */
int64_t clock_watch_step(struct clock_watch *watch, instant wall, int64_t ticks_ms);
/* Where a moment that was noted before such a step lies now. Never later than
 * `now`; one noted after the step stays as good as where it is. */
int64_t clock_moved(int64_t noted_ms, int64_t step_ms, int64_t now_ms);
/* A monotonic clock in nanoseconds, for measuring how long something took. */
int64_t clock_ticks_ns(void);

#endif
