/* slru.c - segmented LRU: four lists of a quarter of the capacity each.
 *
 * Rules: (1) a hit moves an item to the head of the next list up, in the
 * uppermost to the head of that; (2) a list that holds more than its quarter
 * hands its oldest down to the head of the next list below; the lowest has
 * none below and is the one that may be too long; (3) a newcomer enters the
 * lowest list that has room for it, the lowest of all if none has; (4) the
 * victim is the oldest of the lowest list that is not empty.
 *
 * (3) fills an empty cache from below and matters until it is full, and after
 * deletions. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

enum { LISTS = 4 }; /* the node's mark is the list's number */

struct evict_policy {
    const struct evict_host *host;
    uint64_t share; /* of one list */
    struct evict_list lists[LISTS];
};

static struct evict_policy *slru_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    p->share = config->capacity / LISTS;
    return p;
}

static void slru_destroy(struct evict_policy *p)
{
    free(p);
}

static void push(struct evict_policy *p, unsigned list, evict_id id, uint32_t weight)
{
    node_set_mark(p->host->nodes, id, (uint8_t)list);
    list_push_head(&p->lists[list], p->host->nodes, id, weight);
}

/* Hands down what is too much, from the list at `top` on. */
static void cool(struct evict_policy *p, unsigned top)
{
    for (unsigned list = top; list > 0; list--)
        while (p->lists[list].weight > p->share) {
            evict_id id = p->lists[list].tail;
            uint32_t weight = evict_host_weight(p->host, id);

            list_remove(&p->lists[list], p->host->nodes, id, weight);
            push(p, list - 1, id, weight);
        }
}

static unsigned slru_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void slru_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    unsigned list = 0;

    (void)hash, (void)queue;
    while (list < LISTS && p->lists[list].weight + weight > p->share)
        list++;
    push(p, list < LISTS ? list : 0, id, weight);
}

static void slru_touched(struct evict_policy *p, evict_id id)
{
    unsigned list = node_mark(p->host->nodes, id), up = list + 1 < LISTS ? list + 1 : list;
    uint32_t weight;

    if (list == up && p->lists[up].head == id)
        return;
    weight = evict_host_weight(p->host, id);
    list_remove(&p->lists[list], p->host->nodes, id, weight);
    push(p, up, id, weight);
    if (up != list)
        cool(p, up);
}

static evict_id slru_victim(struct evict_policy *p)
{
    for (unsigned list = 0; list < LISTS; list++)
        if (p->lists[list].count > 0)
            return p->lists[list].tail;
    return EVICT_NOBODY;
}

static void slru_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                      enum evict_reason why)
{
    (void)hash, (void)queue, (void)why;
    list_remove(&p->lists[node_mark(p->host->nodes, id)], p->host->nodes, id, weight);
    p->host->nodes[id] = 0;
}

static void slru_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    unsigned list = node_mark(p->host->nodes, id);

    (void)queue;
    p->lists[list].weight = p->lists[list].weight - before + now;
    cool(p, list);
}

static void slru_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    list_rename(&p->lists[node_mark(p->host->nodes, from)], p->host->nodes, from, to);
}

static void slru_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    p->share = capacity / LISTS;
    cool(p, LISTS - 1);
}

static void slru_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    for (unsigned list = 0; list < LISTS; list++)
        list_each_tail_first(&p->lists[list], p->host->nodes, visit, arg);
}

static size_t slru_bytes(const struct evict_policy *p)
{
    return sizeof(*p);
}

static void slru_check(const struct evict_policy *p)
{
    for (unsigned list = 0; list < LISTS; list++) {
        list_check(&p->lists[list], p->host);
        CHECK(list == 0 || p->lists[list].weight <= p->share);
        for (evict_id id = p->lists[list].head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id))
            CHECK(node_mark(p->host->nodes, id) == list);
    }
}

const struct evict_type evict_slru = {
    .name = "slru",
    .linked = true,
    .create = slru_create,
    .destroy = slru_destroy,
    .arriving = slru_arriving,
    .admitted = slru_admitted,
    .touched = slru_touched,
    .victim = slru_victim,
    .gone = slru_gone,
    .resized = slru_resized,
    .moved = slru_moved,
    .set_capacity = slru_set_capacity,
    .each_cold_first = slru_each_cold_first,
    .bytes = slru_bytes,
    .check = slru_check,
};
