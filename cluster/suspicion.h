/* suspicion.h - how long a suspect has to defend itself. Pure functions.
 *
 * Lifeguard's curve (Dadgar, Phillips, Currey, arXiv 1707.00788, IV-B): a lone
 * accuser may himself be the sick one, so he waits long; each further accuser
 * shortens it, by the logarithm, down to the least time. */
#ifndef CORRAL_SUSPICION_H
#define CORRAL_SUSPICION_H

#include <stdint.h>

/* mult * max(1, log10(nodes)) * period */
int64_t suspicion_least_us(unsigned mult, uint32_t nodes, int64_t period_us);
/* From `most` with none to `least` with `wanted` confirmations, or if none are wanted. */
int64_t suspicion_span_us(int64_t least_us, int64_t most_us, unsigned confirmations, unsigned wanted);

#endif
