/* s3fifo.c - most keys are never asked for again; a small queue finds out.
 *
 *            arrive              >= 2 hits
 *   ghost ----------> [S small] ----------> [M main] --.
 *     ^  '---------------|-------------------> ^       | hits > 0: once more,
 *     '---- < 2 hits ----'                     '-------'   with a hit less
 *
 * Rules: (1) a new item enters S, one that the ghost remembers enters M.
 * (2) M pays when it holds more than its share, or S has nothing; else S pays.
 * (3) The oldest of S goes to M with its hits forgotten if it was hit at least
 * twice, else it dies and the ghost remembers it. (4) The oldest of M goes
 * round again with one hit less, or dies when it has none; it leaves no ghost.
 * (5) The ghost holds 90 % of the capacity by weight.
 *
 * S's share is a tenth, but never less than some 32 objects of average weight
 * (up to half the cache): a queue of a handful cannot tell a second hit from
 * a late one, which costs 40 to 55 % on the worst published traces. At 320
 * objects and more the floor does nothing. */
#include "server/evict/policies.h"
#include "server/evict/prints.h"
#include "server/check.h"

#include <stdlib.h>

enum { QUEUE_SMALL, QUEUE_MAIN };
enum { PROMOTE_HITS = 2, SMALL_PERCENT = 10, GHOST_PERCENT = 90, SMALL_OBJECTS_MIN = 32 };

struct evict_policy {
    const struct evict_host *host;
    struct prints *ghost;
    uint64_t capacity;
    uint64_t weight[2]; /* by queue */
    uint64_t count[2];
};

static uint64_t percent_of(uint64_t capacity, uint64_t percent)
{
    return capacity / 100 * percent + capacity % 100 * percent / 100;
}

static void s3fifo_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    prints_free(&p->ghost);
    free(p);
}

static struct evict_policy *s3fifo_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    p->capacity = config->capacity;
    if ((p->ghost = prints_new(percent_of(p->capacity, GHOST_PERCENT))) == NULL) {
        s3fifo_destroy(p);
        return NULL;
    }
    return p;
}

static unsigned s3fifo_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    return prints_take(p->ghost, hash, weight) ? QUEUE_MAIN : QUEUE_SMALL;
}

static void s3fifo_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight,
                            unsigned queue)
{
    (void)id, (void)hash;
    CHECK(queue <= QUEUE_MAIN);
    p->weight[queue] += weight;
    p->count[queue]++;
}

static void s3fifo_adopted(struct evict_policy *p, uint64_t count, uint64_t weight)
{
    p->weight[QUEUE_SMALL] += weight;
    p->count[QUEUE_SMALL] += count;
}

static uint64_t main_share(const struct evict_policy *p)
{
    uint64_t small = percent_of(p->capacity, SMALL_PERCENT);
    uint64_t count = p->count[QUEUE_SMALL] + p->count[QUEUE_MAIN];
    uint64_t weight = p->weight[QUEUE_SMALL] + p->weight[QUEUE_MAIN];
    uint64_t floor = count > 0 ? weight / count * SMALL_OBJECTS_MIN : 0;

    if (floor > p->capacity / 2)
        floor = p->capacity / 2;
    return p->capacity - (small > floor ? small : floor);
}

/* S's oldest dies, or moves to M (EVICT_NOBODY). */
static evict_id small_gives(struct evict_policy *p, evict_id id)
{
    const struct evict_host *host = p->host;
    uint32_t weight;

    if (evict_host_hits(host, id) < PROMOTE_HITS)
        return id;
    weight = evict_host_weight(host, id);
    evict_host_requeue(host, id, QUEUE_MAIN, 0);
    p->weight[QUEUE_SMALL] -= weight;
    p->count[QUEUE_SMALL]--;
    p->weight[QUEUE_MAIN] += weight;
    p->count[QUEUE_MAIN]++;
    return EVICT_NOBODY;
}

/* M's oldest dies, or goes round again (EVICT_NOBODY). */
static evict_id main_gives(struct evict_policy *p, evict_id id)
{
    const struct evict_host *host = p->host;
    unsigned hits = evict_host_hits(host, id);

    if (hits == 0)
        return id;
    evict_host_requeue(host, id, QUEUE_MAIN, hits - 1);
    return EVICT_NOBODY;
}

static evict_id s3fifo_victim(struct evict_policy *p)
{
    const struct evict_host *host = p->host;
    uint64_t share = main_share(p);
    /* Every step moves an item out of S or takes a hit from one in M. Readers
     * may add hits meanwhile, so the steps are counted. */
    uint64_t left = p->count[QUEUE_SMALL] + EVICT_HITS_MAX * (p->count[QUEUE_SMALL] + p->count[QUEUE_MAIN]);

    for (; left > 0; left--) {
        bool main_pays = p->weight[QUEUE_MAIN] > share || p->count[QUEUE_SMALL] == 0;
        evict_id id = evict_host_oldest(host, main_pays ? QUEUE_MAIN : QUEUE_SMALL);

        if (id == EVICT_NOBODY)
            break;
        id = main_pays ? main_gives(p, id) : small_gives(p, id);
        if (id != EVICT_NOBODY)
            return id;
    }
    return evict_host_oldest(host, p->count[QUEUE_MAIN] > 0 ? QUEUE_MAIN : QUEUE_SMALL);
}

static void s3fifo_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                        enum evict_reason why)
{
    (void)id;
    CHECK(queue <= QUEUE_MAIN && p->count[queue] > 0 && p->weight[queue] >= weight);
    p->weight[queue] -= weight;
    p->count[queue]--;
    if (why == EVICT_EVICTED && queue == QUEUE_SMALL)
        prints_add(p->ghost, hash, weight);
}

static void s3fifo_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    (void)id;
    CHECK(queue <= QUEUE_MAIN && p->weight[queue] >= before);
    p->weight[queue] = p->weight[queue] - before + now;
}

static void s3fifo_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    p->capacity = capacity;
    prints_set_capacity(p->ghost, percent_of(capacity, GHOST_PERCENT));
}

static size_t s3fifo_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + prints_bytes(p->ghost);
}

static void s3fifo_check(const struct evict_policy *p)
{
    for (unsigned queue = QUEUE_SMALL; queue <= QUEUE_MAIN; queue++)
        CHECK((evict_host_oldest(p->host, queue) == EVICT_NOBODY) == (p->count[queue] == 0));
    prints_check(p->ghost);
}

const struct evict_type evict_s3fifo = {
    .name = "s3fifo",
    .queues = 2,
    .wants_hits = true,
    .create = s3fifo_create,
    .destroy = s3fifo_destroy,
    .arriving = s3fifo_arriving,
    .admitted = s3fifo_admitted,
    .adopted = s3fifo_adopted,
    .victim = s3fifo_victim,
    .gone = s3fifo_gone,
    .resized = s3fifo_resized,
    .set_capacity = s3fifo_set_capacity,
    .bytes = s3fifo_bytes,
    .check = s3fifo_check,
};
