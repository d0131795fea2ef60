/* evict.h - who dies when memory is full.
 *
 * A policy decides; it never touches a value, reads a clock or allocates on a
 * hit. The same object serves traffic in a store shard and replays traces in
 * a simulator: both are an evict_host. Every call on one policy is made under
 * one lock, so policies contain no concurrency.
 *
 * Two shapes of policy share the table:
 *
 *   queue-shaped (fifo, clock, s3fifo): keep no memory per item at all. Order
 *     is the host's: it holds `queues` FIFO queues, and a hit only raises the
 *     item's hit bits (0..3), which the host does without asking the policy.
 *   linked (the others, except random): the host lends one 64-bit node per
 *     id, and the policy threads its lists through them (see list.h).
 *
 * The life of an item, in the only order the host may call:
 *   arriving -> (victim -> gone)* -> admitted -> (touched | resized | moved)* -> gone
 * A host calls victim() only while what it holds plus what arrives is more
 * than the capacity, and must follow it with gone(EVICT_EVICTED) of that id.
 *
 * Weights are bytes in a server and may be 1 per item in a simulator. */
#ifndef CORRAL_EVICT_H
#define CORRAL_EVICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names a resident item to its policy. Linked policies index nodes with it:
 * at most 28 bits. 0 names nobody. For queue-shaped policies it is opaque. */
typedef uint32_t evict_id;
enum { EVICT_NOBODY = 0, EVICT_HITS_MAX = 3, EVICT_QUEUES_MAX = 2 };

enum evict_reason {
    EVICT_EVICTED, /* the policy named it; it may leave a ghost */
    EVICT_REMOVED  /* deleted, expired or flushed; it leaves nothing */
};

/* What a policy may ask of whoever holds the items. */
struct evict_host {
    void *ctx;
    /* The oldest item of a queue, EVICT_NOBODY when it is empty. (queue-shaped) */
    evict_id (*oldest)(void *ctx, unsigned queue);
    /* Moves an item to the newest end of a queue and replaces its hit bits.
     * The item may get another id; the old one is no longer valid. (queue-shaped) */
    void (*requeue)(void *ctx, evict_id id, unsigned queue, unsigned hits);
    /* Hits since the bits were last replaced, at most EVICT_HITS_MAX. */
    unsigned (*hits)(void *ctx, evict_id id);
    void (*set_hits)(void *ctx, evict_id id, unsigned hits);
    /* What the item weighs, as it was told to admitted() or resized(). */
    uint32_t (*weight)(void *ctx, evict_id id);
    /* When it expires, in ms; INT64_MAX for never. (ttl) */
    int64_t (*expires)(void *ctx, evict_id id);
    /* The hash that the item was admitted with. (wtinylfu) */
    uint64_t (*hash)(void *ctx, evict_id id);
    /* Any resident item, uniformly by the dice given; EVICT_NOBODY when there is none. (random) */
    evict_id (*any)(void *ctx, uint64_t dice);
    /* One node per id, never moving, zero for ids not admitted. (linked) */
    uint64_t *nodes;
};

/* How a policy asks. A host that is compiled together with a policy, to have its
 * answers inlined, brings these functions itself (bench/replay_compiled.c). */
#ifndef EVICT_HOST_INLINED
static inline evict_id evict_host_oldest(const struct evict_host *host, unsigned queue)
{
    return host->oldest(host->ctx, queue);
}
static inline void evict_host_requeue(const struct evict_host *host, evict_id id, unsigned queue,
                                      unsigned hits)
{
    host->requeue(host->ctx, id, queue, hits);
}
static inline unsigned evict_host_hits(const struct evict_host *host, evict_id id)
{
    return host->hits(host->ctx, id);
}
static inline void evict_host_set_hits(const struct evict_host *host, evict_id id, unsigned hits)
{
    host->set_hits(host->ctx, id, hits);
}
static inline uint32_t evict_host_weight(const struct evict_host *host, evict_id id)
{
    return host->weight(host->ctx, id);
}
static inline int64_t evict_host_expires(const struct evict_host *host, evict_id id)
{
    return host->expires(host->ctx, id);
}
static inline uint64_t evict_host_hash(const struct evict_host *host, evict_id id)
{
    return host->hash(host->ctx, id);
}
static inline evict_id evict_host_any(const struct evict_host *host, uint64_t dice)
{
    return host->any(host->ctx, dice);
}
#endif

struct evict_policy; /* each policy's own */

struct evict_config {
    uint64_t capacity; /* weight the host means to hold */
    uint64_t seed;     /* of the policy's dice; the same seed makes the same choices */
};

/* One row per policy; see policies.def. Function members that a policy does
 * not need may be NULL where it says so. */
struct evict_type {
    const char *name; /* "s3fifo", as in maxmemory-policy allkeys-s3fifo */
    unsigned queues;  /* how many host queues it uses; 0 for linked and random */
    bool linked;      /* it needs host->nodes */
    bool wants_hits;  /* it reads hit bits, so the host must keep them */

    /* NULL when memory is short. The host struct must outlive the policy. */
    struct evict_policy *(*create)(const struct evict_host *host, const struct evict_config *config);
    void (*destroy)(struct evict_policy *p); /* copes with NULL */

    /* An item is about to come in: consult ghosts, adapt, and say which queue
     * it goes to (0 when the policy has none). Nothing is resident yet. */
    unsigned (*arriving)(struct evict_policy *p, uint64_t hash, uint32_t weight);
    /* It is in. `queue` is where the host put it. */
    void (*admitted)(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue);
    /* So many came from another policy, all at once, with so much weight together, into
     * queue 0 where there is one. NULL for linked policies, which are told of each. */
    void (*adopted)(struct evict_policy *p, uint64_t count, uint64_t weight);
    /* It was hit. NULL: the hit bits say all this policy wants to know. */
    void (*touched)(struct evict_policy *p, evict_id id);
    /* Who dies next. The item stays until gone(). EVICT_NOBODY if none can. */
    evict_id (*victim)(struct evict_policy *p);
    /* It is leaving; the id and the node are still readable during the call. */
    void (*gone)(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                 enum evict_reason why);
    /* It was overwritten by a value of another weight and keeps its place. May be NULL. */
    void (*resized)(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue);
    /* The same item has a new id; the node at `to` is zero. Linked only. */
    void (*moved)(struct evict_policy *p, evict_id from, evict_id to);
    /* Its expiry changed. Only ttl cares; NULL otherwise. */
    void (*expiry_changed)(struct evict_policy *p, evict_id id);
    /* The limit changed. Ghosts shrink at once; residents leave through victim(). */
    void (*set_capacity)(struct evict_policy *p, uint64_t capacity);
    /* Calls visit for every resident of a linked policy, coldest first. NULL otherwise. */
    void (*each_cold_first)(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg);
    /* How often it was used lately, for people to read. Only lfu knows; NULL otherwise. */
    unsigned (*frequency)(const struct evict_policy *p, evict_id id);
    /* Heap bytes it holds: ghosts, sketches, heaps. Counts against maxmemory. */
    size_t (*bytes)(const struct evict_policy *p);
    /* CHECKs its invariants; walks everything. */
    void (*check)(const struct evict_policy *p);
};

/* The row of that name ("lru"), NULL if there is none. Besides the rows there is
 * "wtinylfu-doorkeeper", which is how wtinylfu serves if an option says so. */
const struct evict_type *evict_type_find(const char *name);
/* Row i, NULL past the end. */
const struct evict_type *evict_type_at(size_t i);

#endif
