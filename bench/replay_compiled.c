/* replay_compiled.c - a policy and its host in one piece.
 *
 * Built once for each row of server/evict/policies.def, with -DPOLICY=lru and
 * -DPOLICY_SOURCE='"server/evict/lru.c"'. The source is the server's, to the letter;
 * what differs is what is around it: calls between policy and host are inlined, and
 * ghosts are arrays by key (bench/dense/ comes first where headers are looked for).
 * tests/unit/bench/test_replay_compiled.c compares the victims of both, one by one.
 *
 * Keys to come are known in a trace, so all that is kept by key is fetched ahead:
 * in a large cache waiting for memory would be most of the time. */
#define EVICT_HOST_INLINED
#include "bench/replay_host.h"

#include <stddef.h>

REPLAY_INLINE struct replay *replay_of(const struct evict_host *host)
{
    return (struct replay *)(uintptr_t)((const char *)host - offsetof(struct replay, host));
}
REPLAY_INLINE evict_id evict_host_oldest(const struct evict_host *host, unsigned queue)
{
    return host_oldest(replay_of(host), queue);
}
REPLAY_INLINE void evict_host_requeue(const struct evict_host *host, evict_id id, unsigned queue,
                                      unsigned hits)
{
    host_requeue(replay_of(host), id, queue, hits);
}
REPLAY_INLINE unsigned evict_host_hits(const struct evict_host *host, evict_id id)
{
    return host_hits(replay_of(host), id);
}
REPLAY_INLINE void evict_host_set_hits(const struct evict_host *host, evict_id id, unsigned hits)
{
    host_set_hits(replay_of(host), id, hits);
}
REPLAY_INLINE uint32_t evict_host_weight(const struct evict_host *host, evict_id id)
{
    return host_weight(replay_of(host), id);
}
REPLAY_INLINE int64_t evict_host_expires(const struct evict_host *host, evict_id id)
{
    return host_expires(replay_of(host), id);
}
REPLAY_INLINE uint64_t evict_host_hash(const struct evict_host *host, evict_id id)
{
    return host_hash(replay_of(host), id);
}
REPLAY_INLINE evict_id evict_host_any(const struct evict_host *host, uint64_t dice)
{
    return host_any(replay_of(host), dice);
}

/* The build renames the type as well: the server's is in the program, too. */
#define JOIN_(a, b)               a##b
#define JOIN(a, b)                JOIN_(a, b)
#define TYPE                      JOIN(compiled_, POLICY)
#define evict_wtinylfu_doorkeeper compiled_wtinylfu_doorkeeper
#include POLICY_SOURCE

#include "server/evict/list.h"

/* Ghosts know a key by its number; a sketch (wtinylfu) must have it mixed. */
#ifdef CORRAL_FILTER_SKETCH_H
enum { MIXES = true };
#else
enum { MIXES = false };
#endif

static inline uint64_t host_hash(const struct replay *r, uint32_t key)
{
    (void)r;
    return MIXES ? replay_mix(key) : key;
}

/* In two steps: what is kept by key, then, when that is there, the neighbours in a
 * list (see list.h; a node that holds something else leads to some other address,
 * which does no harm). */
REPLAY_INLINE void fetch_ahead(const struct replay *r, uint32_t far, uint32_t near)
{
    uint64_t *nodes = r->host.nodes;

    __builtin_prefetch(&r->state[far], 1);
    if (TYPE.linked) {
        __builtin_prefetch(&nodes[far], 1);
        __builtin_prefetch(replay_mark(nodes, far), 1);
        __builtin_prefetch(&nodes[node_prev(nodes, near)], 1);
        __builtin_prefetch(&nodes[node_next(nodes, near)], 1);
    }
    if (TYPE.queues > 0)
        __builtin_prefetch(&r->links[far], 1);
#if defined(CORRAL_EVICT_GHOST_H) || defined(CORRAL_EVICT_PRINTS_H)
    __builtin_prefetch(&r->ghosts[far], 1);
#endif
#ifdef CORRAL_EVICT_STAMPS_H
    __builtin_prefetch(stamps_at(r->policy->stamps, far), 1);
#endif
#ifdef CORRAL_FILTER_SKETCH_H
    __builtin_prefetch(block_of(r->policy->sketch, replay_mix(far)), 1);
#endif
}

/* For the last few, so that the loop need not ask whether there is anything ahead. */
static __attribute__((noinline)) bool ask_one(struct replay *r, uint32_t key, uint32_t weight, bool weighted)
{
    return replay_ask(r, &TYPE, key, weight, weighted);
}

REPLAY_INLINE uint64_t ask_many(struct replay *r, const uint32_t *keys, const uint32_t *sizes, size_t n,
                                bool weighted, uint64_t *missed_bytes)
{
    enum { NEAR = 8, FAR = 20 };
    uint64_t misses = 0, missed = 0;
    size_t i = 0;

    for (; i + FAR < n; i++) {
        uint32_t size = sizes != NULL ? sizes[i] : 0;
        bool hit;

        fetch_ahead(r, keys[i + FAR], keys[i + NEAR]);
        hit = replay_ask(r, &TYPE, keys[i], weighted ? size : 1, weighted);
        misses += !hit;
        missed += hit ? 0 : size;
    }
    for (; i < n; i++) {
        uint32_t size = sizes != NULL ? sizes[i] : 0;
        bool hit = ask_one(r, keys[i], weighted ? size : 1, weighted);

        misses += !hit;
        missed += hit ? 0 : size;
    }
    *missed_bytes += missed;
    return misses;
}

static uint64_t many(struct replay *r, const uint32_t *keys, const uint32_t *sizes, size_t n, bool weighted,
                     uint64_t *missed_bytes)
{
    if (weighted)
        return ask_many(r, keys, sizes, n, true, missed_bytes);
    if (sizes != NULL)
        return ask_many(r, keys, sizes, n, false, missed_bytes);
    return ask_many(r, keys, NULL, n, false, missed_bytes);
}

extern const struct replay_compiled JOIN(replay_compiled_, POLICY);
const struct replay_compiled JOIN(replay_compiled_, POLICY) = {.type = &TYPE, .mixes = MIXES, .many = many};
