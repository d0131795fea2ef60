/* guard.h - keys that an origin certainly does not have are not asked for.
 *
 * `origin <glob> <url> ... guard <key>` names a Bloom filter in database 0 of the
 * names that exist at the origin. A name that is not in it is absent: its readers get
 * the answer of a key that the origin does not have, and the origin hears nothing.
 *
 * What has to be true for that: whatever exists at the origin was added to the
 * filter before it was stored there. Writes through this node see to it themselves;
 * other writers say BF.ADD first. Then the filter errs to one side only: it may let a
 * question pass that could have been spared, and it hides nothing. A filter that is
 * not there, is being loaded, or is no Bloom filter guards nothing. Nor is there a guard
 * in a cluster, whose nodes would not hear of each other's writes: origins.c refuses it. */
#ifndef CORRAL_ORIGIN_GUARD_H
#define CORRAL_ORIGIN_GUARD_H

#include "server/origin/origin.h"
#include "server/store/store.h"

struct exec;

/* Whether the key is certainly absent; counts what the guard said. */
bool guard_denies(struct exec *x, const struct origin *origin, const struct key *key);
/* Before the key is written to the origin. False: the filter is there but does not
 * take it, so it must not be written. */
bool guard_admits(struct exec *x, const struct origin *origin, const struct key *key);

#endif
