/* ghost.c - a ring in order of eviction and a table of places in it.
 *
 *   ring:  ... | print: 40  weight: 24 | hole | print weight | ...
 *              ^ first                                        ^ first + span
 *   table: linear probing; a place in the ring + 1, or 0
 *
 * Entries come in at one end only, so the list of a ghost is a FIFO with holes
 * and needs no links. Rules: (1) a removal leaves a hole, which is overtaken
 * when the oldest end reaches it; (2) when the ring is full it is rebuilt with
 * room for a quarter more than what lives; (3) when three quarters of it are
 * unused it is rebuilt smaller; (4) ring and table are one allocation, and
 * where that fails the ghost just stays shorter.
 *
 * A rebuild visits every entry: 20 ms for a million. prints.h avoids that and
 * half the memory; what it cannot do is name the oldest entry. */
#include "server/evict/ghost.h"
#include "server/check.h"

#include <stdlib.h>
#include <string.h>

#define PRINT_BITS  40
#define PRINT_MASK  ((UINT64_C(1) << PRINT_BITS) - 1)
#define WEIGHT_BITS 19 /* below them 5 bits that say how far it was shifted */
#define HOLE        UINT64_C(0)

enum { RING_MIN = 64, RING_MAX = 1 << 30 };

struct ghost {
    uint64_t *ring;   /* `size` entries */
    uint64_t *stamps; /* `size` of them beside the entries, or NULL; in the same allocation */
    uint32_t *table;  /* `table_size` places, in the same allocation */
    bool stamped;
    uint32_t size, table_size;
    uint32_t first, span; /* the used part of the ring, holes included */
    uint32_t count;
    uint64_t weight;
};

/* Never 0, so that no entry looks like a hole. */
static uint64_t weight_code(uint32_t weight)
{
    uint64_t shift = 0, w = weight > 0 ? weight : 1;

    while (w >> WEIGHT_BITS != 0) {
        w >>= 1;
        shift++;
    }
    return w << 5 | shift;
}

static uint64_t entry_make(uint64_t hash, uint32_t weight)
{
    return (hash & PRINT_MASK) | weight_code(weight) << PRINT_BITS;
}

static uint64_t entry_weight(uint64_t entry)
{
    uint64_t code = entry >> PRINT_BITS;

    return (code >> 5) << (code & 31);
}

static uint32_t home_of(const struct ghost *g, uint64_t print)
{
    return (uint32_t)(((print >> (PRINT_BITS - 32) & UINT32_MAX) * g->table_size) >> 32);
}

static uint32_t next_in_table(const struct ghost *g, uint32_t t)
{
    return t + 1 == g->table_size ? 0 : t + 1;
}

static uint32_t ring_at(const struct ghost *g, uint32_t offset)
{
    uint32_t i = g->first + offset;

    return i >= g->size ? i - g->size : i;
}

/* Where in the table the print is; table_size if nowhere. */
static uint32_t table_find(const struct ghost *g, uint64_t print)
{
    if (g->count == 0)
        return g->table_size;
    for (uint32_t t = home_of(g, print); g->table[t] != 0; t = next_in_table(g, t))
        if ((g->ring[g->table[t] - 1] & PRINT_MASK) == print)
            return t;
    return g->table_size;
}

static uint32_t table_find_place(const struct ghost *g, uint32_t place)
{
    uint32_t t = home_of(g, g->ring[place] & PRINT_MASK);

    while (g->table[t] != place + 1) {
        CHECK(g->table[t] != 0);
        t = next_in_table(g, t);
    }
    return t;
}

static void table_insert(struct ghost *g, uint32_t place)
{
    uint32_t t = home_of(g, g->ring[place] & PRINT_MASK);

    while (g->table[t] != 0)
        t = next_in_table(g, t);
    g->table[t] = place + 1;
}

/* Closes the gap at t: later entries of the run move up unless that would put
 * them before their home. */
static void table_remove(struct ghost *g, uint32_t t)
{
    for (uint32_t u = next_in_table(g, t); g->table[u] != 0; u = next_in_table(g, u)) {
        uint32_t home = home_of(g, g->ring[g->table[u] - 1] & PRINT_MASK);
        bool stays = t < u ? home > t && home <= u : home > t || home <= u;

        if (stays)
            continue;
        g->table[t] = g->table[u];
        t = u;
    }
    g->table[t] = 0;
}

static void skip_holes(struct ghost *g)
{
    while (g->span > 0 && g->ring[g->first] == HOLE) {
        g->first = ring_at(g, 1);
        g->span--;
    }
}

static void forget(struct ghost *g, uint32_t t)
{
    uint32_t place = g->table[t] - 1;

    table_remove(g, t);
    g->weight -= entry_weight(g->ring[place]);
    g->ring[place] = HOLE;
    g->count--;
    skip_holes(g);
}

static bool rebuild(struct ghost *g, uint64_t size)
{
    struct ghost old = *g;
    size_t words;

    if (size < RING_MIN)
        size = RING_MIN;
    if (size > RING_MAX)
        return false;
    g->size = (uint32_t)size;
    g->table_size = (uint32_t)(size + size / 3 + 1); /* a load of at most 3/4 */
    words = (size_t)g->size * (g->stamped ? 2 : 1);
    g->ring = calloc(1, words * sizeof(g->ring[0]) + g->table_size * sizeof(g->table[0]));
    if (g->ring == NULL) {
        *g = old;
        return false;
    }
    g->stamps = g->stamped ? g->ring + g->size : NULL;
    g->table = (uint32_t *)(void *)(g->ring + words);
    g->first = g->span = 0;
    for (uint32_t i = 0; i < old.span; i++) {
        uint32_t place = ring_at(&old, i);

        if (old.ring[place] == HOLE)
            continue;
        g->ring[g->span] = old.ring[place];
        if (g->stamped)
            g->stamps[g->span] = old.stamps[place];
        table_insert(g, g->span++);
    }
    CHECK(g->span == g->count);
    free(old.ring);
    return true;
}

static void shrink_if_sparse(struct ghost *g)
{
    if (g->size > RING_MIN && g->count < g->size / 4)
        rebuild(g, (uint64_t)g->count + g->count / 4); /* else it stays large */
}

struct ghost *ghost_new(void)
{
    return calloc(1, sizeof(struct ghost));
}

struct ghost *ghost_new_stamped(void)
{
    struct ghost *g = ghost_new();

    if (g != NULL)
        g->stamped = true;
    return g;
}

void ghost_free(struct ghost **gp)
{
    if (*gp == NULL)
        return;
    free((*gp)->ring);
    free(*gp);
    *gp = NULL;
}

/* Where it was put; UINT32_MAX when there is no memory even for one. */
static uint32_t push(struct ghost *g, uint64_t hash, uint32_t weight)
{
    uint32_t place;

    if (g->span == g->size && !rebuild(g, (uint64_t)g->count + g->count / 4 + 1)) {
        if (g->count == 0)
            return UINT32_MAX;
        forget(g, table_find_place(g, g->first));
    }
    place = ring_at(g, g->span++);
    g->ring[place] = entry_make(hash, weight);
    g->weight += entry_weight(g->ring[place]);
    g->count++;
    table_insert(g, place);
    return place;
}

void ghost_push(struct ghost *g, uint64_t hash, uint32_t weight)
{
    CHECK(!g->stamped);
    push(g, hash, weight);
}

void ghost_push_stamped(struct ghost *g, uint64_t hash, uint32_t weight, uint64_t stamp)
{
    uint32_t place = push(g, hash, weight);

    CHECK(g->stamped);
    if (place != UINT32_MAX)
        g->stamps[place] = stamp;
}

uint64_t ghost_oldest_stamp(const struct ghost *g)
{
    return g->count > 0 ? g->stamps[g->first] : UINT64_MAX;
}

bool ghost_has(const struct ghost *g, uint64_t hash)
{
    return table_find(g, hash & PRINT_MASK) < g->table_size;
}

bool ghost_take(struct ghost *g, uint64_t hash)
{
    uint32_t t = table_find(g, hash & PRINT_MASK);

    if (t >= g->table_size)
        return false;
    forget(g, t);
    shrink_if_sparse(g);
    return true;
}

bool ghost_drop_oldest(struct ghost *g)
{
    if (g->count == 0)
        return false;
    forget(g, table_find_place(g, g->first));
    shrink_if_sparse(g);
    return true;
}

uint64_t ghost_count(const struct ghost *g)
{
    return g->count;
}

uint64_t ghost_weight(const struct ghost *g)
{
    return g->weight;
}

size_t ghost_bytes(const struct ghost *g)
{
    return sizeof(*g) + (g->stamped ? 2 : 1) * g->size * sizeof(g->ring[0]) +
           g->table_size * sizeof(g->table[0]);
}

void ghost_check(const struct ghost *g)
{
    uint32_t count = 0, in_table = 0;
    uint64_t weight = 0;

    CHECK(g->span <= g->size && (g->size == 0 || g->first < g->size));
    CHECK(g->span == 0 || g->ring[g->first] != HOLE);
    for (uint32_t i = 0; i < g->span; i++) {
        uint32_t place = ring_at(g, i);

        if (g->ring[place] == HOLE)
            continue;
        count++;
        weight += entry_weight(g->ring[place]);
        CHECK(table_find_place(g, place) < g->table_size);
    }
    for (uint32_t t = 0; t < g->table_size; t++)
        in_table += g->table[t] != 0;
    CHECK(count == g->count && in_table == g->count && weight == g->weight);
}
