/* ttl.c - evicts what expires next: it would be the first to go anyway.
 *
 * Rules: (1) a binary heap of ids, the nearest expiry on top; the node of an
 * id holds its place in the heap, so any item can leave or change its expiry
 * in O(log n); (2) items that never expire come last, in no order; (3) the
 * heap grows in admitted(), and where memory is short for that an item waits
 * in a list threaded through the nodes: it dies after those in the heap, and
 * enters the heap when a place is free again.
 *
 *   node: | place: 28 | 0: 28 | IN_HEAP: 8 |  or as in list.h with IN_LIST
 *
 * 12 bytes an item; the expiry itself is read from the host. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

enum { IN_HEAP = 1, IN_LIST = 2 }; /* the node's mark */
enum { HEAP_MIN = 64 };

struct evict_policy {
    const struct evict_host *host;
    evict_id *heap;
    uint32_t count, size;
    struct evict_list waiting;
};

static struct evict_policy *ttl_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    (void)config;
    if (p != NULL)
        p->host = host;
    return p;
}

static void ttl_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    free(p->heap);
    free(p);
}

static int64_t expires(const struct evict_policy *p, evict_id id)
{
    return evict_host_expires(p->host, id);
}

static void heap_set(struct evict_policy *p, uint32_t place, evict_id id)
{
    p->heap[place] = id;
    node_set_next(p->host->nodes, id, place);
}

static void rise(struct evict_policy *p, uint32_t place, evict_id id)
{
    int64_t when = expires(p, id);

    while (place > 0 && expires(p, p->heap[(place - 1) / 2]) > when) {
        heap_set(p, place, p->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_set(p, place, id);
}

static void sink(struct evict_policy *p, uint32_t place, evict_id id)
{
    int64_t when = expires(p, id);

    for (uint32_t child; (child = 2 * place + 1) < p->count; place = child) {
        if (child + 1 < p->count && expires(p, p->heap[child + 1]) < expires(p, p->heap[child]))
            child++;
        if (expires(p, p->heap[child]) >= when)
            break;
        heap_set(p, place, p->heap[child]);
    }
    heap_set(p, place, id);
}

/* Puts an id where its expiry belongs, starting at a place that is free. */
static void settle(struct evict_policy *p, uint32_t place, evict_id id)
{
    if (place > 0 && expires(p, p->heap[(place - 1) / 2]) > expires(p, id))
        rise(p, place, id);
    else
        sink(p, place, id);
}

static void heap_add(struct evict_policy *p, evict_id id)
{
    p->host->nodes[id] = 0;
    node_set_mark(p->host->nodes, id, IN_HEAP);
    p->count++;
    rise(p, p->count - 1, id);
}

static void heap_remove(struct evict_policy *p, uint32_t place)
{
    evict_id last = p->heap[--p->count];

    if (place < p->count)
        settle(p, place, last);
}

/* false when the heap is full and memory is short. */
static bool make_room(struct evict_policy *p)
{
    uint32_t size = p->size < HEAP_MIN ? HEAP_MIN : p->size + p->size / 2;
    evict_id *heap;

    if (p->count < p->size)
        return true;
    heap = realloc(p->heap, size * sizeof(heap[0]));
    if (heap == NULL)
        return false;
    p->heap = heap;
    p->size = size;
    return true;
}

static void stop_waiting(struct evict_policy *p)
{
    evict_id id = p->waiting.tail;

    list_remove(&p->waiting, p->host->nodes, id, evict_host_weight(p->host, id));
    heap_add(p, id);
}

static unsigned ttl_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void ttl_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    (void)hash, (void)queue;
    if (make_room(p)) {
        heap_add(p, id);
    } else {
        node_set_mark(p->host->nodes, id, IN_LIST);
        list_push_head(&p->waiting, p->host->nodes, id, weight);
    }
}

static evict_id ttl_victim(struct evict_policy *p)
{
    return p->count > 0 ? p->heap[0] : p->waiting.tail;
}

static void ttl_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                     enum evict_reason why)
{
    uint64_t *nodes = p->host->nodes;

    (void)hash, (void)queue, (void)why;
    if (node_mark(nodes, id) == IN_HEAP)
        heap_remove(p, node_next(nodes, id));
    else
        list_remove(&p->waiting, nodes, id, weight);
    nodes[id] = 0;
    if (p->waiting.count > 0 && p->count < p->size)
        stop_waiting(p);
}

static void ttl_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    (void)queue;
    if (node_mark(p->host->nodes, id) == IN_LIST)
        p->waiting.weight = p->waiting.weight - before + now;
}

static void ttl_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    uint64_t *nodes = p->host->nodes;

    if (node_mark(nodes, from) == IN_LIST) {
        list_rename(&p->waiting, nodes, from, to);
        return;
    }
    nodes[to] = nodes[from];
    nodes[from] = 0;
    p->heap[node_next(nodes, to)] = to;
}

static void ttl_expiry_changed(struct evict_policy *p, evict_id id)
{
    if (node_mark(p->host->nodes, id) == IN_HEAP)
        settle(p, node_next(p->host->nodes, id), id);
}

static void ttl_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

/* Sorts the heap where it is (an ascending array is a heap too) rather than
 * allocating a copy: this runs when memory is short. */
static void heap_sort(struct evict_policy *p)
{
    uint32_t count = p->count;

    while (p->count > 1) {
        evict_id nearest = p->heap[0];

        heap_remove(p, 0);
        heap_set(p, p->count, nearest);
    }
    p->count = count;
    for (uint32_t i = 0, j = count; i + 1 < j; i++) {
        evict_id swapped = p->heap[i];

        j--;
        heap_set(p, i, p->heap[j]);
        heap_set(p, j, swapped);
    }
}

static void ttl_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    heap_sort(p);
    for (uint32_t i = 0; i < p->count; i++)
        visit(arg, p->heap[i]);
    list_each_tail_first(&p->waiting, p->host->nodes, visit, arg);
}

static size_t ttl_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + p->size * sizeof(p->heap[0]);
}

static void ttl_check(const struct evict_policy *p)
{
    CHECK(p->count <= p->size);
    for (uint32_t i = 0; i < p->count; i++) {
        CHECK(node_mark(p->host->nodes, p->heap[i]) == IN_HEAP);
        CHECK(node_next(p->host->nodes, p->heap[i]) == i);
        CHECK(i == 0 || expires(p, p->heap[(i - 1) / 2]) <= expires(p, p->heap[i]));
    }
    list_check(&p->waiting, p->host);
    for (evict_id id = p->waiting.head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id))
        CHECK(node_mark(p->host->nodes, id) == IN_LIST);
}

const struct evict_type evict_ttl = {
    .name = "ttl",
    .linked = true,
    .create = ttl_create,
    .destroy = ttl_destroy,
    .arriving = ttl_arriving,
    .admitted = ttl_admitted,
    .victim = ttl_victim,
    .gone = ttl_gone,
    .resized = ttl_resized,
    .moved = ttl_moved,
    .expiry_changed = ttl_expiry_changed,
    .set_capacity = ttl_set_capacity,
    .each_cold_first = ttl_each_cold_first,
    .bytes = ttl_bytes,
    .check = ttl_check,
};
