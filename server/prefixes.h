/* prefixes.h - how often keys of each prefix are asked for: memcached's `stats detail`.
 *
 * A prefix is what stands before the first ':' of a key; keys without one are
 * not counted. Off until asked for; while it is off, a request pays for one
 * look at a flag. While it is on, all workers share one lock. */
#ifndef CORRAL_PREFIXES_H
#define CORRAL_PREFIXES_H

#include <stdatomic.h>

#include "protocol/bytes.h"

struct prefixes {
    _Atomic bool on;
    struct prefix_table *table; /* prefixes.c's alone */
};

enum prefix_event { PREFIX_GET, PREFIX_HIT, PREFIX_SET, PREFIX_DELETE };

/* False when memory is short. */
bool prefixes_init(struct prefixes *p);
void prefixes_free(struct prefixes *p);

static inline bool prefixes_on(const struct prefixes *p)
{
    return __builtin_expect(atomic_load_explicit(&p->on, memory_order_relaxed), 0);
}
/* The counts stay when it is switched off. */
void prefixes_switch(struct prefixes *p, bool on);
/* A PREFIX_HIT counts as a get, too. False: it was not counted, because `most`
 * prefixes are known already or memory is short. */
bool prefixes_count(struct prefixes *p, struct slice key, enum prefix_event event, size_t most);
void prefixes_forget(struct prefixes *p);

struct prefix_counts {
    struct slice prefix;
    uint64_t gets, hits, sets, deletes;
};
/* The callback runs under the lock. */
void prefixes_each(struct prefixes *p, void (*visit)(void *arg, const struct prefix_counts *counts),
                   void *arg);

#endif
