/* reads.h - the two points at which a plain read, of whatever dialect, asks what it is to do.
 *
 * A miss belongs to an origin (origin/origins.h), which fetches it for all, or
 * else to the rules of herd-protect (protect.h), which send one client to fetch
 * it. A key that has an origin is none of the rules' business: nobody would
 * come to fill it. Neither costs a hit anything. */
#ifndef CORRAL_HERD_READS_H
#define CORRAL_HERD_READS_H

#include "server/herd/protect.h"
#include "server/origin/origins.h"

/* A plain read found no value; the verdict is protect_missed()'s. */
static inline enum protect_verdict reads_missed(struct exec *x, const struct key *key,
                                                struct store_edit *edit)
{
    if (x->hopeful && origins_ask(x, key))
        return PROTECT_PARKED;
    if (!protect_on(x))
        return PROTECT_MISS;
    if (x->hopeful && x->several != NULL) {
        x->session->parked = PARK_ASKING; /* before it waits by a rule, its other keys' origins are asked */
        return PROTECT_PARKED;
    }
    return protect_missed(x, key, edit);
}

/* A plain read found one, with peek->herded. True: the reader is to be told "miss", see protect_refresh(). */
static inline bool reads_refresh(struct exec *x, const struct key *key, const struct store_peek *peek)
{
    if (x->hopeful)
        origins_hit(x, key, peek);
    return protect_on(x) && protect_refresh(x, key, peek);
}

/* Whether what a lease left in place of a value is to be taken for a miss, where
 * memcached's clients would else be shown what their N made. */
static inline bool reads_hide_place(struct exec *x, const struct key *key, uint8_t state)
{
    struct slice name = {key->data, key->len};

    if ((state & (ITEM_PENDING | ITEM_NEGATIVE)) == 0)
        return false;
    if (x->hopeful && (state & ITEM_PENDING) != 0 && origins_has(x, name))
        return true;
    return protect_on(x) && protect_has_rule(x, name);
}

#endif
