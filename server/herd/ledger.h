/* ledger.h - what herd protection has done, for each rule; any thread counts. */
#ifndef CORRAL_LEDGER_H
#define CORRAL_LEDGER_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/herd/bins.h"

enum { TALLY_GLOB_MAX = 256, TALLIES = 128 };

struct tally {
    char glob[TALLY_GLOB_MAX]; /* of the rule; "": nobody's. Set while nobody counts */
    _Atomic uint64_t parked_now, parked;
    _Atomic uint64_t fetches;    /* misses told to a client together with the right to fill */
    _Atomic uint64_t avoided;    /* requests answered by what another client fetched */
    _Atomic uint64_t stale;      /* of these, with a value that was out of time */
    _Atomic uint64_t early;      /* of the fetches, before the value was out of time */
    _Atomic uint64_t late;       /* fills refused */
    _Atomic uint64_t expired;    /* leases that ran out */
    _Atomic uint64_t not_parked; /* told "miss" at once, since the prefix's misses are rarely filled */
    _Atomic uint64_t waits[BINS];
};

static inline void tally_add(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_fetch_add_explicit(figure, n, memory_order_relaxed);
}
static inline uint64_t tally_get(const _Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}
static inline void tally_wait(_Atomic uint64_t *waits, int64_t ms)
{
    tally_add(&waits[bin_of(ms > 0 ? (ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX) : 0)], 1);
}
/* The time within which that many of a hundred were answered; 0 when there was none. */
uint32_t tally_quantile(const _Atomic uint64_t *waits, unsigned percent);
/* All figures but parked_now begin at 0 again. */
void tally_reset(struct tally *tally);

#endif
