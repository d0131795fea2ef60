/* placement.c - capacity-capped rendezvous hashing.
 *
 * A granule wants the nodes in the order of their cost, the cheapest first. A
 * node takes what it can get, up to its quota; once full it gives back its
 * dearest granule for a cheaper one, and that granule asks its next node. Both
 * sides go by the same costs, so there is one outcome, whoever asks first: that
 * of taking all pairs in the order of (cost, granule, node id) and keeping each
 * whose granule is still free and whose node still has room.
 *
 * The price is G x n hashes, 2.5 ns each: 40 ms for 16384 granules and 1000
 * nodes, and that per change of membership. */
#include "cluster/placement.h"

#include <stdlib.h>

#include "server/check.h"

/* ---- costs ---- */

uint64_t placement_node_key(const struct node_id *id)
{
    uint64_t key = 0xcbf29ce484222325; /* FNV-1a */

    for (unsigned i = 0; i < NODE_ID_BYTES; i++)
        key = (key ^ id->bytes[i]) * 0x100000001b3;
    return key;
}

/* The granule's number of the SplitMix64 sequence that starts from the node's key. */
static inline uint64_t draw(uint64_t node_key, unsigned granule)
{
    uint64_t z = node_key + (granule + 1) * 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* -log2(h / 2^64) in 2^-32ths, to 5e-5; integers only, so that everybody gets the same.
 * Tried for every x: it never rises with h. */
static inline uint64_t minus_log2(uint64_t h)
{
    unsigned zeros = (unsigned)__builtin_clzll(h | 1);
    uint64_t x = (h | (h == 0)) << zeros << 1 >> 32; /* h = 2^(63 - zeros) x (1 + x / 2^32) */
    uint64_t q = 646535156 - (x * 192732170 >> 32);

    q = 1157828758 - (x * q >> 32);
    q = 1900173326 - (x * q >> 32);
    return ((uint64_t)(zeros + 1) << 32) - x - ((x * ((UINT64_C(1) << 32) - x) >> 32) * q >> 32);
}

/* h is a uniform draw, so -log(h) / weight is exponential with the rate `weight`: the
 * least of several is node i's with probability weight(i) / all weights. */
uint64_t placement_cost(uint64_t node_key, unsigned granule, unsigned weight)
{
    return (minus_log2(draw(node_key, granule)) << 24) / weight;
}

/* ---- the matching ---- */

/* A node as the matching sees it; sorted by id, so that an index orders as the id does. */
struct seat {
    struct node_id id;
    uint64_t key;
    uint16_t node; /* index in the caller's array */
    uint16_t weight;
    uint16_t class; /* a granule that avoids this class is not for this node */
    uint32_t quota, taken;
    uint64_t dearest;     /* what the worst of those taken costs, once full; UINT64_MAX before */
    struct holding *held; /* a heap, the dearest on top */
};

struct holding {
    uint64_t cost;
    uint16_t granule;
};

struct matching {
    unsigned granules;
    size_t seats_count;
    struct seat *seats;
    struct holding *holdings;
    uint16_t *avoid;   /* by granule: the class that it may not go to */
    uint16_t *waiting; /* a stack of granules without a node */
};

static bool dearer(const struct holding *a, const struct holding *b)
{
    return a->cost != b->cost ? a->cost > b->cost : a->granule > b->granule;
}

/* Whether the node would take it, now or by giving back another. */
static bool wants(const struct seat *seat, uint64_t cost, unsigned granule)
{
    struct holding one = {cost, (uint16_t)granule};

    return seat->taken < seat->quota || (seat->quota > 0 && dearer(&seat->held[0], &one));
}

static void heap_down(struct holding *heap, size_t count)
{
    struct holding top = heap[0];
    size_t at = 0;

    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && dearer(&heap[child + 1], &heap[child]))
            child++;
        if (!dearer(&heap[child], &top))
            break;
        heap[at] = heap[child];
    }
    heap[at] = top;
}

static void heap_up(struct holding *heap, size_t at)
{
    struct holding one = heap[at];

    for (size_t parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (!dearer(&one, &heap[parent]))
            break;
        heap[at] = heap[parent];
    }
    heap[at] = one;
}

/* Returns the granule that lost its place for this one; NOBODY when there was room. */
static uint16_t seat_take(struct seat *seat, uint64_t cost, uint16_t granule)
{
    uint16_t lost = NOBODY;

    if (seat->taken < seat->quota) {
        seat->held[seat->taken++] = (struct holding){cost, granule};
        heap_up(seat->held, seat->taken - 1);
    } else {
        lost = seat->held[0].granule;
        seat->held[0] = (struct holding){cost, granule};
        heap_down(seat->held, seat->taken);
    }
    if (seat->taken == seat->quota)
        seat->dearest = seat->held[0].cost;
    return lost;
}

/* The cheapest node that takes this granule now; with `anyhow`, even a full one
 * that would rather not. A full node's dearest only ever gets cheaper: whoever
 * refuses now need not be asked again, and so nothing is remembered between two
 * looks. (Tried: a list of the next eight; keeping it costs more than it saves.)
 *
 * -log2(u) >= 1.44 (1 - u), so most nodes are seen to be too dear without a logarithm. */
static struct seat *seat_for(const struct matching *m, unsigned granule, bool anyhow, uint64_t *cost)
{
    uint16_t avoid = m->avoid[granule];
    struct seat *found = NULL;
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; i < m->seats_count; i++) {
        struct seat *seat = &m->seats[i];
        uint64_t bound = seat->dearest < least && !anyhow ? seat->dearest : least;
        uint64_t h = draw(seat->key, granule), c;

        if ((~h >> 32) * 1475 >> 10 > (uint64_t)((unsigned __int128)bound * seat->weight >> 24) + 1)
            continue;
        c = (minus_log2(h) << 24) / seat->weight;
        if (c < least && seat->class != avoid && (anyhow || wants(seat, c, granule))) {
            least = c;
            found = seat;
        }
    }
    *cost = least;
    return found;
}

/* Finds one granule a node. Returns the granule that is without one now, or NOBODY. */
static uint16_t settle(struct matching *m, uint16_t granule, uint16_t *result)
{
    uint64_t cost;
    struct seat *seat = seat_for(m, granule, false, &cost);

    if (seat == NULL) { /* zones have left no room: better a node with too many than none */
        seat = seat_for(m, granule, true, &cost);
        result[granule] = seat != NULL ? seat->node : NOBODY;
        return NOBODY;
    }
    result[granule] = seat->node;
    return seat_take(seat, cost, granule);
}

static void match(struct matching *m, uint16_t *result)
{
    size_t waiting = m->granules;

    while (waiting > 0) {
        uint16_t lost = settle(m, m->waiting[--waiting], result);
        if (lost != NOBODY)
            m->waiting[waiting++] = lost;
    }
}

/* ---- from the caller's nodes to seats, and back ---- */

static int by_id(const void *a, const void *b)
{
    const struct seat *x = a, *y = b;

    return node_id_compare(&x->id, &y->id);
}

static void matching_free(struct matching *m)
{
    free(m->seats);
    free(m->holdings);
    free(m->avoid);
    free(m->waiting);
}

static bool matching_init(struct matching *m, const struct placement_node *nodes, size_t count,
                          struct placement_rules rules)
{
    CHECK(placement_rules_valid(rules) && count <= PLACEMENT_NODES_MAX);
    *m = (struct matching){.granules = rules.granules};
    m->seats = calloc(count > 0 ? count : 1, sizeof *m->seats);
    m->avoid = calloc(rules.granules, sizeof *m->avoid);
    m->waiting = calloc(rules.granules, sizeof *m->waiting);
    if (m->seats == NULL || m->avoid == NULL || m->waiting == NULL) {
        matching_free(m);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(nodes[i].zone < PLACEMENT_NODES_MAX);
        if (nodes[i].weight == 0)
            continue;
        m->seats[m->seats_count++] = (struct seat){.id = nodes[i].id,
                                                   .key = placement_node_key(&nodes[i].id),
                                                   .node = (uint16_t)i,
                                                   .weight = nodes[i].weight,
                                                   .class = nodes[i].zone,
                                                   .dearest = UINT64_MAX};
    }
    qsort(m->seats, m->seats_count, sizeof *m->seats, by_id);
    for (size_t i = 1; i < m->seats_count; i++)
        CHECK(by_id(&m->seats[i - 1], &m->seats[i]) < 0);
    for (unsigned g = 0; g < rules.granules; g++) {
        m->avoid[g] = NOBODY;
        m->waiting[g] = (uint16_t)g;
    }
    return true;
}

/* Room for what the quotas allow. */
static bool matching_seat(struct matching *m)
{
    size_t all = 0;

    for (size_t i = 0; i < m->seats_count; i++) {
        if (m->seats[i].quota > m->granules)
            m->seats[i].quota = m->granules;
        if (m->seats[i].quota == 0)
            m->seats[i].dearest = 0;
        all += m->seats[i].quota;
    }
    m->holdings = calloc(all > 0 ? all : 1, sizeof *m->holdings);
    if (m->holdings == NULL)
        return false;
    all = 0;
    for (size_t i = 0; i < m->seats_count; i++) {
        m->seats[i].held = m->holdings + all;
        all += m->seats[i].quota;
    }
    return true;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static uint64_t weight_of_all(const struct matching *m)
{
    uint64_t all = 0;

    for (size_t i = 0; i < m->seats_count; i++)
        all += m->seats[i].weight;
    return all;
}

bool placement_owners(const struct placement_node *nodes, size_t count, struct placement_rules rules,
                      uint16_t *owners)
{
    struct matching m;
    uint64_t all;
    bool ok;

    if (!matching_init(&m, nodes, count, rules))
        return false;
    all = weight_of_all(&m);
    for (size_t i = 0; i < m.seats_count; i++)
        m.seats[i].quota = (uint32_t)divide_up(
            (uint64_t)(1000 + rules.headroom) * rules.granules * m.seats[i].weight, 1000 * all);
    ok = matching_seat(&m);
    if (ok)
        match(&m, owners);
    matching_free(&m);
    return ok;
}

/* ---- seconds ---- */

/* Without a second zone to go to, each node is a zone by itself. */
static bool has_zones(const struct matching *m)
{
    for (size_t i = 1; i < m->seats_count; i++)
        if (m->seats[i].class != m->seats[0].class)
            return true;
    return false;
}

/* What is avoided in a class spreads over all others by weight; a node's quota
 * is its part of all that, and the headroom. */
static void seconds_quotas(struct matching *m, unsigned headroom, const uint32_t *avoiding, uint64_t *shares,
                           size_t classes)
{
    uint64_t all = weight_of_all(m), sum = 0;

    for (size_t i = 0; i < m->seats_count; i++)
        shares[m->seats[i].class] += m->seats[i].weight;
    for (size_t c = 0; c < classes; c++) {
        shares[c] = all > shares[c] ? ((uint64_t)avoiding[c] << 32) / (all - shares[c]) : 0;
        sum += shares[c];
    }
    /* weight x share <= granules << 32, so nothing overflows. */
    for (size_t i = 0; i < m->seats_count; i++)
        m->seats[i].quota =
            (uint32_t)divide_up((1000 + headroom) * (m->seats[i].weight * (sum - shares[m->seats[i].class])),
                                UINT64_C(1000) << 32);
}

/* Above all zones, and all nodes. */
static size_t classes_of(const struct placement_node *nodes, size_t count)
{
    size_t most = count;

    for (size_t i = 0; i < count; i++)
        most = nodes[i].zone >= most ? nodes[i].zone + 1U : most;
    return most;
}

bool placement_seconds(const struct placement_node *nodes, size_t count, struct placement_rules rules,
                       const uint16_t *firsts, uint16_t *seconds)
{
    size_t nothing = classes_of(nodes, count), classes = nothing + 1; /* the last: avoids nothing */
    uint32_t *avoiding = calloc(classes, sizeof *avoiding);
    uint64_t *shares = calloc(classes, sizeof *shares);
    struct matching m = {0};
    bool ok = avoiding != NULL && shares != NULL && matching_init(&m, nodes, count, rules);
    bool zones;

    if (ok) {
        zones = has_zones(&m);
        for (size_t i = 0; i < m.seats_count && !zones; i++)
            m.seats[i].class = m.seats[i].node;
        for (unsigned g = 0; g < rules.granules; g++) {
            uint16_t first = firsts[g];

            CHECK(first == NOBODY || first < count);
            if (first != NOBODY)
                m.avoid[g] = zones ? nodes[first].zone : first;
            avoiding[first != NOBODY ? m.avoid[g] : nothing]++;
        }
        seconds_quotas(&m, rules.headroom, avoiding, shares, classes);
        ok = matching_seat(&m);
        if (ok)
            match(&m, seconds);
        matching_free(&m);
    }
    free(avoiding);
    free(shares);
    return ok;
}
