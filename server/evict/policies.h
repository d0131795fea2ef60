/* policies.h - declares the evict_type of every row of policies.def. For
 * evict.c and the policies themselves; others go through evict_type_find(). */
#ifndef CORRAL_EVICT_POLICIES_H
#define CORRAL_EVICT_POLICIES_H

#include "server/evict/evict.h"

#define EVICT_POLICY(name, help) extern const struct evict_type evict_##name;
#include "server/evict/policies.def"
#undef EVICT_POLICY
extern const struct evict_type evict_wtinylfu_doorkeeper; /* of evict_wtinylfu */

#endif
