/* lru.c - evicts what was used longest ago. One list, newest at the head. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

struct evict_policy {
    const struct evict_host *host;
    struct evict_list list;
};

static struct evict_policy *lru_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    (void)config;
    if (p != NULL)
        p->host = host;
    return p;
}

static void lru_destroy(struct evict_policy *p)
{
    free(p);
}

static unsigned lru_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void lru_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    (void)hash, (void)queue;
    list_push_head(&p->list, p->host->nodes, id, weight);
}

static void lru_touched(struct evict_policy *p, evict_id id)
{
    if (p->list.head == id)
        return;
    list_remove(&p->list, p->host->nodes, id, 0);
    list_push_head(&p->list, p->host->nodes, id, 0);
}

static evict_id lru_victim(struct evict_policy *p)
{
    return p->list.tail;
}

static void lru_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                     enum evict_reason why)
{
    (void)hash, (void)queue, (void)why;
    list_remove(&p->list, p->host->nodes, id, weight);
    p->host->nodes[id] = 0;
}

static void lru_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    (void)id, (void)queue;
    p->list.weight = p->list.weight - before + now;
}

static void lru_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    list_rename(&p->list, p->host->nodes, from, to);
}

static void lru_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

static void lru_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    list_each_tail_first(&p->list, p->host->nodes, visit, arg);
}

static size_t lru_bytes(const struct evict_policy *p)
{
    return sizeof(*p);
}

static void lru_check(const struct evict_policy *p)
{
    list_check(&p->list, p->host);
}

const struct evict_type evict_lru = {
    .name = "lru",
    .linked = true,
    .create = lru_create,
    .destroy = lru_destroy,
    .arriving = lru_arriving,
    .admitted = lru_admitted,
    .touched = lru_touched,
    .victim = lru_victim,
    .gone = lru_gone,
    .resized = lru_resized,
    .moved = lru_moved,
    .set_capacity = lru_set_capacity,
    .each_cold_first = lru_each_cold_first,
    .bytes = lru_bytes,
    .check = lru_check,
};
