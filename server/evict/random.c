/* random.c - evicts any item, each with the same chance.
 *
 * Rules: (1) the dice are the policy's own and seeded, so a replay repeats
 * itself; (2) picking uniformly is the host's part, which knows what it holds. */
#include "server/evict/policies.h"
#include "server/check.h"

#include <stdlib.h>

struct evict_policy {
    const struct evict_host *host;
    uint64_t dice; /* never 0: xorshift would stay there */
    uint64_t count;
};

static struct evict_policy *random_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    /* Odd multiplier: different seeds stay different, and only one seed in
     * 2^64 would make 0. */
    p->dice = (config->seed + 1) * UINT64_C(0xD1342543DE82EF95);
    if (p->dice == 0)
        p->dice = 1;
    return p;
}

static void random_destroy(struct evict_policy *p)
{
    free(p);
}

/* xorshift64; the multiplication gives the high bits a host may take. */
static uint64_t random_roll(struct evict_policy *p)
{
    p->dice ^= p->dice >> 12;
    p->dice ^= p->dice << 25;
    p->dice ^= p->dice >> 27;
    return p->dice * UINT64_C(0x2545F4914F6CDD1D);
}

static unsigned random_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void random_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight,
                            unsigned queue)
{
    (void)id, (void)hash, (void)weight, (void)queue;
    p->count++;
}

static void random_adopted(struct evict_policy *p, uint64_t count, uint64_t weight)
{
    (void)weight;
    p->count += count;
}

static evict_id random_victim(struct evict_policy *p)
{
    return evict_host_any(p->host, random_roll(p));
}

static void random_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                        enum evict_reason why)
{
    (void)id, (void)hash, (void)weight, (void)queue, (void)why;
    CHECK(p->count > 0);
    p->count--;
}

static void random_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

static size_t random_bytes(const struct evict_policy *p)
{
    return sizeof(*p);
}

static void random_check(const struct evict_policy *p)
{
    CHECK(p->dice != 0);
}

const struct evict_type evict_random = {
    .name = "random",
    .create = random_create,
    .destroy = random_destroy,
    .arriving = random_arriving,
    .admitted = random_admitted,
    .adopted = random_adopted,
    .victim = random_victim,
    .gone = random_gone,
    .set_capacity = random_set_capacity,
    .bytes = random_bytes,
    .check = random_check,
};
