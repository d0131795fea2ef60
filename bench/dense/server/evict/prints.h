/* prints.h - fingerprints for keys that are dense numbers.
 *
 * Found instead of server/evict/prints.h where a policy is compiled into a
 * replay (replay_compiled.c): the same epochs, which end after a grain of weight and are dropped
 * whole, but the "hash" is the key and its epoch stands in an array by key.
 * So nobody is taken for somebody else, no bucket overflows, and a look-up is
 * a load that can be made ahead. Rules (1) and (2) of prints.c hold; the rest of
 * them is about the table. */
#ifndef CORRAL_EVICT_PRINTS_H
#define CORRAL_EVICT_PRINTS_H

#include "bench/replay_host.h"

#include <stdlib.h>

enum { PRINT_EPOCHS = 2048, PRINT_GRAINS = 1024 };

struct prints {
    uint32_t *epochs; /* by key, the replay's: when it came in + 1; 0: it did not, or was taken */
    uint64_t capacity, weight, grain;
    uint32_t oldest, newest; /* as in prints.c, but 2^32 of them: it would take 2^32 evictions and more */
    uint64_t epoch_weight[PRINT_EPOCHS];
};

static inline void prints_set_grain(struct prints *p, uint64_t capacity)
{
    p->capacity = capacity;
    p->grain = capacity > 2 * PRINT_GRAINS ? capacity / PRINT_GRAINS : 1;
}

static inline struct prints *prints_new(uint64_t capacity)
{
    struct prints *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    CHECK(replay_being_made != NULL);
    p->epochs = replay_being_made->ghosts;
    prints_set_grain(p, capacity);
    return p;
}

static inline void prints_free(struct prints **pp)
{
    free(*pp);
    *pp = NULL;
}

REPLAY_INLINE void prints_drop_oldest_epoch(struct prints *p)
{
    uint64_t *weight = &p->epoch_weight[p->oldest % PRINT_EPOCHS];

    p->weight -= *weight;
    *weight = 0;
    if (p->oldest == p->newest)
        p->newest++;
    p->oldest++;
}

REPLAY_INLINE void prints_fit(struct prints *p, uint64_t weight)
{
    while (p->weight > 0 && p->weight + weight > p->capacity)
        prints_drop_oldest_epoch(p);
}

REPLAY_INLINE void prints_add(struct prints *p, uint64_t key, uint32_t weight)
{
    uint64_t *epoch = &p->epoch_weight[p->newest % PRINT_EPOCHS];

    if (weight > p->capacity)
        return;
    if (p->weight + weight > p->capacity) {
        prints_fit(p, weight);
        epoch = &p->epoch_weight[p->newest % PRINT_EPOCHS];
    }
    p->epochs[key] = p->newest + 1;
    p->weight += weight;
    *epoch += weight;
    if (*epoch < p->grain)
        return;
    if (p->newest - p->oldest == PRINT_EPOCHS - 1)
        prints_drop_oldest_epoch(p);
    p->newest++;
    CHECK(p->newest < UINT32_MAX);
}

REPLAY_INLINE bool prints_take(struct prints *p, uint64_t key, uint32_t weight)
{
    uint32_t epoch = p->epochs[key];
    uint64_t *left;

    if (epoch <= p->oldest) /* it is one more than the epoch */
        return false;
    p->epochs[key] = 0;
    left = &p->epoch_weight[(epoch - 1) % PRINT_EPOCHS];
    if (weight > *left)
        weight = (uint32_t)*left; /* it has grown since it was evicted */
    *left -= weight;
    p->weight -= weight;
    return true;
}

static inline void prints_set_capacity(struct prints *p, uint64_t capacity)
{
    prints_set_grain(p, capacity);
    prints_fit(p, 0);
}

static inline size_t prints_bytes(const struct prints *p)
{
    return sizeof(*p);
}

static inline void prints_check(const struct prints *p)
{
    uint64_t weight = 0;

    CHECK(p->oldest <= p->newest && p->newest - p->oldest < PRINT_EPOCHS);
    CHECK(p->weight <= p->capacity);
    for (unsigned i = 0; i < PRINT_EPOCHS; i++)
        weight += p->epoch_weight[i];
    CHECK(weight == p->weight);
}

#endif
