/* clock.c - FIFO with a second chance.
 *
 * Rules: (1) an item hit since it last reached the old end goes round once
 * more with its hit bits cleared, the others die; (2) it is the one-bit clock:
 * three hits buy no more than one. */
#include "server/evict/policies.h"
#include "server/check.h"

#include <stdlib.h>

struct evict_policy {
    const struct evict_host *host;
    uint64_t count;
};

static struct evict_policy *clock_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    (void)config;
    if (p != NULL)
        p->host = host;
    return p;
}

static void clock_destroy(struct evict_policy *p)
{
    free(p);
}

static unsigned clock_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void clock_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight,
                           unsigned queue)
{
    (void)id, (void)hash, (void)weight, (void)queue;
    p->count++;
}

static void clock_adopted(struct evict_policy *p, uint64_t count, uint64_t weight)
{
    (void)weight;
    p->count += count;
}

static evict_id clock_victim(struct evict_policy *p)
{
    const struct evict_host *host = p->host;

    /* One lap clears every bit. Readers may set bits behind us while we walk,
     * so the lap is counted rather than trusted to end. */
    for (uint64_t left = p->count; left > 0; left--) {
        evict_id id = evict_host_oldest(host, 0);

        if (id == EVICT_NOBODY || evict_host_hits(host, id) == 0)
            return id;
        evict_host_requeue(host, id, 0, 0);
    }
    return evict_host_oldest(host, 0);
}

static void clock_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                       enum evict_reason why)
{
    (void)id, (void)hash, (void)weight, (void)queue, (void)why;
    CHECK(p->count > 0);
    p->count--;
}

static void clock_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

static size_t clock_bytes(const struct evict_policy *p)
{
    return sizeof(*p);
}

static void clock_check(const struct evict_policy *p)
{
    CHECK((evict_host_oldest(p->host, 0) == EVICT_NOBODY) == (p->count == 0));
}

const struct evict_type evict_clock = {
    .name = "clock",
    .queues = 1,
    .wants_hits = true,
    .create = clock_create,
    .destroy = clock_destroy,
    .arriving = clock_arriving,
    .admitted = clock_admitted,
    .adopted = clock_adopted,
    .victim = clock_victim,
    .gone = clock_gone,
    .set_capacity = clock_set_capacity,
    .bytes = clock_bytes,
    .check = clock_check,
};
