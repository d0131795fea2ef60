/* shard.h - one part of the store: index, log, policy and the lock over them.
 * Private to server/store. All functions want the lock held unless they say
 * otherwise.
 *
 * Arithmetic of memory, per shard:
 *   budget    what the store gives this shard
 *   fixed     index + policy + nodes
 *   capacity  what live items may weigh: budget - fixed - reserve. Who dies is
 *             decided by this number alone, so a simulator with the same
 *             capacity names the same victims.
 *   reserve   room for the log to breathe: the open and half-eaten segments,
 *             and dead bytes waiting for compaction. Policies that kill all
 *             over the log need more of it than those that eat it from one end,
 *             and when overwrites and deletes make compaction dear all need more.
 *   limit     segments in use at most: (budget - fixed - blobs) / segment */
#ifndef CORRAL_SHARD_H
#define CORRAL_SHARD_H

#include <pthread.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/store/index.h"
#include "server/store/segment.h"

enum {
    TOUCH_RING = 32,        /* hits a worker collects before it tells a linked policy */
    SHARD_SEGMENTS_MIN = 8, /* a shard cannot do with less */
    SEGMENT_FRACTION = 8,   /* a larger share of a segment than 1/8 makes an item a blob */
};

enum wants { WANTS_TOUCHES = 1, WANTS_SAMPLES = 2 };

/* One hit, not yet told to the policy. */
struct touch {
    uint32_t hash_low; /* enough of the hash to find the bucket */
    uint8_t tag;
    item_ref ref;
};
struct touch_ring {
    uint32_t count;
    struct touch touches[TOUCH_RING];
};

/* A compaction under way: `source` is being emptied into `target`. */
struct compaction {
    uint32_t source, source_generation, source_at;
    uint32_t target, target_generation; /* 0: none yet */
    uint32_t left;      /* segments of the run still to do, source included; 0: none under way */
    uint32_t run;       /* segments the run began with: its price per segment won */
    uint32_t looked_at; /* segments in use when a run was last looked for */
};

struct expiry_walk {
    uint32_t segment, generation, at; /* 0: none under way */
    int64_t next_ms;                  /* earliest expiry met so far that is still to come */
    uint32_t seen, freed;
    uint32_t cursor; /* where the search for the next due segment goes on */
};

/* A change of policy under way; see handover.h. */
struct handover_place {
    uint32_t segment, generation;
};
struct handover {
    const struct evict_type *from_type;
    struct evict_policy *from;     /* whose order it is; NULL: that of the log */
    uint64_t *handed;              /* a bit per slot; NULL: none is under way */
    uint64_t left;                 /* items that wait */
    struct handover_place *places; /* of the log when it began, oldest first */
    uint32_t places_len, place, at;
};

struct shard_stats {
    uint64_t evicted, expired, items_total, relocated, compacted, refused, flushes;
    uint64_t items_expiring, blob_items, negatives, negatives_refused;
    struct store_db_count dbs[STORE_DATABASES_MAX]; /* databases from 1 on; 0 has what they leave */
};

/* Databases have hashes of their own, so that a key in each does not make a chain. */
static inline uint64_t key_hash(const void *name, size_t len, uint64_t seed, unsigned db)
{
    return XXH3_64bits_withSeed(name, len, seed + db * UINT64_C(0x9e3779b97f4a7c15));
}

struct shard {
    _Alignas(64) struct index index; /* readers use its shape and regions */
    struct segment_log log;
    _Atomic uint8_t wants; /* enum wants: what readers are to tell of a hit, or a miss */
    uint64_t seed;
    uint32_t log_item_max; /* larger items become blobs */

    _Alignas(64) pthread_mutex_t lock;
    enum evict_scope scope;
    const struct evict_type *type; /* NULL: nothing is evicted */
    struct evict_policy *policy;
    struct evict_host host;
    uint64_t nodes_bytes; /* of host.nodes' reservation */
    bool sampled;         /* shadows want to hear; see sampling.h */
    uint64_t budget, capacity;
    uint64_t weight; /* of live items, blobs included */
    uint64_t blob_bytes;
    uint32_t log_target; /* segments the log may have; log.limit is above it only while it is coming down */
    unsigned slack;      /* 64ths of the room kept free beyond the reserve, because compaction was dear */
    uint32_t calm;       /* segments opened since it last was */
    uint64_t changes;    /* moves on whenever an item is moved or removed */
    instant now;         /* of the call in progress, for callbacks */
    const struct store_observer *observer;
    const struct store_shaper *shaper;
    uint64_t negatives_max;
    struct compaction compaction;
    struct expiry_walk walk;
    struct handover handover;
    struct shard_stats stats;
};

/* An item and where it hangs. */
struct found {
    uint64_t hash;
    struct index_place place;
    item_ref ref; /* 0: not found */
    uint8_t *item;
    struct item_shape shape;
};

bool shard_init(struct shard *s, uint32_t segment_bytes, uint64_t seed);
void shard_destroy(struct shard *s);
/* Sets the budget and works out capacity and limit; evicts nothing by itself. */
void shard_set_budget(struct shard *s, uint64_t budget);
void shard_refresh_budget(struct shard *s); /* after index or policy grew */
/* What live items could weigh under that policy, which takes `overhead` of it for itself. */
uint64_t shard_capacity_with(const struct shard *s, const struct evict_type *type, double overhead);
/* After a change of policy or of s->sampled. */
void shard_say_wants(struct shard *s);
/* From now on another policy decides. It is handed the residents coldest first,
 * slice by slice: see handover.h. One that is still under way is finished first,
 * at once. False: no memory, nothing changed. */
bool shard_set_policy(struct shard *s, enum evict_scope scope, const struct evict_type *type);
void shard_flush(struct shard *s);
void shard_flush_db(struct shard *s, uint8_t db);
void shard_check(struct shard *s);

struct found shard_find(struct shard *s, const struct key *key);
struct found shard_at(struct shard *s, struct index_place place, uint64_t hash);
/* By slot alone; has no home bucket, so it can only be looked at. */
struct found shard_at_slot(struct shard *s, slot_id id);
uint64_t shard_hash_of(const struct shard *s, item_ref ref);
instant shard_expires(const struct shard *s, const struct found *f);
struct item_blob item_blob_of(const struct found *f);
uint64_t shard_weight_of(const struct found *f); /* log bytes + blob bytes */
bool shard_tracks(const struct shard *s, const struct item_shape *shape);
/* Keeps count of an item that has come (1), gone (-1), or whose expiry has. */
static inline void shard_count_db(struct shard *s, uint8_t db, int items, int expiring)
{
    s->stats.items_expiring += (uint64_t)(int64_t)expiring;
    if (db == 0)
        return;
    s->stats.dbs[db].items += (uint64_t)(int64_t)items;
    s->stats.dbs[db].expiring += (uint64_t)(int64_t)expiring;
}
static inline bool item_is_negative(uint32_t meta)
{
    return (meta & (ITEM_NEGATIVE | ITEM_PENDING)) == ITEM_NEGATIVE;
}
static inline void shard_count_negative(struct shard *s, bool before, bool after)
{
    s->stats.negatives += (uint64_t)((int64_t)after - before);
}
/* Tells the observer, if there is one. */
static inline void shard_tell(struct shard *s, void *by, uint8_t db, struct slice name,
                              enum store_change change)
{
    if (__builtin_expect(s->observer != NULL, 0))
        s->observer->changed(s->observer->arg, by, db, name, change);
}
static inline void shard_tell_lease_lost(struct shard *s, uint8_t db, struct slice name)
{
    if (s->observer != NULL && s->observer->lease_lost != NULL)
        s->observer->lease_lost(s->observer->arg, db, name);
}
/* Of one that went by itself. That something pending did changes nothing for anybody who reads. */
static inline void shard_tell_of(struct shard *s, const struct found *f, enum store_change change)
{
    struct slice name = {f->item + f->shape.key_at, f->shape.key_len};

    if (f->shape.meta & ITEM_PENDING)
        shard_tell_lease_lost(s, item_db(&f->shape), name);
    else
        shard_tell(s, NULL, item_db(&f->shape), name, change);
}

/* Removes an item for good. */
void shard_drop(struct shard *s, const struct found *f, enum evict_reason why);
/* Moves an item to room that was just made for it at `to`. */
void shard_relocate(struct shard *s, const struct found *f, item_ref to);
/* Evicts one item. False when the policy can name none. */
bool shard_evict_one(struct shard *s);
/* Evicts until `weight` more fits. False when it cannot. Of what a lowered limit
 * left over, one call works off only a part: the rest is for the calls after it
 * and for store_tick(). */
bool shard_make_room(struct shard *s, uint64_t weight);
/* Room in the log at the newest end of `queue`, compacting or evicting as it must. 0: cannot. */
item_ref shard_append(struct shard *s, unsigned queue, uint32_t size);
/* The same when that cannot, in a segment over the limit; the next tick works it off. 0: out of memory. */
item_ref shard_append_beyond(struct shard *s, unsigned queue, uint32_t size);
/* Gives segments back until no more than the limit are in use, as far as possible. */
void shard_fit_segments(struct shard *s);
/* Whether the item's expiry can be said in that segment's terms. */
bool shard_expiry_fits(const struct shard *s, const struct found *f, uint32_t segment);
/* Compaction is dear: keep more room for it from now on, until all is calm again. */
void shard_give_slack(struct shard *s);
/* Gives a little of the memory that a shrunken index left over back. True if there was some. */
bool shard_trim_index(struct shard *s);
/* Tells the policy of a hit. */
void shard_touch(struct shard *s, slot_id id, const struct item_shape *shape);
/* Tells the policy about hits that a worker collected. */
void shard_drain_touches(struct shard *s, struct touch_ring *ring);

/* ---- compact.c ---- */
/* Pays for `appended` bytes that are about to be appended: starts a compaction
 * when free segments run low, and works off its share of the one under way. */
void compact_step(struct shard *s, uint32_t appended);
/* Compacts until one more segment is free. False when no run of segments has one to give. */
bool compact_one(struct shard *s);
/* Ends the compaction under way if it involves this segment, or in any case if segment is 0. */
void compact_forget(struct shard *s, uint32_t segment);

/* ---- expiry.c ---- */
/* Sweeps expired items, about `items` of them at most. True while segments are due now. */
bool expiry_step(struct shard *s, uint32_t items);

/* ---- evict_host.c ---- */
void evict_host_init(struct shard *s);
slot_id shard_slot_of_id(struct shard *s, evict_id id, struct found *f);

#endif
