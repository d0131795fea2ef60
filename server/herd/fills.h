/* fills.h - how long it takes to fill keys, by their prefix.
 *
 * The prefix of a key ends with its first ':', '/', '.' or '|', which belong to
 * it; a key without any has the empty one. A table of fixed size keeps a small
 * histogram for each of the prefixes used latest. It is halved whenever it is
 * full, so that the latest fills count most; no clock is needed for that.
 *
 * A lease that runs out was too short, or its holder is dead, and nobody can
 * tell which. So each one makes the prefix's next leases twice as long, until
 * a fill comes that says how long it took.
 *
 * Any thread. Reading is without a lock; noting takes a stripe's, a leaf, so it
 * may be done under any other. */
#ifndef CORRAL_FILLS_H
#define CORRAL_FILLS_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/bytes.h"
#include "server/clock.h"

struct fills;

/* NULL when memory is short. `seed` keeps clients from choosing prefixes that meet in the table. */
struct fills *fills_new(uint64_t seed);
void fills_free(struct fills **fills);

struct slice fills_prefix(struct slice name);

struct fills_bounds {
    uint32_t min_ms, max_ms;
    uint32_t default_ms; /* while there are few observations */
};
/* How long a lease on this key should last: half again as long as nearly all of
 * its prefix's latest fills took, and a little. */
uint32_t fills_lease_ms(const struct fills *fills, struct slice name, const struct fills_bounds *bounds);

void fills_note(struct fills *fills, struct slice name, uint32_t took_ms);
/* True: that was the end of fills_are_likely() for its prefix. */
bool fills_note_expired(struct fills *fills, struct slice name);

/* Whether misses of this prefix are followed by fills often enough that waiting
 * for one is worth while. Of all fills and failures the share of fills is kept,
 * as a moving average; below a quarter the answer is no, and above one half yes
 * again. A prefix that is new begins in between: some seven failures are enough,
 * where one that has always been filled is forgiven twenty in a row. */
bool fills_are_likely(const struct fills *fills, struct slice name);
/* Somebody waited `waited` for a fill in vain; those who did so together count
 * once. True: that was the end, as above. */
bool fills_note_vain(struct fills *fills, struct slice name, instant now, span waited);
/* For how many prefixes the answer is no now. */
unsigned fills_unlikely(const struct fills *fills);

#endif
