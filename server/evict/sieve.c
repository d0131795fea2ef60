/* sieve.c - one list that nothing moves in, and a hand that sweeps it.
 *
 * Rules: (1) new items enter at the head; (2) the hand walks from the tail to
 * the head and then starts at the tail again; (3) an item hit since the hand
 * last passed is spared where it stands (moving it would make this a clock),
 * the first that was not is the victim; (4) the hand goes on from the victim's
 * neighbour on the head's side, also when the item under it leaves otherwise.
 *
 * Items leave from the middle, hence links; a hit writes the host's hit bits
 * and nothing else. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

struct evict_policy {
    const struct evict_host *host;
    struct evict_list list;
    evict_id hand; /* the next to be looked at; EVICT_NOBODY: start at the tail */
};

static struct evict_policy *sieve_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    (void)config;
    if (p != NULL)
        p->host = host;
    return p;
}

static void sieve_destroy(struct evict_policy *p)
{
    free(p);
}

static unsigned sieve_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void sieve_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight,
                           unsigned queue)
{
    (void)hash, (void)queue;
    list_push_head(&p->list, p->host->nodes, id, weight);
}

static evict_id sieve_victim(struct evict_policy *p)
{
    const struct evict_host *host = p->host;
    evict_id id = p->hand != EVICT_NOBODY ? p->hand : p->list.tail;

    /* One lap clears every bit; counted, because readers may set bits meanwhile. */
    for (uint64_t left = p->list.count; left > 0; left--) {
        if (evict_host_hits(host, id) == 0)
            break;
        evict_host_set_hits(host, id, 0);
        id = node_prev(host->nodes, id);
        if (id == EVICT_NOBODY)
            id = p->list.tail;
    }
    p->hand = id;
    return id;
}

static void sieve_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                       enum evict_reason why)
{
    (void)hash, (void)queue, (void)why;
    if (p->hand == id)
        p->hand = node_prev(p->host->nodes, id);
    list_remove(&p->list, p->host->nodes, id, weight);
    p->host->nodes[id] = 0;
}

static void sieve_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    (void)id, (void)queue;
    p->list.weight = p->list.weight - before + now;
}

static void sieve_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    if (p->hand == from)
        p->hand = to;
    list_rename(&p->list, p->host->nodes, from, to);
}

static void sieve_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

static void sieve_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    list_each_tail_first(&p->list, p->host->nodes, visit, arg);
}

static size_t sieve_bytes(const struct evict_policy *p)
{
    return sizeof(*p);
}

static void sieve_check(const struct evict_policy *p)
{
    bool hand_found = p->hand == EVICT_NOBODY;

    list_check(&p->list, p->host);
    for (evict_id id = p->list.head; id != EVICT_NOBODY && !hand_found; id = node_next(p->host->nodes, id))
        hand_found = id == p->hand;
    CHECK(hand_found);
}

const struct evict_type evict_sieve = {
    .name = "sieve",
    .linked = true,
    .wants_hits = true,
    .create = sieve_create,
    .destroy = sieve_destroy,
    .arriving = sieve_arriving,
    .admitted = sieve_admitted,
    .victim = sieve_victim,
    .gone = sieve_gone,
    .resized = sieve_resized,
    .moved = sieve_moved,
    .set_capacity = sieve_set_capacity,
    .each_cold_first = sieve_each_cold_first,
    .bytes = sieve_bytes,
    .check = sieve_check,
};
