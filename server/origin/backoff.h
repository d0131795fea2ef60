/* backoff.h - how long to wait before trying again.
 *
 * Exponential, with full jitter: anything from 0 to base * 2^attempt, at most
 * `most`. Jitter over all of it, because many that failed together would come
 * again together otherwise. */
#ifndef CORRAL_ORIGIN_BACKOFF_H
#define CORRAL_ORIGIN_BACKOFF_H

#include <stdint.h>

/* In ms. attempt 0 is the first one that failed. */
int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t most_ms, uint64_t dice);
/* The longest that n retries may wait in all. */
int64_t backoff_most_ms(unsigned retries, int64_t base_ms, int64_t most_ms);

#endif
