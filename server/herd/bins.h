/* bins.h - durations in ms, counted in bins of equal ratio: four to an octave, so
 * that a bin's top is at most a quarter above its bottom. */
#ifndef CORRAL_BINS_H
#define CORRAL_BINS_H

#include <stdint.h>

enum { BINS_LOG = 2, BINS_BITS = 20, BINS = (BINS_BITS - BINS_LOG + 1) << BINS_LOG };

static inline unsigned bin_of(uint32_t ms)
{
    enum { MOST = (1 << BINS_BITS) - 1 };
    unsigned shift;

    if (ms > MOST)
        ms = MOST;
    if (ms < 2u << BINS_LOG)
        return ms;
    shift = 31u - BINS_LOG - (unsigned)__builtin_clz(ms);
    return (shift << BINS_LOG) + (ms >> shift);
}

/* The longest that falls into it. */
static inline uint32_t bin_top(unsigned bin)
{
    unsigned shift = bin >> BINS_LOG;

    if (bin < 2u << BINS_LOG)
        return bin;
    shift--;
    return (((bin & ((1u << BINS_LOG) - 1)) + (1u << BINS_LOG) + 1) << shift) - 1;
}

#endif
