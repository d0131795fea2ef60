/* wtinylfu.c - a newcomer stays only if it was seen more often than the item
 * it would replace. After Einziger, Friedman and Manes, "TinyLFU", 2017, and
 * Einziger, Eytan, Friedman, Manes, "Adaptive software cache management", 2018.
 *
 *   arrive -> [window] -> contest -> [probation] <-> [protected]
 *                            loser dies
 *
 * Rules: (1) window, probation and protected are LRU lists; a newcomer enters
 * the window, a hit in probation leads to protected, and what protected has
 * too much goes back to probation. (2) When the window is full its oldest is
 * the candidate for probation, probation's oldest the one it would replace:
 * whoever the sketch has seen less often dies, the candidate if equal. But a
 * candidate seen at least 6 times gets in once in 128 times anyway, so that
 * forged fame of a victim cannot shut the cache. (3) Every arrival and hit
 * counts in the sketch. (4) The window begins with 1 % of the capacity,
 * protected with 80 % of the rest. After each of the sketch's periods the
 * window has grown or shrunk by a step, at protected's cost; a step that
 * lowered the hit ratio is taken back the other way. Steps begin with 1/16 of
 * the capacity upwards, shrink by 2 % each time, and begin anew when the hit
 * ratio changes by 5 % or more. (5) While the cache fills nobody contests.
 *
 * With a doorkeeper (TinyLFU, section 3.4.2) a key's first use in a period is only
 * noted in a Bloom filter, and raises the estimate by one; the sketch counts the
 * others, so keys seen once do not blur it. A use noted there counts for the period
 * as well; when the sketch is halved the filter is emptied.
 *
 * A fixed window of 1 % loses to LRU by up to 76 % on keys of fast changing
 * popularity; the climber is what makes this a policy for all seasons. Caffeine's
 * first step goes down, which a window of 1 % can hardly do, so it wastes a
 * period, and short traces have few: upwards arc_oltp at 10 % misses .3357
 * instead of .3859, and no trace of the ten measured is worse by more than .0003. */
#include "server/evict/policies.h"
#include "server/evict/list.h"
#include "server/check.h"
#include "server/filter/bloom.h"
#include "server/filter/sketch.h"

#include <stdlib.h>

enum { IN_WINDOW = 1, IN_PROBATION = 2, IN_PROTECTED = 3, LISTS = 4 }; /* the node's mark; 0 is unused */
enum { SKETCH_MIN = 256, FAMOUS = 6, LUCK = 128, TRANSFERS_MAX = 1000 };

#define WINDOW_SHARE    .01
#define PROTECTED_SHARE .80
#define STEP_SHARE      .0625
#define STEP_DECAY      .98
#define RESTART_CHANGE  .05
#define DOOR_ERROR      .1

struct evict_policy {
    const struct evict_host *host;
    struct sketch *sketch;
    struct bloom *door; /* the doorkeeper; NULL: there is none */
    uint64_t capacity, dice;
    uint64_t window_max, protected_max;
    struct evict_list lists[LISTS];
    uint32_t newcomer_weight; /* between arriving() and admitted() */
    /* the climber */
    uint64_t hits, requests; /* in this period */
    double ratio_before, step;
};

static void set_shares(struct evict_policy *p, uint64_t capacity)
{
    uint64_t window = (uint64_t)((double)capacity * WINDOW_SHARE);

    p->capacity = capacity;
    p->window_max = window > 0 ? window : 1;
    if (p->window_max > capacity)
        p->window_max = capacity;
    p->protected_max = (uint64_t)((double)(capacity - p->window_max) * PROTECTED_SHARE);
    p->step = STEP_SHARE * (double)capacity;
    p->ratio_before = 0;
    p->hits = p->requests = 0;
}

static void wtinylfu_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    sketch_free(&p->sketch);
    bloom_free(&p->door);
    free(p);
}

static struct evict_policy *wtinylfu_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    p->dice = (config->seed + 1) * UINT64_C(0xD1342543DE82EF95) | 1;
    set_shares(p, config->capacity);
    if ((p->sketch = sketch_new(SKETCH_MIN)) == NULL) {
        wtinylfu_destroy(p);
        return NULL;
    }
    return p;
}

/* For all that may come in a period, each key once. */
static struct bloom *make_door(const struct evict_policy *p)
{
    return bloom_new(sketch_period(p->sketch), DOOR_ERROR, 0);
}

static struct evict_policy *create_with_doorkeeper(const struct evict_host *host,
                                                   const struct evict_config *config)
{
    struct evict_policy *p = wtinylfu_create(host, config);

    if (p != NULL && (p->door = make_door(p)) == NULL) {
        wtinylfu_destroy(p);
        return NULL;
    }
    return p;
}

static unsigned where(const struct evict_policy *p, evict_id id)
{
    return node_mark(p->host->nodes, id);
}

static uint64_t residents(const struct evict_policy *p)
{
    return p->lists[IN_WINDOW].count + p->lists[IN_PROBATION].count + p->lists[IN_PROTECTED].count;
}

static void push(struct evict_policy *p, unsigned list, evict_id id, uint32_t weight)
{
    node_set_mark(p->host->nodes, id, (uint8_t)list);
    list_push_head(&p->lists[list], p->host->nodes, id, weight);
}

static void transfer(struct evict_policy *p, evict_id id, unsigned to)
{
    uint32_t weight = evict_host_weight(p->host, id);

    list_remove(&p->lists[where(p, id)], p->host->nodes, id, weight);
    push(p, to, id, weight);
}

/* Window and protected give to probation what they have too much, so much at a time. */
static void rebalance(struct evict_policy *p)
{
    for (unsigned i = 0; i < TRANSFERS_MAX && p->lists[IN_PROTECTED].weight > p->protected_max; i++)
        transfer(p, p->lists[IN_PROTECTED].tail, IN_PROBATION);
    for (unsigned i = 0; i < TRANSFERS_MAX && p->lists[IN_WINDOW].weight > p->window_max; i++)
        transfer(p, p->lists[IN_WINDOW].tail, IN_PROBATION);
}

/* A window that has just grown takes the coldest of the rest. */
static void fill_window(struct evict_policy *p)
{
    for (unsigned i = 0; i < TRANSFERS_MAX; i++) {
        unsigned from = p->lists[IN_PROBATION].count > 0 ? IN_PROBATION : IN_PROTECTED;
        evict_id id = p->lists[from].tail;

        if (id == EVICT_NOBODY || p->lists[IN_WINDOW].weight + evict_host_weight(p->host, id) > p->window_max)
            return;
        transfer(p, id, IN_WINDOW);
    }
}

static void climb(struct evict_policy *p)
{
    double ratio = (double)p->hits / (double)p->requests, change = ratio - p->ratio_before;
    double amount = change >= 0 ? p->step : -p->step;
    uint64_t quota;

    p->ratio_before = ratio;
    p->hits = p->requests = 0;
    if (change >= RESTART_CHANGE || change <= -RESTART_CHANGE)
        p->step = STEP_SHARE * (double)p->capacity * (amount >= 0 ? 1 : -1);
    else
        p->step = amount * STEP_DECAY;
    if (amount >= 0) {
        quota = (uint64_t)amount < p->protected_max ? (uint64_t)amount : p->protected_max;
        p->protected_max -= quota;
        p->window_max += quota;
        rebalance(p);
        fill_window(p);
    } else {
        quota = (uint64_t)-amount < p->window_max ? (uint64_t)-amount : p->window_max - (p->window_max > 0);
        p->protected_max += quota;
        p->window_max -= quota;
        rebalance(p);
    }
}

/* The first use in a period is the doorkeeper's to remember; a full one passes all on. */
static void count_use(struct evict_policy *p, uint64_t hash)
{
    bool first = p->door != NULL && bloom_add(p->door, hash) == BLOOM_NEW;
    bool halved = first ? sketch_pass(p->sketch) : sketch_add(p->sketch, hash);

    if (halved && p->door != NULL)
        bloom_clear(p->door);
}

static unsigned uses(const struct evict_policy *p, uint64_t hash)
{
    return sketch_count(p->sketch, hash) + (p->door != NULL && bloom_maybe(p->door, hash));
}

static void note_request(struct evict_policy *p, uint64_t hash, bool hit)
{
    count_use(p, hash);
    p->hits += hit;
    if (++p->requests >= sketch_period(p->sketch))
        climb(p);
}

static unsigned wtinylfu_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    p->newcomer_weight = weight;
    note_request(p, hash, false);
    return 0;
}

/* What the old one knew is forgotten: uses at the door, one for each key at most. */
static void grow_door(struct evict_policy *p)
{
    struct bloom *door = p->door != NULL ? make_door(p) : NULL;

    if (door == NULL)
        return;
    bloom_free(&p->door);
    p->door = door;
}

/* Twice as many as there are, but no more than will fit at this average weight:
 * where every weight is 1 that is the capacity itself. */
static void grow_sketch(struct evict_policy *p)
{
    uint64_t count = residents(p), fits, wanted = 2 * count;
    uint64_t weight =
        p->lists[IN_WINDOW].weight + p->lists[IN_PROBATION].weight + p->lists[IN_PROTECTED].weight;

    if (count <= sketch_entries(p->sketch) || weight == 0)
        return;
    fits = (uint64_t)((double)p->capacity * (double)count / (double)weight);
    if (wanted > fits)
        wanted = fits;
    if (sketch_fit(p->sketch, wanted > count ? wanted : count)) /* else it stays and estimates worse */
        grow_door(p);
}

static void wtinylfu_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight,
                              unsigned queue)
{
    (void)hash, (void)queue;
    p->newcomer_weight = 0;
    push(p, IN_WINDOW, id, weight);
    rebalance(p);
    grow_sketch(p);
}

static void wtinylfu_touched(struct evict_policy *p, evict_id id)
{
    unsigned from = where(p, id), to = from == IN_PROBATION ? IN_PROTECTED : from;

    note_request(p, evict_host_hash(p->host, id), true);
    if (from != where(p, id)) /* the climber has moved it just now */
        from = to = where(p, id);
    if (p->lists[to].head == id)
        return;
    if (from == to) {
        list_remove(&p->lists[to], p->host->nodes, id, 0);
        list_push_head(&p->lists[to], p->host->nodes, id, 0);
        return;
    }
    transfer(p, id, to);
    rebalance(p);
}

static uint64_t roll(struct evict_policy *p)
{
    p->dice ^= p->dice >> 12;
    p->dice ^= p->dice << 25;
    p->dice ^= p->dice >> 27;
    return (p->dice * UINT64_C(0x2545F4914F6CDD1D)) >> 32;
}

static bool admits(struct evict_policy *p, evict_id candidate, evict_id victim)
{
    unsigned fame = uses(p, evict_host_hash(p->host, candidate));

    if (fame > uses(p, evict_host_hash(p->host, victim)))
        return true;
    return fame >= FAMOUS && roll(p) % LUCK == 0;
}

static evict_id wtinylfu_victim(struct evict_policy *p)
{
    const struct evict_list *window = &p->lists[IN_WINDOW];
    evict_id victim =
        p->lists[IN_PROBATION].count > 0 ? p->lists[IN_PROBATION].tail : p->lists[IN_PROTECTED].tail;
    evict_id candidate = window->tail;

    if (candidate == EVICT_NOBODY || victim == EVICT_NOBODY)
        return victim != EVICT_NOBODY ? victim : candidate;
    if (window->weight + p->newcomer_weight <= p->window_max)
        return victim;
    if (!admits(p, candidate, victim))
        return candidate;
    transfer(p, candidate, IN_PROBATION);
    return victim;
}

static void wtinylfu_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                          enum evict_reason why)
{
    (void)hash, (void)queue, (void)why;
    list_remove(&p->lists[where(p, id)], p->host->nodes, id, weight);
    p->host->nodes[id] = 0;
}

static void wtinylfu_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now,
                             unsigned queue)
{
    struct evict_list *list = &p->lists[where(p, id)];

    (void)queue;
    list->weight = list->weight - before + now;
    rebalance(p);
}

static void wtinylfu_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    list_rename(&p->lists[where(p, from)], p->host->nodes, from, to);
}

/* What the climber learnt was about another size. */
static void wtinylfu_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    set_shares(p, capacity);
    rebalance(p);
}

static void wtinylfu_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    list_each_tail_first(&p->lists[IN_PROBATION], p->host->nodes, visit, arg);
    list_each_tail_first(&p->lists[IN_WINDOW], p->host->nodes, visit, arg);
    list_each_tail_first(&p->lists[IN_PROTECTED], p->host->nodes, visit, arg);
}

static size_t wtinylfu_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + sketch_bytes(p->sketch) + (p->door != NULL ? bloom_bytes(p->door) : 0);
}

static void wtinylfu_check(const struct evict_policy *p)
{
    for (unsigned list = IN_WINDOW; list <= IN_PROTECTED; list++) {
        list_check(&p->lists[list], p->host);
        for (evict_id id = p->lists[list].head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id))
            CHECK(where(p, id) == list);
    }
    CHECK(p->window_max + p->protected_max <= p->capacity);
    sketch_check(p->sketch);
    if (p->door != NULL)
        bloom_check(p->door);
}

/* But for how one is made, both are the same. */
#define WTINYLFU(called, made_by)                                                                            \
    {                                                                                                        \
        .name = called, .create = made_by, .linked = true, .destroy = wtinylfu_destroy,                      \
        .arriving = wtinylfu_arriving, .admitted = wtinylfu_admitted, .touched = wtinylfu_touched,           \
        .victim = wtinylfu_victim, .gone = wtinylfu_gone, .resized = wtinylfu_resized,                       \
        .moved = wtinylfu_moved, .set_capacity = wtinylfu_set_capacity,                                      \
        .each_cold_first = wtinylfu_each_cold_first, .bytes = wtinylfu_bytes, .check = wtinylfu_check,       \
    }

const struct evict_type evict_wtinylfu = WTINYLFU("wtinylfu", wtinylfu_create);
const struct evict_type evict_wtinylfu_doorkeeper = WTINYLFU("wtinylfu-doorkeeper", create_with_doorkeeper);
