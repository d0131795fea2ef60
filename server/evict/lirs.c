/* lirs.c - keeps the items with the shortest time between their last two uses.
 * After Jiang and Zhang, "LIRS: an efficient low inter-reference recency set
 * replacement policy", SIGMETRICS'02.
 *
 * Nearly all of the capacity is for LIR items, a hundredth for HIR items, which
 * wait in Q and die in its order. The paper's stack S holds, in order of last
 * use, whatever was used since the LIR item used longest ago. Here S is not a
 * list: every item carries the stamp of its last use, and is in S if that is
 * later than the last LIR item's. So the paper's pruning is a comparison, and
 * an item of both S and Q needs links for Q alone.
 *
 * Rules: (1) a newcomer is LIR while those have room, or when its ghost is in
 * S; else it is HIR. (2) A hit HIR item in S becomes LIR, one not in S goes to
 * the end of Q. (3) While LIR items weigh more than their share, the one used
 * longest ago goes to the end of Q as HIR, and is not in S. (4) The victim is
 * the front of Q, or, when Q is empty, the LIR item used longest ago. A HIR
 * victim in S leaves a ghost. (5) Ghosts that are not in S are dropped, and the
 * oldest when they are more than resident items: the paper sets no bound, and
 * keys that never return would fill memory.
 *
 * Why one ghost an item: with two, three or no bound eight of the ten cells
 * measured stay within .004, the other two miss .01 to .03 more.
 *
 * 16 bytes an item and more where ids are sparse, and 21 to 25 a ghost. */
#include "server/evict/policies.h"
#include "server/evict/ghost.h"
#include "server/evict/list.h"
#include "server/evict/stamps.h"
#include "server/check.h"

#include <stdlib.h>

enum { IS_LIR = 1, IS_HIR = 2, HAS_STAMP = 4 }; /* the node's mark */
enum { HIR_PER_CAPACITY = 100, GHOSTS_PER_ITEM = 1 };

struct evict_policy {
    const struct evict_host *host;
    uint64_t capacity, now;
    struct evict_list lir, hir; /* lir by last use, hir is Q */
    struct ghost *ghosts;
    struct stamps *stamps; /* 0: not in S */
    bool known;            /* the newcomer's ghost was in S */
};

static void lirs_destroy(struct evict_policy *p)
{
    if (p == NULL)
        return;
    ghost_free(&p->ghosts);
    stamps_free(&p->stamps);
    free(p);
}

static struct evict_policy *lirs_create(const struct evict_host *host, const struct evict_config *config)
{
    struct evict_policy *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->host = host;
    p->capacity = config->capacity;
    p->ghosts = ghost_new_stamped();
    p->stamps = stamps_new();
    if (p->ghosts == NULL || p->stamps == NULL) {
        lirs_destroy(p);
        return NULL;
    }
    return p;
}

/* Without one, where memory was short, an item is taken for not in S whenever it is used. */
static bool has_stamp(const struct evict_policy *p, evict_id id)
{
    return (node_mark(p->host->nodes, id) & HAS_STAMP) != 0;
}

static uint64_t stamp_of(const struct evict_policy *p, evict_id id)
{
    return has_stamp(p, id) ? *stamps_at(p->stamps, id) : 0;
}

static void set_stamp(struct evict_policy *p, evict_id id, uint64_t stamp)
{
    if (has_stamp(p, id))
        *stamps_at(p->stamps, id) = stamp;
}

static bool is_lir(const struct evict_policy *p, evict_id id)
{
    return (node_mark(p->host->nodes, id) & IS_LIR) != 0;
}

/* The stamp at the bottom of S; what is earlier is not in it. */
static uint64_t bottom(const struct evict_policy *p)
{
    return p->lir.count > 0 ? stamp_of(p, p->lir.tail) : UINT64_MAX;
}

static bool in_stack(const struct evict_policy *p, evict_id id)
{
    return stamp_of(p, id) > bottom(p);
}

static uint64_t lir_share(const struct evict_policy *p)
{
    uint64_t hir = p->capacity / HIR_PER_CAPACITY;

    if (hir == 0)
        hir = 1;
    return p->capacity > hir ? p->capacity - hir : 0;
}

static void trim_ghosts(struct evict_policy *p)
{
    uint64_t most = GHOSTS_PER_ITEM * (p->lir.count + p->hir.count), from = bottom(p);

    while (ghost_count(p->ghosts) > 0 &&
           (ghost_oldest_stamp(p->ghosts) < from || ghost_count(p->ghosts) > most))
        ghost_drop_oldest(p->ghosts);
}

static void push(struct evict_policy *p, uint8_t mark, evict_id id, uint32_t weight)
{
    node_set_mark(p->host->nodes, id, (uint8_t)(mark | (node_mark(p->host->nodes, id) & HAS_STAMP)));
    list_push_head(mark == IS_LIR ? &p->lir : &p->hir, p->host->nodes, id, weight);
}

/* Makes HIR what is LIR beyond its share, all but the last. */
static void demote(struct evict_policy *p)
{
    while (p->lir.weight > lir_share(p) && p->lir.count > 1) {
        evict_id id = p->lir.tail;
        uint32_t weight = evict_host_weight(p->host, id);

        list_remove(&p->lir, p->host->nodes, id, weight);
        set_stamp(p, id, 0);
        push(p, IS_HIR, id, weight);
    }
    trim_ghosts(p);
}

static unsigned lirs_arriving(struct evict_policy *p, uint64_t hash, uint32_t weight)
{
    (void)weight;
    p->known = ghost_take(p->ghosts, hash);
    return 0;
}

static void lirs_admitted(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue)
{
    bool lir = p->known || p->lir.weight + weight <= lir_share(p);

    (void)hash, (void)queue;
    p->known = false;
    node_set_mark(p->host->nodes, id, stamps_claim(p->stamps, id) ? HAS_STAMP : 0);
    set_stamp(p, id, ++p->now);
    push(p, lir ? IS_LIR : IS_HIR, id, weight);
    if (lir)
        demote(p);
}

static void lirs_touched(struct evict_policy *p, evict_id id)
{
    uint64_t *nodes = p->host->nodes;
    uint32_t weight;

    if (is_lir(p, id)) {
        bool was_bottom = p->lir.tail == id;

        set_stamp(p, id, ++p->now);
        if (p->lir.head != id) {
            list_remove(&p->lir, nodes, id, 0);
            list_push_head(&p->lir, nodes, id, 0);
        }
        if (was_bottom)
            trim_ghosts(p);
        return;
    }
    weight = evict_host_weight(p->host, id);
    list_remove(&p->hir, nodes, id, weight);
    if (in_stack(p, id)) {
        set_stamp(p, id, ++p->now);
        push(p, IS_LIR, id, weight);
        demote(p);
    } else {
        set_stamp(p, id, ++p->now);
        push(p, IS_HIR, id, weight);
    }
}

static evict_id lirs_victim(struct evict_policy *p)
{
    return p->hir.count > 0 ? p->hir.tail : p->lir.tail;
}

static void lirs_gone(struct evict_policy *p, evict_id id, uint64_t hash, uint32_t weight, unsigned queue,
                      enum evict_reason why)
{
    bool lir = is_lir(p, id);

    (void)queue;
    if (!lir && why == EVICT_EVICTED && in_stack(p, id))
        ghost_push_stamped(p->ghosts, hash, weight, stamp_of(p, id));
    list_remove(lir ? &p->lir : &p->hir, p->host->nodes, id, weight);
    if (has_stamp(p, id))
        stamps_release(p->stamps, id);
    p->host->nodes[id] = 0;
    trim_ghosts(p);
}

static void lirs_resized(struct evict_policy *p, evict_id id, uint32_t before, uint32_t now, unsigned queue)
{
    struct evict_list *list = is_lir(p, id) ? &p->lir : &p->hir;

    (void)queue;
    list->weight = list->weight - before + now;
    demote(p);
}

static void lirs_moved(struct evict_policy *p, evict_id from, evict_id to)
{
    uint64_t *nodes = p->host->nodes, stamp = stamp_of(p, from);
    uint8_t mark = is_lir(p, from) ? IS_LIR : IS_HIR;

    if (has_stamp(p, from))
        stamps_release(p->stamps, from);
    list_rename(mark == IS_LIR ? &p->lir : &p->hir, nodes, from, to);
    node_set_mark(nodes, to, stamps_claim(p->stamps, to) ? (uint8_t)(mark | HAS_STAMP) : mark);
    set_stamp(p, to, stamp);
}

static void lirs_set_capacity(struct evict_policy *p, uint64_t capacity)
{
    p->capacity = capacity;
    demote(p);
}

static void lirs_each_cold_first(struct evict_policy *p, void (*visit)(void *arg, evict_id id), void *arg)
{
    list_each_tail_first(&p->hir, p->host->nodes, visit, arg);
    list_each_tail_first(&p->lir, p->host->nodes, visit, arg);
}

static size_t lirs_bytes(const struct evict_policy *p)
{
    return sizeof(*p) + ghost_bytes(p->ghosts) + p->stamps->bytes;
}

static void lirs_check(const struct evict_policy *p)
{
    uint64_t before = UINT64_MAX;

    list_check(&p->lir, p->host);
    list_check(&p->hir, p->host);
    for (evict_id id = p->lir.head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id)) {
        CHECK(is_lir(p, id));
        CHECK(stamp_of(p, id) < before || stamp_of(p, id) == 0);
        before = stamp_of(p, id);
    }
    for (evict_id id = p->hir.head; id != EVICT_NOBODY; id = node_next(p->host->nodes, id))
        CHECK(!is_lir(p, id));
    ghost_check(p->ghosts);
    CHECK(ghost_count(p->ghosts) <= GHOSTS_PER_ITEM * (p->lir.count + p->hir.count));
}

const struct evict_type evict_lirs = {
    .name = "lirs",
    .linked = true,
    .create = lirs_create,
    .destroy = lirs_destroy,
    .arriving = lirs_arriving,
    .admitted = lirs_admitted,
    .touched = lirs_touched,
    .victim = lirs_victim,
    .gone = lirs_gone,
    .resized = lirs_resized,
    .moved = lirs_moved,
    .set_capacity = lirs_set_capacity,
    .each_cold_first = lirs_each_cold_first,
    .bytes = lirs_bytes,
    .check = lirs_check,
};
