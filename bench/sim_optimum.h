/* sim_optimum.h - the fewest misses there can be where every weight is 1 (Belady,
 * 1966): what is asked for last is evicted. The same figures as sim_belady.h's
 * policy, several times as fast, since no key is looked at. */
#ifndef CORRAL_BENCH_SIM_OPTIMUM_H
#define CORRAL_BENCH_SIM_OPTIMUM_H

#include <stdint.h>

struct optimum;

/* For a trace of so many requests. NULL when memory is short. */
struct optimum *optimum_new(uint64_t requests, uint64_t capacity);
void optimum_free(struct optimum **);
/* The n requests that follow those it has seen. next[i]: the index, in the whole
 * trace, of the next request for the same key, or REPLAY_NEVER. Adds what was
 * missed of the sizes to *missed_bytes, unless they are NULL. The number of misses. */
uint64_t optimum_many(struct optimum *, const uint32_t *next, const uint32_t *sizes, uint64_t n,
                      uint64_t *missed_bytes);
uint64_t optimum_evicted(const struct optimum *);

#endif
