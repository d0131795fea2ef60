/* ghost.h - the ghost of keys that are dense numbers.
 *
 * Found instead of server/evict/ghost.h where a policy is compiled into a
 * replay (replay_compiled.c): the same functions, but the "hash" is the key, and where it is in the
 * ring stands in an array by key instead of a hash table. So nobody is taken for
 * somebody else, and a look-up is a load that can be made ahead.
 *
 * All ghosts of a policy share one array, since a key is in one of them at most:
 *
 *   by key: | which ghost: 2 | place in its ring + 1: 30 |, 0: in none
 *
 * A ghost is made without a word about its keys, so it takes the array of the
 * replay that is being made (replay_being_made). */
#ifndef CORRAL_EVICT_GHOST_H
#define CORRAL_EVICT_GHOST_H

#include "bench/replay_host.h"

#include <stdlib.h>
#include <string.h>

enum { GHOST_PLACE_BITS = 30, GHOST_RING_MIN = 1024, GHOST_LISTS_MAX = 3 };

struct ghost_entry {
    uint32_t key; /* 0: a hole */
    uint32_t weight;
};

struct ghost {
    uint32_t *places;         /* by key, the replay's */
    uint32_t mark;            /* which ghost, where it stands in an entry of places */
    struct ghost_entry *ring; /* `size` of them */
    uint64_t *stamps;         /* beside the entries, or NULL */
    bool stamped;
    uint32_t size;        /* 0 or a power of two */
    uint32_t first, last; /* the used part, holes included; count on for ever, modulo 2^32 */
    uint64_t count, weight;
};

REPLAY_INLINE struct ghost *ghost_new(void)
{
    struct ghost *g = calloc(1, sizeof(*g));

    if (g == NULL)
        return NULL;
    CHECK(replay_being_made != NULL && replay_being_made->ghost_lists < GHOST_LISTS_MAX);
    g->places = replay_being_made->ghosts;
    g->mark = ++replay_being_made->ghost_lists << GHOST_PLACE_BITS;
    return g;
}

static inline struct ghost *ghost_new_stamped(void)
{
    struct ghost *g = ghost_new();

    if (g != NULL)
        g->stamped = true;
    return g;
}

static inline void ghost_free(struct ghost **gp)
{
    if (*gp == NULL)
        return;
    free((*gp)->ring);
    free((*gp)->stamps);
    free(*gp);
    *gp = NULL;
}

/* ghost.c keeps 19 bits of a weight and a shift; so do we. */
REPLAY_INLINE uint32_t ghost_rounded(uint32_t weight)
{
    int shift;

    if (weight < 1u << 19)
        return weight > 0 ? weight : 1;
    shift = 32 - __builtin_clz(weight) - 19;
    return weight >> shift << shift;
}

REPLAY_INLINE void ghost_skip_holes(struct ghost *g)
{
    while (g->first != g->last && g->ring[g->first & (g->size - 1)].key == 0)
        g->first++;
}

/* Makes room at the end: without the holes, and twice as large if that is not enough. */
static __attribute__((noinline)) void ghost_rebuild(struct ghost *g)
{
    uint32_t size = g->count * 4 > (uint64_t)g->size * 3 || g->size == 0 ? g->size * 2 : g->size, to = 0;
    struct ghost_entry *ring;
    uint64_t *stamps = NULL;

    if (size < GHOST_RING_MIN)
        size = GHOST_RING_MIN;
    CHECK(size < 1u << GHOST_PLACE_BITS);
    ring = calloc(size, sizeof(ring[0]));
    CHECK(ring != NULL); /* a simulator that has no memory left has nothing to say */
    if (g->stamped) {
        stamps = malloc(size * sizeof(stamps[0]));
        CHECK(stamps != NULL);
    }
    for (uint32_t i = g->first; i != g->last; i++) {
        uint32_t at = i & (g->size - 1);

        if (g->ring[at].key == 0)
            continue;
        ring[to] = g->ring[at];
        if (g->stamped)
            stamps[to] = g->stamps[at];
        g->places[ring[to].key] = g->mark | (to + 1);
        to++;
    }
    free(g->ring);
    free(g->stamps);
    g->ring = ring;
    g->stamps = stamps;
    g->size = size;
    g->first = 0;
    g->last = to;
}

REPLAY_INLINE uint32_t ghost_append(struct ghost *g, uint64_t key, uint32_t weight)
{
    uint32_t at;

    if (g->last - g->first == g->size)
        ghost_rebuild(g);
    at = g->last++ & (g->size - 1);
    g->ring[at] = (struct ghost_entry){(uint32_t)key, ghost_rounded(weight)};
    g->places[key] = g->mark | (at + 1);
    g->count++;
    g->weight += g->ring[at].weight;
    return at;
}

REPLAY_INLINE void ghost_push(struct ghost *g, uint64_t key, uint32_t weight)
{
    ghost_append(g, key, weight);
}

REPLAY_INLINE void ghost_push_stamped(struct ghost *g, uint64_t key, uint32_t weight, uint64_t stamp)
{
    uint32_t at = ghost_append(g, key, weight);

    g->stamps[at] = stamp;
}

REPLAY_INLINE uint64_t ghost_oldest_stamp(const struct ghost *g)
{
    return g->count > 0 ? g->stamps[g->first & (g->size - 1)] : UINT64_MAX;
}

REPLAY_INLINE bool ghost_has(const struct ghost *g, uint64_t key)
{
    return g->places[key] >> GHOST_PLACE_BITS == g->mark >> GHOST_PLACE_BITS;
}

REPLAY_INLINE void ghost_forget(struct ghost *g, struct ghost_entry *entry)
{
    g->places[entry->key] = 0;
    g->weight -= entry->weight;
    g->count--;
    entry->key = 0;
    ghost_skip_holes(g);
}

REPLAY_INLINE bool ghost_take(struct ghost *g, uint64_t key)
{
    struct ghost_entry *entry;

    if (!ghost_has(g, key))
        return false;
    entry = &g->ring[(g->places[key] - 1) & (g->size - 1)];
    ghost_forget(g, entry);
    return true;
}

REPLAY_INLINE bool ghost_drop_oldest(struct ghost *g)
{
    if (g->count == 0)
        return false;
    /* A few more are going to be dropped, one by one. */
    __builtin_prefetch(&g->places[g->ring[(g->first + 8) & (g->size - 1)].key], 1);
    ghost_forget(g, &g->ring[g->first & (g->size - 1)]);
    return true;
}

REPLAY_INLINE uint64_t ghost_count(const struct ghost *g)
{
    return g->count;
}

REPLAY_INLINE uint64_t ghost_weight(const struct ghost *g)
{
    return g->weight;
}

REPLAY_INLINE size_t ghost_bytes(const struct ghost *g)
{
    return sizeof(*g) + g->size * (sizeof(g->ring[0]) + (g->stamped ? sizeof(g->stamps[0]) : 0));
}

static inline void ghost_check(const struct ghost *g)
{
    uint64_t count = 0, weight = 0;

    CHECK(g->first == g->last || g->ring[g->first & (g->size - 1)].key != 0);
    for (uint32_t i = g->first; i != g->last; i++) {
        uint32_t at = i & (g->size - 1);

        if (g->ring[at].key == 0)
            continue;
        CHECK(g->places[g->ring[at].key] == (g->mark | (at + 1)));
        count++;
        weight += g->ring[at].weight;
    }
    CHECK(count == g->count && weight == g->weight);
}

#endif
