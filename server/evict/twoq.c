/* twoq.c - a FIFO for newcomers; what comes back after it left is kept by LRU.
 * After Johnson and Shasha, "2Q: a low overhead high performance buffer
 * management replacement algorithm", VLDB'94, full version.
 *
 *            arrive
 *   Aout ----------> [A1in]        a hit in A1in changes nothing
 *     ^  '------------|---------> [Am]   LRU
 *     '------ dies ---'
 *
 * Rules: (1) a newcomer enters A1in, one that Aout remembers enters Am.
 * (2) A1in's oldest dies while A1in holds more than a quarter of the capacity
 * (or Am is empty), and Aout remembers it; else Am's least recently used dies
 * and is forgotten. (3) Aout stands for half the capacity by weight. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/evict/prints.h"
#include "server/check.h"

#include <stdlib.h>

enum { IN_NEW = 1, IN_MAIN = 2 }; /* the node's mark */

struct evict_policy {
    const struct evict_host *host;
    struct prints *out;
    uint64_t capacity;
    struct evict_list fresh, main; /* A1in, Am */
    bool known;                    /* the newcomer was in Aout */
};

static void twoq_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    prints_free(&p->out);
    free(p);
}

static struct evict_policy *twoq_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    p->capacity = config->capacity;
    if ((p->out = prints_new(p->capacity / 2)) == NULL) {
        twoq_destroy(p);
        return NULL;
    }
    return p;
}

static unsigned twoq_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    p->known = prints_take(p->out, hash, weight);
    return 0;
}

static struct evict_list *list_of(struct evict_policy *p, evict_id id)
{
    return node_mark(p->host->nodes, id) == IN_NEW ? &p->fresh : &p->main;
}

static void twoq_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    (void)hash, (void)queue;
    node_set_mark(p->host->nodes, id, p->known ? IN_MAIN : IN_NEW);
    list_push_head(p->known ? &p->main : &p->fresh, p->host->nodes, id, weight);
    p->known = false;
}

static void twoq_touched(struct evict_policy *p, evict_id id)
{
    if (node_mark(p->host->nodes, id) == IN_NEW || p->main.head == id)
        return;
    list_remove(&p->main, p->host->nodes, id, 0);
    list_push_head(&p->main, p->host->nodes, id, 0);
}

static evict_id twoq_victim(struct evict_policy *p)
{
    bool fresh_pays = p->main.count == 0 || (p->fresh.count > 0 && p->fresh.weight > p->capacity / 4);

    return fresh_pays ? p->fresh.tail : p->main.tail;
}

static void twoq_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                      enum evict_reason why)
{
    struct evict_list *list = list_of(p, id);

    (void)queue;
    list_remove(list, p->host->nodes, id, weight);
    p->host->nodes[id] = 0;
    if (why == EVICT_EVICTED && list == &p->fresh)
        prints_add(p->out, hash, weight);
}

static void twoq_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    struct evict_list *list = list_of(p, id);

    (void)queue;
    list->weight = list->weight - before + now;
}

static void twoq_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    list_rename(list_of(p, from), p->host->nodes, from, to);
}

static void twoq_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    p->capacity = capacity;
    prints_set_capacity(p->out, capacity / 2);
}

static void twoq_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    list_each_tail_first(&p->fresh, p->host->nodes, visit, arg);
    list_each_tail_first(&p->main, p->host->nodes, visit, arg);
}

static size_t twoq_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + prints_bytes(p->out);
}

static void check_marks(const struct evict_policy *p, const struct evict_list *list, uint8_t mark)
{
    list_check(list, p->host);
    for (evict_id id = list->head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id))
        CHECK(node_mark(p->host->nodes, id) == mark);
}

static void twoq_check(const struct evict_policy *p)
{
    check_marks(p, &p->fresh, IN_NEW);
    check_marks(p, &p->main, IN_MAIN);
    prints_check(p->out);
}

const struct evict_type evict_twoq = {
    .name = "twoq",
    .linked = true,
    .create = twoq_create,
    .destroy = twoq_destroy,
    .arriving = twoq_arriving,
    .admitted = twoq_admitted,
    .touched = twoq_touched,
    .victim = twoq_victim,
    .gone = twoq_gone,
    .resized = twoq_resized,
    .moved = twoq_moved,
    .set_capacity = twoq_set_capacity,
    .each_cold_first = twoq_each_cold_first,
    .bytes = twoq_bytes,
    .check = twoq_check,
};
