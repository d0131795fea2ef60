/* stamps.h - a number for each of some ids, which are sparse: a server numbers
 * slots, and some of them far apart.
 *
 *   id: | middle: 10 | leaf: 9 | stamp: 9 |
 *
 * Leaves come with their first id and go with their last. Middles stay; there
 * are at most 1024, and one for 1 MiB of leaves. */
#ifndef CORRAL_EVICT_STAMPS_H
#define CORRAL_EVICT_STAMPS_H

#include "server/evict/list.h"

#include <stdlib.h>

enum { STAMPS_LEAF_BITS = 9, STAMPS_MIDDLE_BITS = 9 };
enum { STAMPS_LEAF_SIZE = 1 << STAMPS_LEAF_BITS, STAMPS_MIDDLE_SIZE = 1 << STAMPS_MIDDLE_BITS };
enum { STAMPS_MIDDLES = 1 << (EVICT_LINK_BITS - STAMPS_LEAF_BITS - STAMPS_MIDDLE_BITS) };

struct stamps_middle {
    uint64_t *leaves[STAMPS_MIDDLE_SIZE]; /* of STAMPS_LEAF_SIZE each, NULL where none is used */
    uint16_t used[STAMPS_MIDDLE_SIZE];
};

struct stamps {
    size_t bytes; /* of the heap, this struct included */
    struct stamps_middle *middles[STAMPS_MIDDLES];
};

/* NULL when memory is short. */
static inline struct stamps *stamps_new(void)
{
    struct stamps *s = calloc(1, sizeof(*s));

    if (s != NULL)
        s->bytes = sizeof(*s);
    return s;
}

static inline void stamps_free(struct stamps **sp)
{
    if (*sp == NULL)
        return;
    for (unsigned i = 0; i < STAMPS_MIDDLES; i++) {
        for (unsigned k = 0; (*sp)->middles[i] != NULL && k < STAMPS_MIDDLE_SIZE; k++)
            free((*sp)->middles[i]->leaves[k]);
        free((*sp)->middles[i]);
    }
    free(*sp);
    *sp = NULL;
}

/* Where the stamp of an id is that has been claimed. */
static inline uint64_t *stamps_at(const struct stamps *s, evict_id id)
{
    return &s->middles[id >> (STAMPS_LEAF_BITS + STAMPS_MIDDLE_BITS)]
                ->leaves[id >> STAMPS_LEAF_BITS & (STAMPS_MIDDLE_SIZE - 1)][id & (STAMPS_LEAF_SIZE - 1)];
}

/* Makes a place, which holds 0. False when memory is short. */
static inline bool stamps_claim(struct stamps *s, evict_id id)
{
    struct stamps_middle **middle = &s->middles[id >> (STAMPS_LEAF_BITS + STAMPS_MIDDLE_BITS)];
    unsigned i = id >> STAMPS_LEAF_BITS & (STAMPS_MIDDLE_SIZE - 1);

    if (*middle == NULL) {
        if ((*middle = calloc(1, sizeof(**middle))) == NULL)
            return false;
        s->bytes += sizeof(**middle);
    }
    if ((*middle)->leaves[i] == NULL) {
        if (((*middle)->leaves[i] = calloc(STAMPS_LEAF_SIZE, sizeof(uint64_t))) == NULL)
            return false;
        s->bytes += STAMPS_LEAF_SIZE * sizeof(uint64_t);
    }
    (*middle)->used[i]++;
    return true;
}

/* Takes the place back. */
static inline void stamps_release(struct stamps *s, evict_id id)
{
    struct stamps_middle *middle = s->middles[id >> (STAMPS_LEAF_BITS + STAMPS_MIDDLE_BITS)];
    unsigned i = id >> STAMPS_LEAF_BITS & (STAMPS_MIDDLE_SIZE - 1);

    *stamps_at(s, id) = 0;
    if (--middle->used[i] > 0)
        return;
    free(middle->leaves[i]);
    middle->leaves[i] = NULL;
    s->bytes -= STAMPS_LEAF_SIZE * sizeof(uint64_t);
}

#endif
