/* list.h - lists threaded through the nodes of a replay.
 *
 * Found instead of server/evict/list.h where a policy is compiled into a replay
 * (replay_compiled.c): the same functions, but the links of a node are its two
 * halves, so that a neighbour is written without being read first, and marks
 * have an array of their own that lies before the nodes, backwards:
 *
 *   ... mark[2] mark[1] mark[0] | next:32 prev:32 | next:32 prev:32 | ...
 *                               ^ nodes */
#ifndef CORRAL_EVICT_LIST_H
#define CORRAL_EVICT_LIST_H

#include "bench/replay_host.h"

/* head is the newest (or hottest) end, tail the oldest. */
struct evict_list {
    evict_id head, tail;
    uint64_t count;
    uint64_t weight;
};

struct __attribute__((may_alias)) list_links {
    evict_id next, prev;
};

REPLAY_INLINE struct list_links *list_links(uint64_t *nodes, evict_id id)
{
    return (struct list_links *)(void *)&nodes[id];
}
REPLAY_INLINE evict_id node_next(const uint64_t *nodes, evict_id id)
{
    return ((const struct list_links *)(const void *)&nodes[id])->next;
}
REPLAY_INLINE evict_id node_prev(const uint64_t *nodes, evict_id id)
{
    return ((const struct list_links *)(const void *)&nodes[id])->prev;
}
REPLAY_INLINE uint8_t node_mark(const uint64_t *nodes, evict_id id)
{
    return *replay_mark(nodes, id);
}
REPLAY_INLINE void node_set_next(uint64_t *nodes, evict_id id, evict_id next)
{
    list_links(nodes, id)->next = next;
}
REPLAY_INLINE void node_set_prev(uint64_t *nodes, evict_id id, evict_id prev)
{
    list_links(nodes, id)->prev = prev;
}
REPLAY_INLINE void node_set_mark(uint64_t *nodes, evict_id id, uint8_t mark)
{
    *replay_mark(nodes, id) = mark;
}

REPLAY_INLINE void list_push_head(struct evict_list *l, uint64_t *nodes, evict_id id, uint32_t weight)
{
    evict_id head = l->head;

    *list_links(nodes, id) = (struct list_links){head, EVICT_NOBODY};
    if (head != EVICT_NOBODY)
        node_set_prev(nodes, head, id);
    else
        l->tail = id;
    l->head = id;
    l->count++;
    l->weight += weight;
}

REPLAY_INLINE void list_remove(struct evict_list *l, uint64_t *nodes, evict_id id, uint32_t weight)
{
    struct list_links links = *list_links(nodes, id);

    if (links.prev != EVICT_NOBODY)
        node_set_next(nodes, links.prev, links.next);
    else
        l->head = links.next;
    if (links.next != EVICT_NOBODY) {
        node_set_prev(nodes, links.next, links.prev);
    } else {
        l->tail = links.prev;
        __builtin_prefetch(&nodes[node_prev(nodes, links.prev)], 1);
    }
    l->count--;
    l->weight -= weight;
}

REPLAY_INLINE void list_rename(struct evict_list *l, uint64_t *nodes, evict_id from, evict_id to)
{
    (void)l, (void)nodes, (void)from, (void)to;
    CHECK_UNREACHABLE(); /* a replay's ids are keys */
}

static inline void list_each_tail_first(const struct evict_list *l, const uint64_t *nodes,
                                        void (*visit)(void *arg, evict_id id), void *arg)
{
    for (evict_id id = l->tail, prev; id != EVICT_NOBODY; id = prev) {
        prev = node_prev(nodes, id);
        visit(arg, id);
    }
}

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
