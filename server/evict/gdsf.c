/* gdsf.c - greedy dual, size and frequency: what gives the fewest hits for its
 * bytes dies. After Cherkasova, "Improving WWW proxies performance with
 * greedy-dual-size-frequency caching policy", 1998.
 *
 * Rules: (1) an item's priority is L + uses / weight, its arrival being the
 * first use, and L the priority of the last victim; it is computed at each use
 * and when the weight changes. (2) The victim has the lowest priority, among
 * equals the one whose was computed longest ago. (3) Uses stop at 255.
 *
 * It aims at few misses, not at few missed bytes: a large object needs many
 * hits to stay. Priorities are whole numbers in units of 2^-24, so they are the
 * same on every machine; 64 bits are enough for 2^32 evictions of the worst
 * kind.
 *
 *   node: | place in the heap: 28 | 0: 28 | uses: 8 |, or as in list.h, uses 0
 *
 * A heap as in ttl.c, but of four ways: half as deep, and siblings share a cache
 * line or two (in a replay of 100,000 items 43 ns a request instead of 50). 16 bytes
 * an item beside the node. Where it cannot grow, newcomers wait in a list outside it,
 * die first, and enter when a place is free. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

enum { HEAP_MIN = 64, USES_MAX = 255, UNIT_BITS = 24, WAYS = 4 };

struct entry {
    uint64_t priority;
    uint32_t when; /* orders equals; wraps, which at worst misorders a few of them */
    evict_id id;
};

struct evict_policy {
    const struct evict_host *host;
    uint64_t age; /* L */
    uint32_t now;
    uint32_t count, size; /* of the heap */
    struct entry *heap;
    struct evict_list waiting;
};

static struct evict_policy *gdsf_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    (void)config;
    if (p != NULL)
        p->host = host;
    return p;
}

static void gdsf_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    free(p->heap);
    free(p);
}

static bool is_less(const struct entry *a, const struct entry *b)
{
    return a->priority < b->priority || (a->priority == b->priority && (int32_t)(a->when - b->when) < 0);
}

static void heap_set(struct evict_policy *p, uint32_t place, struct entry e)
{
    p->heap[place] = e;
    node_set_next(p->host->nodes, e.id, place);
}

/* Up while it is less than its parent, else down while a child is less. */
static void settle(struct evict_policy *p, uint32_t place, struct entry e)
{
    while (place > 0 && is_less(&e, &p->heap[(place - 1) / WAYS])) {
        heap_set(p, place, p->heap[(place - 1) / WAYS]);
        place = (place - 1) / WAYS;
    }
    for (uint32_t child; (child = WAYS * place + 1) < p->count; place = child) {
        uint32_t end = child + WAYS < p->count ? child + WAYS : p->count;

        for (uint32_t other = child + 1; other < end; other++)
            child = is_less(&p->heap[other], &p->heap[child]) ? other : child;
        if (!is_less(&p->heap[child], &e))
            break;
        heap_set(p, place, p->heap[child]);
    }
    heap_set(p, place, e);
}

/* Puts an item that was used so often where it belongs now. */
static void file_under(struct evict_policy *p, uint32_t place, evict_id id, uint8_t uses, uint32_t weight)
{
    uint64_t worth = ((uint64_t)uses << UNIT_BITS) / (weight > 0 ? weight : 1);

    node_set_mark(p->host->nodes, id, uses);
    settle(p, place, (struct entry){p->age + worth, p->now++, id});
}

static void heap_add(struct evict_policy *p, evict_id id, uint32_t weight)
{
    p->host->nodes[id] = 0;
    p->count++;
    file_under(p, p->count - 1, id, 1, weight);
}

static void heap_remove(struct evict_policy *p, uint32_t place)
{
    struct entry last = p->heap[--p->count];

    if (place < p->count)
        settle(p, place, last);
}

/* false when the heap is full and memory is short. */
static bool make_room(struct evict_policy *p)
{
    uint32_t size = p->size < HEAP_MIN ? HEAP_MIN : p->size + p->size / 2;
    struct entry *heap;

    if (p->count < p->size)
        return true;
    heap = realloc(p->heap, size * sizeof(heap[0]));
    if (heap == NULL)
        return false;
    p->heap = heap;
    p->size = size;
    return true;
}

static bool in_heap(const struct evict_policy *p, evict_id id)
{
    return node_mark(p->host->nodes, id) > 0;
}

static unsigned gdsf_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void gdsf_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    (void)hash, (void)queue;
    if (make_room(p))
        heap_add(p, id, weight);
    else
        list_push_head(&p->waiting, p->host->nodes, id, weight);
}

static void gdsf_touched(struct evict_policy *p, evict_id id)
{
    uint8_t uses = node_mark(p->host->nodes, id);

    if (uses > 0)
        file_under(p, node_next(p->host->nodes, id), id, uses < USES_MAX ? (uint8_t)(uses + 1) : uses,
                   evict_host_weight(p->host, id));
}

static evict_id gdsf_victim(struct evict_policy *p)
{
    if (p->waiting.count > 0)
        return p->waiting.tail;
    if (p->count == 0)
        return EVICT_NOBODY;
    p->age = p->heap[0].priority;
    return p->heap[0].id;
}

static void gdsf_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                      enum evict_reason why)
{
    uint64_t *nodes = p->host->nodes;

    (void)hash, (void)queue, (void)why;
    if (in_heap(p, id))
        heap_remove(p, node_next(nodes, id));
    else
        list_remove(&p->waiting, nodes, id, weight);
    nodes[id] = 0;
    if (p->waiting.count > 0 && p->count < p->size) {
        id = p->waiting.tail;
        weight = evict_host_weight(p->host, id);
        list_remove(&p->waiting, nodes, id, weight);
        heap_add(p, id, weight);
    }
}

static void gdsf_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    (void)queue;
    if (in_heap(p, id))
        file_under(p, node_next(p->host->nodes, id), id, node_mark(p->host->nodes, id), now);
    else
        p->waiting.weight = p->waiting.weight - before + now;
}

static void gdsf_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    uint64_t *nodes = p->host->nodes;

    if (!in_heap(p, from)) {
        list_rename(&p->waiting, nodes, from, to);
        return;
    }
    nodes[to] = nodes[from];
    nodes[from] = 0;
    p->heap[node_next(nodes, to)].id = to;
}

static void gdsf_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

/* Sorts the heap where it is, as ttl.c does: an ascending array is a heap. */
static void heap_sort(struct evict_policy *p)
{
    uint32_t count = p->count;

    while (p->count > 1) {
        struct entry least = p->heap[0];

        heap_remove(p, 0);
        heap_set(p, p->count, least);
    }
    p->count = count;
    for (uint32_t i = 0, j = count; i + 1 < j; i++) {
        struct entry swapped = p->heap[i];

        j--;
        heap_set(p, i, p->heap[j]);
        heap_set(p, j, swapped);
    }
}

static void gdsf_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    heap_sort(p);
    list_each_tail_first(&p->waiting, p->host->nodes, visit, arg);
    for (uint32_t i = 0; i < p->count; i++)
        visit(arg, p->heap[i].id);
}

static size_t gdsf_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + p->size * sizeof(p->heap[0]);
}

static void gdsf_check(const struct evict_policy *p)
{
    CHECK(p->count <= p->size);
    for (uint32_t i = 0; i < p->count; i++) {
        CHECK(in_heap(p, p->heap[i].id));
        CHECK(node_next(p->host->nodes, p->heap[i].id) == i);
        CHECK(i == 0 || !is_less(&p->heap[i], &p->heap[(i - 1) / WAYS]));
    }
    list_check(&p->waiting, p->host);
}

const struct evict_type evict_gdsf = {
    .name = "gdsf",
    .linked = true,
    .create = gdsf_create,
    .destroy = gdsf_destroy,
    .arriving = gdsf_arriving,
    .admitted = gdsf_admitted,
    .touched = gdsf_touched,
    .victim = gdsf_victim,
    .gone = gdsf_gone,
    .resized = gdsf_resized,
    .moved = gdsf_moved,
    .set_capacity = gdsf_set_capacity,
    .each_cold_first = gdsf_each_cold_first,
    .bytes = gdsf_bytes,
    .check = gdsf_check,
};
