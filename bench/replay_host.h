/* replay_host.h - the host behind a replayed policy: arrays by key.
 *
 * For replay.c, which runs any policy through its evict_type, and for
 * replay_compiled.c, which is built once per policy with that policy's source in
 * it. What calls a policy takes the type as an argument: where that is a constant
 * they are plain calls, which can be inlined, and so are the host's answers.
 *
 * Rules: (1) the id of an item is its key and never changes; (2) held weight
 * is at most the capacity after every call; (3) what a policy does not use
 * (nodes, queues, the list of residents) is not kept, so that the time
 * measured is the policy's. */
#ifndef CORRAL_BENCH_REPLAY_HOST_H
#define CORRAL_BENCH_REPLAY_HOST_H

#include "bench/replay.h"
#include "server/check.h"

#define REPLAY_INLINE static inline __attribute__((always_inline, unused))

/* A byte for each key tells nearly all that a hit needs to know. */
enum { REPLAY_HITS = 3, REPLAY_QUEUE = 4, REPLAY_RESIDENT = 8 };
_Static_assert((int)REPLAY_HITS == (int)EVICT_HITS_MAX && (int)EVICT_QUEUES_MAX == 2, "they fit");

struct replay_link {
    uint32_t newer, older; /* neighbours in the queue */
};

struct replay_queue {
    uint32_t newest, oldest;
};

/* A policy that is built into a loop of its own; see replay_compiled.c. */
struct replay_compiled {
    const struct evict_type *type; /* the same source, ghosts by key instead of by fingerprint */
    bool mixes;                    /* its hash of a key is replay_mix(key), else the key */
    /* Asks for n keys; weights are 1, or with `weighted` the sizes. With sizes
     * what was missed of them is added to *missed_bytes. The number of misses. */
    uint64_t (*many)(struct replay *, const uint32_t *keys, const uint32_t *sizes, size_t n, bool weighted,
                     uint64_t *missed_bytes);
};

struct replay {
    const struct evict_type *type;
    const struct replay_compiled *compiled; /* NULL: the type is the server's own */
    struct evict_policy *policy;
    struct evict_host host;
    uint8_t *nodes_block; /* host.nodes; where compiled, behind the marks (bench/dense/server/evict/list.h) */
    uint64_t capacity, held, evicted;
    uint32_t unique;
    uint8_t *state;            /* by key */
    uint32_t *weights;         /* by key; NULL: all are 1 */
    struct replay_link *links; /* by key; NULL: the policy has no queues */
    struct replay_queue queues[EVICT_QUEUES_MAX];
    /* For any(): the residents in no order, and where each of them is. */
    uint32_t *residents, *place;
    uint32_t resident_count;
    uint32_t *ghosts;        /* by key, for bench/dense/; NULL: not compiled */
    unsigned ghost_lists;    /* that share it */
    uint32_t *next_use;      /* by key; NULL: nobody knows the future */
    int64_t *expires;        /* by key; NULL: nothing does */
    const uint64_t *hashes;  /* by key, not ours; NULL: replay_mix() */
    struct shadows *shadows; /* replay_auto's; NULL for a fixed policy */
    struct evict_auto *autos;
    int64_t now;
    void (*watcher)(void *arg, uint32_t victim);
    void *watcher_arg;
};

/* By this thread, in its policy's create(). */
extern _Thread_local struct replay *replay_being_made;

REPLAY_INLINE uint64_t replay_mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * UINT64_C(0x7FB5D329728EA185);
    x = (x ^ (x >> 27)) * UINT64_C(0x81DADEF4BC2DD44D);
    return x ^ (x >> 33);
}

/* Where compiled: the mark that belongs to a node. */
REPLAY_INLINE uint8_t *replay_mark(const uint64_t *nodes, evict_id id)
{
    return (uint8_t *)(uintptr_t)nodes - 1 - id;
}

/* ---- what a policy asks ---- */

REPLAY_INLINE void host_enqueue(struct replay *r, uint32_t id, unsigned queue)
{
    struct replay_queue *q = &r->queues[queue];
    struct replay_link *link = &r->links[id];

    r->state[id] =
        (uint8_t)((r->state[id] & (REPLAY_RESIDENT | REPLAY_HITS)) | (queue != 0 ? REPLAY_QUEUE : 0));
    link->newer = EVICT_NOBODY;
    link->older = q->newest;
    if (q->newest != EVICT_NOBODY)
        r->links[q->newest].newer = id;
    else
        q->oldest = id;
    q->newest = id;
}

REPLAY_INLINE unsigned host_queue_of(const struct replay *r, uint32_t id)
{
    return (r->state[id] & REPLAY_QUEUE) != 0;
}

REPLAY_INLINE void host_dequeue(struct replay *r, uint32_t id)
{
    const struct replay_link *link = &r->links[id];
    struct replay_queue *q = &r->queues[host_queue_of(r, id)];

    if (link->newer != EVICT_NOBODY)
        r->links[link->newer].older = link->older;
    else
        q->newest = link->older;
    if (link->older != EVICT_NOBODY)
        r->links[link->older].newer = link->newer;
    else
        q->oldest = link->newer;
}

REPLAY_INLINE evict_id host_oldest(struct replay *r, unsigned queue)
{
    uint32_t oldest = r->queues[queue].oldest, next = r->links[oldest].newer;

    __builtin_prefetch(&r->links[next], 1); /* it will be looked at next */
    __builtin_prefetch(&r->state[next], 1);
    return oldest;
}

REPLAY_INLINE unsigned host_hits(const struct replay *r, evict_id id)
{
    return r->state[id] & REPLAY_HITS;
}

REPLAY_INLINE void host_set_hits(struct replay *r, evict_id id, unsigned hits)
{
    r->state[id] = (uint8_t)((r->state[id] & (REPLAY_RESIDENT | REPLAY_QUEUE)) | (int)hits);
}

REPLAY_INLINE void host_requeue(struct replay *r, evict_id id, unsigned queue, unsigned hits)
{
    host_dequeue(r, id);
    host_enqueue(r, id, queue);
    host_set_hits(r, id, hits);
}

REPLAY_INLINE uint32_t host_weight(const struct replay *r, evict_id id)
{
    return r->weights != NULL ? r->weights[id] : 1;
}

REPLAY_INLINE int64_t host_expires(const struct replay *r, evict_id id)
{
    return r->expires != NULL && r->expires[id] != 0 ? r->expires[id] : INT64_MAX;
}

REPLAY_INLINE evict_id host_any(const struct replay *r, uint64_t dice)
{
    if (r->resident_count == 0)
        return EVICT_NOBODY;
    return r->residents[((dice >> 32) * r->resident_count) >> 32];
}

/* Where ghosts are arrays by key, a key's hash is the key. */
#ifdef EVICT_HOST_INLINED
static inline uint64_t host_hash(const struct replay *r, uint32_t key);
#else
REPLAY_INLINE uint64_t host_hash(const struct replay *r, uint32_t key)
{
    if (r->compiled != NULL)
        return r->compiled->mixes ? replay_mix(key) : key;
    return r->hashes != NULL ? r->hashes[key] : replay_mix(key);
}
#endif

/* Does it keep queues for the policy? Where the policy may change, always. */
REPLAY_INLINE bool host_has_queues(const struct replay *r, const struct evict_type *type)
{
#ifdef EVICT_HOST_INLINED
    (void)r;
    return type->queues > 0;
#else
    (void)type;
    return r->links != NULL;
#endif
}

REPLAY_INLINE bool host_has_list(const struct replay *r, const struct evict_type *type)
{
#ifdef EVICT_HOST_INLINED
    (void)r;
    return type->queues == 0 && !type->linked;
#else
    (void)type;
    return r->residents != NULL;
#endif
}

/* ---- what becomes of a request ---- */

REPLAY_INLINE void replay_leave(struct replay *r, const struct evict_type *type, uint32_t key,
                                enum evict_reason why)
{
    uint32_t weight = host_weight(r, key);

    CHECK(r->state[key] & REPLAY_RESIDENT);
    type->gone(r->policy, key, host_hash(r, key), weight, host_queue_of(r, key), why);
    if (host_has_queues(r, type))
        host_dequeue(r, key);
    if (host_has_list(r, type)) {
        uint32_t last = r->residents[--r->resident_count];

        r->residents[r->place[key]] = last;
        r->place[last] = r->place[key];
    }
    if (type->linked && r->compiled != NULL)
        *replay_mark(r->host.nodes, key) = 0;
    r->held -= weight;
    r->state[key] = 0;
}

REPLAY_INLINE void replay_make_room(struct replay *r, const struct evict_type *type, uint32_t weight)
{
    while (r->held + weight > r->capacity) {
        evict_id id = type->victim(r->policy);

        CHECK(id != EVICT_NOBODY);
        replay_leave(r, type, id, EVICT_EVICTED);
        r->evicted++;
        if (r->watcher != NULL)
            r->watcher(r->watcher_arg, id);
    }
}

REPLAY_INLINE void replay_enter(struct replay *r, const struct evict_type *type, uint32_t key,
                                uint32_t weight)
{
    unsigned queue = type->arriving(r->policy, host_hash(r, key), weight);

    replay_make_room(r, type, weight);
    r->state[key] = REPLAY_RESIDENT;
    if (r->weights != NULL)
        r->weights[key] = weight;
    if (host_has_queues(r, type))
        host_enqueue(r, key, queue);
    if (host_has_list(r, type)) {
        r->place[key] = r->resident_count;
        r->residents[r->resident_count++] = key;
    }
    r->held += weight;
    type->admitted(r->policy, key, host_hash(r, key), weight, queue);
}

REPLAY_INLINE void replay_resize(struct replay *r, const struct evict_type *type, uint32_t key,
                                 uint32_t weight)
{
    uint32_t before = r->weights[key];

    r->weights[key] = weight;
    r->held = r->held - before + weight;
    if (type->resized != NULL)
        type->resized(r->policy, key, before, weight, host_queue_of(r, key));
    replay_make_room(r, type, 0);
}

/* True on a hit. With `weighted` false every weight is 1. */
REPLAY_INLINE bool replay_ask(struct replay *r, const struct evict_type *type, uint32_t key, uint32_t weight,
                              bool weighted)
{
    uint8_t state = r->state[key];

    if ((state & REPLAY_RESIDENT) == 0) {
        if (weight <= r->capacity)
            replay_enter(r, type, key, weight);
        return false;
    }
    if (type->wants_hits && (state & REPLAY_HITS) < EVICT_HITS_MAX)
        r->state[key] = (uint8_t)(state + 1);
    if (type->touched != NULL)
        type->touched(r->policy, key);
    if (weighted && r->weights[key] != weight)
        replay_resize(r, type, key, weight);
    return true;
}

#endif
