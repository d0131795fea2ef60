/* ticks.h - a clock cheap enough to be read for every request.
 *
 * On x86 with a time stamp counter that runs at one speed, reading it takes
 * about 10 ns where clock_gettime() takes 25; elsewhere a tick is a nanosecond
 * of the monotonic clock. Ticks are for differences on one thread only. A
 * difference may come out a little below zero when the thread changed cores:
 * ticks_between() makes that 0. */
#ifndef CORRAL_TICKS_H
#define CORRAL_TICKS_H

#include <stdint.h>

#include "server/clock.h"

/* Nanoseconds per tick in units of 2^-32; 0: ticks are nanoseconds. Set once by ticks_calibrate(). */
extern uint64_t ticks_scale;

/* Finds out how long a tick is, which takes about two milliseconds. Once, before there are threads. */
void ticks_calibrate(void);

static inline uint64_t ticks_now(void)
{
#ifdef __x86_64__
    if (__builtin_expect(ticks_scale != 0, 1))
        return __builtin_ia32_rdtsc();
#endif
    return (uint64_t)clock_ticks_ns();
}

static inline uint64_t ticks_between(uint64_t earlier, uint64_t later)
{
    return later > earlier ? later - earlier : 0;
}

static inline uint64_t ticks_to_ns(uint64_t ticks)
{
    if (ticks_scale == 0)
        return ticks;
    return (uint64_t)((unsigned __int128)ticks * ticks_scale >> 32);
}

#endif
