/* fifo.c - evicts the oldest item, whatever happened to it since.
 *
 * The floor that every other policy is measured against. The host's queue is
 * the whole state. */
#include "server/evict/policies.h"
#include "server/check.h"

#include <stdlib.h>

struct evict_policy {
    const struct evict_host *host;
    uint64_t count;
};

static struct evict_policy *fifo_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    (void)config;
    if (p != NULL)
        p->host = host;
    return p;
}

static void fifo_destroy(struct evict_policy *p)
{
    free(p);
}

static unsigned fifo_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void fifo_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    (void)id, (void)hash, (void)weight, (void)queue;
    p->count++;
}

static void fifo_adopted(struct evict_policy *p, uint64_t count, uint64_t weight)
{
    (void)weight;
    p->count += count;
}

static evict_id fifo_victim(struct evict_policy *p)
{
    return evict_host_oldest(p->host, 0);
}

static void fifo_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                      enum evict_reason why)
{
    (void)id, (void)hash, (void)weight, (void)queue, (void)why;
    CHECK(p->count > 0);
    p->count--;
}

static void fifo_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

static size_t fifo_bytes(const struct evict_policy *p)
{
    return sizeof(*p);
}

static void fifo_check(const struct evict_policy *p)
{
    CHECK((evict_host_oldest(p->host, 0) == EVICT_NOBODY) == (p->count == 0));
}

const struct evict_type evict_fifo = {
    .name = "fifo",
    .queues = 1,
    .create = fifo_create,
    .destroy = fifo_destroy,
    .arriving = fifo_arriving,
    .admitted = fifo_admitted,
    .adopted = fifo_adopted,
    .victim = fifo_victim,
    .gone = fifo_gone,
    .set_capacity = fifo_set_capacity,
    .bytes = fifo_bytes,
    .check = fifo_check,
};
