/* lfu.c - least frequently used, with dynamic aging (LFU-DA).
 *
 * Rules: (1) an item's priority is L + its hit count, arrival included, where
 * L is the priority of the last victim at the time of the hit; (2) the victim
 * has the lowest priority, among equals the one used longest ago; (3) counts
 * stop at 15.
 *
 * L rises with the victims, so yesterday's favourites fade without anyone
 * visiting them and nothing has to be halved. Every priority lies in L..L+15:
 * 16 lists in a circle keep them in order and every operation is O(1).
 *
 *   node: | next: 28 | prev: 28 | count: 4 | list: 4 |
 *
 * Why 15: it costs half a byte, and on the traces it is also better than more.
 * Change of the miss ratio against counts without a limit, cache of 1 % / 10 %
 * of the keys: cloudphysics +0.3 / 0.0 %, orm_busy -15.5 / +0.9 %, scarab +0.6
 * / -0.1 %, arc_oltp -0.6 / -0.2 %, sprite +1.6 / -9.0 %; -2.2 % on average.
 * A limit of 7 is worse where frequency tells most (scarab 1 %: +1.5 % over
 * 15), 31 and 255 where the favourites change (orm_busy 1 %: +2 and +16 %).
 * Slowing the count down past 8 instead of stopping it gave the same. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

enum { COUNT_MAX = 15, LISTS = COUNT_MAX + 1 };

struct evict_policy {
    const struct evict_host *host;
    uint64_t count;
    unsigned age; /* L modulo LISTS: the list that no priority is below */
    struct evict_list lists[LISTS];
};

static struct evict_policy *lfu_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    (void)config;
    if (p != NULL)
        p->host = host;
    return p;
}

static void lfu_destroy(struct evict_policy *p)
{
    free(p);
}

static unsigned count_of(const struct evict_policy *p, evict_id id)
{
    return node_mark(p->host->nodes, id) >> 4;
}

static struct evict_list *list_of(struct evict_policy *p, evict_id id)
{
    return &p->lists[node_mark(p->host->nodes, id) % LISTS];
}

static void file_under(struct evict_policy *p, evict_id id, unsigned count, uint32_t weight)
{
    unsigned list = (p->age + count) % LISTS;

    node_set_mark(p->host->nodes, id, (uint8_t)(count << 4 | list));
    list_push_head(&p->lists[list], p->host->nodes, id, weight);
}

static unsigned lfu_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)p, (void)hash, (void)weight;
    return 0;
}

static void lfu_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    (void)hash, (void)queue;
    file_under(p, id, 1, weight);
    p->count++;
}

static void lfu_touched(struct evict_policy *p, evict_id id)
{
    unsigned count = count_of(p, id);
    uint32_t weight = evict_host_weight(p->host, id);

    list_remove(list_of(p, id), p->host->nodes, id, weight);
    file_under(p, id, count < COUNT_MAX ? count + 1 : count, weight);
}

static evict_id lfu_victim(struct evict_policy *p)
{
    if (p->count == 0)
        return EVICT_NOBODY;
    while (p->lists[p->age].count == 0)
        p->age = (p->age + 1) % LISTS;
    return p->lists[p->age].tail;
}

static void lfu_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                     enum evict_reason why)
{
    (void)hash, (void)queue, (void)why;
    CHECK(p->count > 0);
    list_remove(list_of(p, id), p->host->nodes, id, weight);
    p->host->nodes[id] = 0;
    p->count--;
}

static void lfu_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    struct evict_list *list = list_of(p, id);

    (void)queue;
    list->weight = list->weight - before + now;
}

static void lfu_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    list_rename(list_of(p, from), p->host->nodes, from, to);
}

static void lfu_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    (void)p, (void)capacity;
}

static void lfu_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    for (unsigned i = 0; i < LISTS; i++)
        list_each_tail_first(&p->lists[(p->age + i) % LISTS], p->host->nodes, visit, arg);
}

static size_t lfu_bytes(const struct evict_policy *p)
{
    return sizeof(*p);
}

static void lfu_check(const struct evict_policy *p)
{
    uint64_t count = 0;

    for (unsigned list = 0; list < LISTS; list++) {
        const struct evict_list *l = &p->lists[list];
        unsigned distance = (list - p->age) % LISTS;

        list_check(l, p->host);
        count += l->count;
        for (evict_id id = l->head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id)) {
            CHECK(node_mark(p->host->nodes, id) % LISTS == list);
            CHECK(count_of(p, id) > 0);
            CHECK(distance <= count_of(p, id)); /* it was the count at the hit; L only rises */
        }
    }
    CHECK(count == p->count);
}

const struct evict_type evict_lfu = {
    .name = "lfu",
    .linked = true,
    .create = lfu_create,
    .destroy = lfu_destroy,
    .arriving = lfu_arriving,
    .admitted = lfu_admitted,
    .touched = lfu_touched,
    .victim = lfu_victim,
    .gone = lfu_gone,
    .resized = lfu_resized,
    .frequency = count_of,
    .moved = lfu_moved,
    .set_capacity = lfu_set_capacity,
    .each_cold_first = lfu_each_cold_first,
    .bytes = lfu_bytes,
    .check = lfu_check,
};
