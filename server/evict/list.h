/* list.h - doubly linked lists threaded through the host's nodes.
 *
 * A node is one word: next:28 | prev:28 | mark:8. The mark is the policy's
 * own (which list, what frequency). 8 bytes an item is what exact order costs
 * us, and 2^28 ids per shard is more than a shard's memory can hold. */
#ifndef CORRAL_EVICT_LIST_H
#define CORRAL_EVICT_LIST_H

#include "server/evict/evict.h"
#include "server/check.h"

#define EVICT_LINK_BITS 28
#define EVICT_LINK_MASK ((UINT64_C(1) << EVICT_LINK_BITS) - 1)

/* head is the newest (or hottest) end, tail the oldest. */
struct evict_list {
    evict_id head, tail;
    uint64_t count;
    uint64_t weight;
};

static inline evict_id node_next(const uint64_t *nodes, evict_id id)
{
    return (evict_id)(nodes[id] & EVICT_LINK_MASK);
}
static inline evict_id node_prev(const uint64_t *nodes, evict_id id)
{
    return (evict_id)((nodes[id] >> EVICT_LINK_BITS) & EVICT_LINK_MASK);
}
static inline uint8_t node_mark(const uint64_t *nodes, evict_id id)
{
    return (uint8_t)(nodes[id] >> (2 * EVICT_LINK_BITS));
}
static inline void node_set_next(uint64_t *nodes, evict_id id, evict_id next)
{
    nodes[id] = (nodes[id] & ~EVICT_LINK_MASK) | next;
}
static inline void node_set_prev(uint64_t *nodes, evict_id id, evict_id prev)
{
    nodes[id] = (nodes[id] & ~(EVICT_LINK_MASK << EVICT_LINK_BITS)) | ((uint64_t)prev << EVICT_LINK_BITS);
}
static inline void node_set_mark(uint64_t *nodes, evict_id id, uint8_t mark)
{
    nodes[id] = (nodes[id] & ((UINT64_C(1) << (2 * EVICT_LINK_BITS)) - 1)) |
                ((uint64_t)mark << (2 * EVICT_LINK_BITS));
}

/* next points towards the tail, prev towards the head. */
static inline void list_push_head(struct evict_list *l, uint64_t *nodes, evict_id id, uint32_t weight)
{
    node_set_prev(nodes, id, EVICT_NOBODY);
    node_set_next(nodes, id, l->head);
    if (l->head != EVICT_NOBODY)
        node_set_prev(nodes, l->head, id);
    else
        l->tail = id;
    l->head = id;
    l->count++;
    l->weight += weight;
}

static inline void list_remove(struct evict_list *l, uint64_t *nodes, evict_id id, uint32_t weight)
{
    evict_id next = node_next(nodes, id), prev = node_prev(nodes, id);

    if (prev != EVICT_NOBODY)
        node_set_next(nodes, prev, next);
    else
        l->head = next;
    if (next != EVICT_NOBODY) {
        node_set_prev(nodes, next, prev);
    } else {
        l->tail = prev;
        /* The next to leave; its neighbour will be written then. */
        __builtin_prefetch(&nodes[node_prev(nodes, prev)], 1);
    }
    l->count--;
    l->weight -= weight;
}

/* The item known as `from` is now `to`; nodes[to] takes over the whole word. */
static inline void list_rename(struct evict_list *l, uint64_t *nodes, evict_id from, evict_id to)
{
    evict_id next = node_next(nodes, from), prev = node_prev(nodes, from);

    nodes[to] = nodes[from];
    nodes[from] = 0;
    if (prev != EVICT_NOBODY)
        node_set_next(nodes, prev, to);
    else
        l->head = to;
    if (next != EVICT_NOBODY)
        node_set_prev(nodes, next, to);
    else
        l->tail = to;
}

/* Visits from the old end. A visit may overwrite the nodes visited so far, as
 * it does when the items are handed to another policy on the way. */
static inline void list_each_tail_first(const struct evict_list *l, const uint64_t *nodes,
                                        void (*visit)(void *arg, evict_id id), void *arg)
{
    for (evict_id id = l->tail, prev; id != EVICT_NOBODY; id = prev) {
        prev = node_prev(nodes, id);
        visit(arg, id);
    }
}

/* Walks everything: links agree in both directions, and so do the sums. */
static inline void list_check(const struct evict_list *l, const struct evict_host *host)
{
    uint64_t count = 0, weight = 0;
    evict_id prev = EVICT_NOBODY;

    for (evict_id id = l->head; id != EVICT_NOBODY; id = node_next(host->nodes, id)) {
        CHECK(node_prev(host->nodes, id) == prev);
        CHECK(count < l->count);
        count++;
        weight += evict_host_weight(host, id);
        prev = id;
    }
    CHECK(l->tail == prev);
    CHECK(l->count == count);
    CHECK(l->weight == weight);
}

#endif
