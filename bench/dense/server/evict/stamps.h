/* stamps.h - a number for each key.
 *
 * Found instead of server/evict/stamps.h where a policy is compiled into a replay
 * (replay_compiled.c): keys are dense, so it is an array. */
#ifndef CORRAL_EVICT_STAMPS_H
#define CORRAL_EVICT_STAMPS_H

#include "bench/replay_host.h"

#include <stdlib.h>

struct stamps {
    size_t bytes;
    uint64_t at[]; /* by key */
};

static inline struct stamps *stamps_new(void)
{
    size_t bytes = sizeof(struct stamps) + ((size_t)replay_being_made->unique + 1) * sizeof(uint64_t);
    struct stamps *s = calloc(1, bytes);

    if (s != NULL)
        s->bytes = bytes;
    return s;
}

static inline void stamps_free(struct stamps **sp)
{
    free(*sp);
    *sp = NULL;
}

REPLAY_INLINE uint64_t *stamps_at(struct stamps *s, evict_id id)
{
    return &s->at[id];
}

REPLAY_INLINE bool stamps_claim(struct stamps *s, evict_id id)
{
    (void)s, (void)id;
    return true;
}

REPLAY_INLINE void stamps_release(struct stamps *s, evict_id id)
{
    s->at[id] = 0;
}

#endif
