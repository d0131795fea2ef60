/* arc.c - adaptive replacement: recency (T1) and frequency (T2), with the
 * share of each learnt from the ghosts of both (B1, B2). After Megiddo and
 * Modha, FAST'03.
 *
 * Rules, with c the capacity and p the target for T1:
 * (1) a hit goes to the new end of T2; a newcomer that B1 or B2 remembers
 *     goes there too, any other goes to T1.
 * (2) Found in B1: p grows by max(|B2|/|B1|, 1). Found in B2: p shrinks by
 *     max(|B1|/|B2|, 1). The ratio is taken before the ghost is removed, and
 *     p stays a real number within 0..c.
 * (3) The victim is T1's oldest if |T1| > p, or |T1| = p and the newcomer was
 *     found in B2; else T2's. It leaves a ghost in B1 or B2.
 * (4) For an unknown newcomer |T1|+|B1| is first brought below c by dropping
 *     B1's oldest; where T1 alone is that large, T1's oldest dies without a
 *     ghost. All four together stay below 2c by dropping B2's oldest.
 *
 * All |sizes| are weights. With weights the steps of p are scaled by what the
 * newcomer weighs, and the droppings of (4) are loops; with weight 1 this is
 * the paper's algorithm to the letter. */
#include "server/evict/policies.h"
#include "server/evict/ghost.h"
#include "server/evict/list.h"
#include "server/check.h"

#include <stdlib.h>

enum { IN_T1 = 1, IN_T2 = 2 }; /* the node's mark */

enum newcomer { NEWCOMER_NONE, NEWCOMER_UNKNOWN, NEWCOMER_IN_B1, NEWCOMER_IN_B2 };

struct evict_policy {
    const struct evict_host *host;
    uint64_t capacity;
    double target; /* p: what T1 should weigh */
    struct evict_list t1, t2;
    struct ghost *b1, *b2;
    enum newcomer newcomer; /* between arriving() and admitted() */
    uint32_t newcomer_weight;
    evict_id no_ghost; /* the victim that leaves none */
};

static void arc_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    ghost_free(&p->b1);
    ghost_free(&p->b2);
    free(p);
}

static struct evict_policy *arc_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    p->capacity = config->capacity;
    if ((p->b1 = ghost_new()) == NULL || (p->b2 = ghost_new()) == NULL) {
        arc_destroy(p);
        return NULL;
    }
    return p;
}

/* Drops ghosts until `weight` more fits: B1 within what T1 leaves of c, all
 * four within 2c. */
static void trim_ghosts(struct evict_policy *p, uint64_t weight)
{
    while (p->t1.weight + ghost_weight(p->b1) + weight > p->capacity)
        if (!ghost_drop_oldest(p->b1))
            break;
    while (p->t1.weight + p->t2.weight + ghost_weight(p->b1) + ghost_weight(p->b2) + weight > 2 * p->capacity)
        if (!ghost_drop_oldest(p->b2) && !ghost_drop_oldest(p->b1))
            break;
}

/* How far a hit in a ghost of weight `mine` moves the target. */
static double step(uint64_t mine, uint64_t other, uint32_t weight)
{
    double ratio = (double)other / (double)mine;

    return (ratio > 1 ? ratio : 1) * weight;
}

static unsigned arc_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    uint64_t b1 = ghost_weight(p->b1), b2 = ghost_weight(p->b2);

    p->newcomer_weight = weight;
    if (ghost_take(p->b1, hash)) {
        p->newcomer = NEWCOMER_IN_B1;
        p->target += step(b1, b2, weight);
        if (p->target > (double)p->capacity)
            p->target = (double)p->capacity;
    } else if (ghost_take(p->b2, hash)) {
        p->newcomer = NEWCOMER_IN_B2;
        p->target -= step(b2, b1, weight);
        if (p->target < 0)
            p->target = 0;
    } else {
        p->newcomer = NEWCOMER_UNKNOWN;
        trim_ghosts(p, weight);
    }
    return 0;
}

static void arc_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    bool known = p->newcomer == NEWCOMER_IN_B1 || p->newcomer == NEWCOMER_IN_B2;

    (void)hash, (void)queue;
    node_set_mark(p->host->nodes, id, known ? IN_T2 : IN_T1);
    list_push_head(known ? &p->t2 : &p->t1, p->host->nodes, id, weight);
    p->newcomer = NEWCOMER_NONE;
    trim_ghosts(p, 0);
}

static struct evict_list *list_of(struct evict_policy *p, evict_id id)
{
    return node_mark(p->host->nodes, id) == IN_T1 ? &p->t1 : &p->t2;
}

static void arc_touched(struct evict_policy *p, evict_id id)
{
    uint64_t *nodes = p->host->nodes;

    if (p->t2.head == id)
        return;
    if (node_mark(nodes, id) == IN_T1) {
        uint32_t weight = evict_host_weight(p->host, id);

        list_remove(&p->t1, nodes, id, weight);
        node_set_mark(nodes, id, IN_T2);
        list_push_head(&p->t2, nodes, id, weight);
    } else {
        list_remove(&p->t2, nodes, id, 0);
        list_push_head(&p->t2, nodes, id, 0);
    }
}

static evict_id arc_victim(struct evict_policy *p)
{
    double t1 = (double)p->t1.weight;

    if (p->newcomer == NEWCOMER_UNKNOWN && p->t1.count > 0 && ghost_count(p->b1) == 0 &&
        p->t1.weight + p->newcomer_weight > p->capacity) {
        p->no_ghost = p->t1.tail;
        return p->t1.tail;
    }
    p->no_ghost = EVICT_NOBODY;
    if (p->t2.count == 0 ||
        (p->t1.count > 0 && (t1 > p->target || (p->newcomer == NEWCOMER_IN_B2 && t1 >= p->target))))
        return p->t1.tail;
    return p->t2.tail;
}

static void arc_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                     enum evict_reason why)
{
    struct evict_list *list = list_of(p, id);

    (void)queue;
    list_remove(list, p->host->nodes, id, weight);
    p->host->nodes[id] = 0;
    if (why == EVICT_EVICTED && id != p->no_ghost) {
        ghost_push(list == &p->t1 ? p->b1 : p->b2, hash, weight);
        trim_ghosts(p, 0);
    }
    p->no_ghost = EVICT_NOBODY;
}

static void arc_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    struct evict_list *list = list_of(p, id);

    (void)queue;
    list->weight = list->weight - before + now;
    trim_ghosts(p, 0);
}

static void arc_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    if (p->no_ghost == from)
        p->no_ghost = to;
    list_rename(list_of(p, from), p->host->nodes, from, to);
}

static void arc_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    /* What was learnt is a proportion. */
    p->target = p->capacity > 0 ? p->target / (double)p->capacity * (double)capacity : 0;
    p->capacity = capacity;
    trim_ghosts(p, 0);
}

static void arc_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    list_each_tail_first(&p->t1, p->host->nodes, visit, arg);
    list_each_tail_first(&p->t2, p->host->nodes, visit, arg);
}

static size_t arc_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + ghost_bytes(p->b1) + ghost_bytes(p->b2);
}

static void check_marks(const struct evict_policy *p, const struct evict_list *list, uint8_t mark)
{
    list_check(list, p->host);
    for (evict_id id = list->head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id))
        CHECK(node_mark(p->host->nodes, id) == mark);
}

static void arc_check(const struct evict_policy *p)
{
    check_marks(p, &p->t1, IN_T1);
    check_marks(p, &p->t2, IN_T2);
    ghost_check(p->b1);
    ghost_check(p->b2);
    CHECK(p->target >= 0 && p->target <= (double)p->capacity);
    CHECK(ghost_count(p->b1) == 0 || p->t1.weight + ghost_weight(p->b1) <= p->capacity);
}

const struct evict_type evict_arc = {
    .name = "arc",
    .linked = true,
    .create = arc_create,
    .destroy = arc_destroy,
    .arriving = arc_arriving,
    .admitted = arc_admitted,
    .touched = arc_touched,
    .victim = arc_victim,
    .gone = arc_gone,
    .resized = arc_resized,
    .moved = arc_moved,
    .set_capacity = arc_set_capacity,
    .each_cold_first = arc_each_cold_first,
    .bytes = arc_bytes,
    .check = arc_check,
};
