/* sim_belady.c - policies that know the future: what no policy can beat.
 *
 * belady      evicts what is asked for last: the fewest misses there can be
 *             where every weight is 1 (Belady, 1966).
 * beladysize  evicts the largest product of weight and time to the next use
 *             among CANDIDATES residents drawn at random: close to the fewest
 *             request misses there can be with weights. The exact optimum is
 *             NP-hard.
 *
 * They ask the replay for the next use; so they live here and not among the
 * policies that serve. Both keep residents in an array whose places the nodes
 * hold; for belady it is a heap with the latest next use on top. */
#include "bench/sim_belady.h"
#include "bench/replay.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

enum { CANDIDATES = 64, SIZE_MIN = 1024 };

struct entry {
    uint32_t next_use;
    evict_id id;
};

struct evict_policy {
    const struct evict_host *host;
    struct entry *entries;
    uint32_t count, size, now;
    uint64_t dice;
};

static struct evict_policy *belady_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    p->dice = config->seed * 2 + 1;
    return p;
}

static void belady_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    free(p->entries);
    free(p);
}

static void put(struct evict_policy *p, uint32_t place, struct entry e)
{
    p->entries[place] = e;
    node_set_next(p->host->nodes, e.id, place);
}

static void settle(struct evict_policy *p, uint32_t place, struct entry e)
{
    while (place > 0 && e.next_use > p->entries[(place - 1) / 2].next_use) {
        put(p, place, p->entries[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (uint32_t child; (child = 2 * place + 1) < p->count; place = child) {
        if (child + 1 < p->count && p->entries[child + 1].next_use > p->entries[child].next_use)
            child++;
        if (p->entries[child].next_use <= e.next_use)
            break;
        put(p, place, p->entries[child]);
    }
    put(p, place, e);
}

static struct entry entry_of(const struct evict_policy *p, evict_id id)
{
    return (struct entry){replay_next_use(p->host->ctx, id), id};
}

static unsigned belady_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

/* A simulator that has no memory left has nothing to say. */
static void make_place(struct evict_policy *p)
{
    if (p->count == p->size) {
        p->size = p->size < SIZE_MIN ? SIZE_MIN : p->size * 2;
        p->entries = realloc(p->entries, p->size * sizeof(p->entries[0]));
        CHECK(p->entries != NULL);
    }
    p->count++;
}

static void belady_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight,
                            unsigned queue)
{
    (void)hash, (void)weight, (void)queue;
    make_place(p);
    settle(p, p->count - 1, entry_of(p, id));
}

static void belady_touched(struct evict_policy *p, evict_id id)
{
    settle(p, node_next(p->host->nodes, id), entry_of(p, id));
}

static evict_id belady_victim(struct evict_policy *p)
{
    return p->count > 0 ? p->entries[0].id : EVICT_NOBODY;
}

static void belady_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                        enum evict_reason why)
{
    uint32_t place = node_next(p->host->nodes, id);
    struct entry last = p->entries[--p->count];

    (void)hash, (void)weight, (void)queue, (void)why;
    if (place < p->count)
        settle(p, place, last);
    p->host->nodes[id] = 0;
}

static void size_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    (void)hash, (void)weight, (void)queue;
    make_place(p);
    put(p, p->count - 1, (struct entry){0, id});
    p->now++;
}

static void size_touched(struct evict_policy *p, evict_id id)
{
    (void)id;
    p->now++;
}

static void size_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                      enum evict_reason why)
{
    uint32_t place = node_next(p->host->nodes, id);
    struct entry last = p->entries[--p->count];

    (void)hash, (void)weight, (void)queue, (void)why;
    if (place < p->count)
        put(p, place, last);
    p->host->nodes[id] = 0;
}

static evict_id size_victim(struct evict_policy *p)
{
    evict_id worst = EVICT_NOBODY;
    double most = -1;

    for (unsigned i = 0; p->count > 0 && i < CANDIDATES; i++) {
        uint32_t next;
        double cost;
        evict_id id;

        p->dice = p->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        id = p->entries[((p->dice >> 32) * p->count) >> 32].id;
        next = replay_next_use(p->host->ctx, id);
        cost = next == REPLAY_NEVER ? 1e300 : (double)(next - p->now) * p->host->weight(p->host->ctx, id);
        if (cost > most) {
            most = cost;
            worst = id;
        }
        if (next == REPLAY_NEVER)
            break;
    }
    return worst;
}

static void belady_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    (void)p, (void)from, (void)to; /* a replay's ids are keys */
    CHECK_UNREACHABLE();
}

static void belady_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

static void belady_each(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    for (uint32_t i = 0; i < p->count; i++)
        visit(arg, p->entries[i].id);
}

static size_t belady_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + p->size * sizeof(p->entries[0]);
}

static void belady_check(const struct evict_policy *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        CHECK(node_next(p->host->nodes, p->entries[i].id) == i);
}

const struct evict_type sim_belady = {
    .name = "belady",
    .linked = true,
    .create = belady_create,
    .destroy = belady_destroy,
    .arriving = belady_arriving,
    .admitted = belady_admitted,
    .touched = belady_touched,
    .victim = belady_victim,
    .gone = belady_gone,
    .moved = belady_moved,
    .set_capacity = belady_set_capacity,
    .each_cold_first = belady_each,
    .bytes = belady_bytes,
    .check = belady_check,
};

const struct evict_type sim_beladysize = {
    .name = "beladysize",
    .linked = true,
    .create = belady_create,
    .destroy = belady_destroy,
    .arriving = belady_arriving,
    .admitted = size_admitted,
    .touched = size_touched,
    .victim = size_victim,
    .gone = size_gone,
    .moved = belady_moved,
    .set_capacity = belady_set_capacity,
    .each_cold_first = belady_each,
    .bytes = belady_bytes,
    .check = belady_check,
};
