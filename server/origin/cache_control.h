/* cache_control.h - what an HTTP origin says about how long its answer is good.
 *
 * RFC 9111 section 5.2.2 and RFC 5861: max-age, s-maxage (which wins, as we are
 * a shared cache), no-store, no-cache and private (which we treat as no-store:
 * it may not be served again without asking), stale-while-revalidate. */
#ifndef CORRAL_ORIGIN_CACHE_CONTROL_H
#define CORRAL_ORIGIN_CACHE_CONTROL_H

#include "protocol/bytes.h"

struct cache_control {
    bool no_store;
    bool has_max_age;
    bool has_shared_age; /* max_age_s came from s-maxage */
    int64_t max_age_s;
    int64_t stale_s; /* stale-while-revalidate; 0: not said */
};

/* Adds what one header's value says to what those before it said. Unknown
 * directives are passed over; a number that is none means 0, which is the safe side. */
void cache_control_read(struct cache_control *cc, struct slice value);

#endif
