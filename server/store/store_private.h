/* store_private.h - what store.c, read.c and edit.c share of the store. */
#ifndef CORRAL_STORE_PRIVATE_H
#define CORRAL_STORE_PRIVATE_H

#include "server/store/shard.h"

struct store {
    struct shard *shards;
    uint32_t shards_len;
    uint32_t shard_shift; /* a hash's top bits choose the shard */
    uint64_t seed;
    unsigned workers;
    _Atomic uint64_t item_max, memory_max, other_bytes;
    _Atomic uint64_t next_cas;
};

struct store_local {
    struct store *store;
    void *owner;      /* for observers */
    uint8_t *scratch; /* for values that an edit reads from the item it replaces */
    size_t scratch_cap;
    struct touch_ring *rings; /* one per shard */
};

static inline uint32_t shard_number(const struct store *store, uint64_t hash)
{
    return store->shards_len == 1 ? 0 : (uint32_t)(hash >> store->shard_shift);
}

static inline struct shard *shard_of(const struct store *store, uint64_t hash)
{
    return &store->shards[shard_number(store, hash)];
}

static inline struct bucket *home_bucket(const struct shard *s, uint64_t shape, uint64_t hash)
{
    return &s->index.buckets[index_home(shape, hash)];
}

#endif
