/* store_private.h - what store.c, read.c and edit.c share of the store. */
#ifndef CORRAL_STORE_PRIVATE_H
#define CORRAL_STORE_PRIVATE_H

#include "server/evict/auto.h"
#include "server/store/shard.h"

enum sample_event { SAMPLE_HIT, SAMPLE_MISSED, SAMPLE_STORED, SAMPLE_EXPIRES, SAMPLE_DROPPED };
enum { SAMPLE_RING = 32 }; /* events of sampled keys that a worker collects before it tells the shadows */

struct sample {
    struct shadow_item item;
    uint8_t event; /* enum sample_event */
};
struct sample_ring {
    uint32_t count;
    uint64_t reads; /* sampled or not */
    struct sample samples[SAMPLE_RING];
};

/* Shadows of the store, or none; see sampling.h. */
struct sampling {
    _Atomic uint64_t threshold; /* hashes that draw less are sampled; 0: there are no shadows */
    _Atomic(const struct evict_type *) wanted; /* by auto; NULL: the policy is not auto's to choose */
    pthread_mutex_t lock;                      /* over all that follows; taken last */
    struct shadows *shadows;
    struct evict_auto *autos; /* its candidates are the first of the shadows */
    bool curve;               /* the last of them are the points of the curve */
    uint32_t items;
    unsigned count;
    struct shadow_kind kinds[SHADOWS_MAX];
    uint64_t capacities[SHADOWS_MAX]; /* as last told to the shadows */
    uint64_t built;                   /* how often the shadows were made anew */
    uint64_t reads;                   /* sampled, since the curve's window last aged */
};

struct store {
    struct shard *shards;
    uint32_t shards_len;
    uint32_t shard_shift; /* a hash's top bits choose the shard */
    uint64_t seed;
    unsigned workers;
    _Atomic uint64_t item_max, memory_max, other_bytes;
    _Atomic uint64_t next_cas;
    struct sampling *sampling;
};

struct store_local {
    struct store *store;
    void *owner;      /* for observers */
    uint8_t *scratch; /* for values that an edit reads from the item it replaces */
    size_t scratch_cap;
    struct touch_ring *rings; /* one per shard */
    struct sample_ring samples;
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
