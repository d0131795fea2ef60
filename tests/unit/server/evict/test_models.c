/* test_models.c - every policy against a slow and obvious model of itself.
 *
 * The models keep keys in plain arrays, oldest first, and search them from end
 * to end. Random gets, deletes, overwrites with other weights, changes of the
 * capacity and of ids go to both; after every step both must have evicted the
 * same keys in the same order, and the policy's own check must pass.
 *
 * The host here is as unhelpful as evict.h allows: ids are dealt at random,
 * change while items are resident, and change at every requeue. */
#include "server/evict/evict.h"
#include "server/filter/bloom.h"
#include "server/filter/sketch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { KEYS = 300, IDS = 4 * KEYS, STEPS = 5000, SEEDS = 4, WEIGHT_MAX = 40 };

static uint64_t dice_state;

static uint32_t dice(uint32_t sides)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(((dice_state >> 32) * sides) >> 32);
}

static uint64_t hash_of(unsigned key)
{
    uint64_t x = key * UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 32);
}

/* ---- rows: ordered sets of keys, oldest first ---- */

struct row {
    unsigned n;
    unsigned key[4 * KEYS];
};

static void row_push(struct row *r, unsigned key)
{
    assert_true(r->n < sizeof(r->key) / sizeof(r->key[0]));
    r->key[r->n++] = key;
}

static int row_find(const struct row *r, unsigned key)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->key[i] == key)
            return (int)i;
    return -1;
}

static bool row_remove(struct row *r, unsigned key)
{
    int i = row_find(r, key);

    if (i < 0)
        return false;
    r->n--;
    memmove(&r->key[i], &r->key[i + 1], (r->n - (unsigned)i) * sizeof(r->key[0]));
    return true;
}

/* ---- what both sides are told ---- */

struct world {
    uint32_t weight[KEYS + 1];
    int64_t expires[KEYS + 1];
};

/* ---- the models ---- */

struct model {
    const struct rules *rules;
    const struct world *world;
    uint64_t capacity;
    bool resident[KEYS + 1];
    unsigned hits[KEYS + 1];
    struct row a, b, ghost_a, ghost_b; /* what they mean is up to the rules */
    uint32_t ghost_weight[KEYS + 1];
    unsigned hand;     /* sieve: a key */
    uint64_t age, now; /* lfu */
    uint64_t priority[KEYS + 1], used_at[KEYS + 1];
    double target; /* arc */
    char found;    /* arc: '1', '2' or 'n' while a key arrives, else 0 */
    uint32_t arriving_weight;
    unsigned leaves_no_ghost;
    struct row c, d;       /* more rows: slru */
    bool is_lir[KEYS + 1]; /* lirs */
    struct sketch *sketch; /* wtinylfu */
    struct bloom *door;    /* its doorkeeper */
    uint64_t window_max, protected_max, hit_count, requests, rolls;
    double ratio_before, step;
    struct row evicted; /* in this step */
};

struct rules {
    const char *name;
    void (*arriving)(struct model *m, unsigned key);
    void (*enter)(struct model *m, unsigned key);
    void (*hit)(struct model *m, unsigned key);
    unsigned (*victim)(struct model *m);
    void (*leave)(struct model *m, unsigned key, bool evicted);
    void (*settle)(struct model *m); /* after a weight or the capacity changed */
    void (*cold_first)(struct model *m, struct row *order);
    void (*reweighed)(struct model *m, unsigned key); /* before settle; NULL: no difference */
    void (*new_capacity)(struct model *m);            /* the same */
};

static uint64_t row_weight(const struct model *m, const struct row *r)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < r->n; i++)
        sum += m->world->weight[r->key[i]];
    return sum;
}

static uint64_t ghosts_weight(const struct model *m, const struct row *r)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < r->n; i++)
        sum += m->ghost_weight[r->key[i]];
    return sum;
}

static void enter_a(struct model *m, unsigned key)
{
    row_push(&m->a, key);
}
static void hit_nothing(struct model *m, unsigned key)
{
    (void)m, (void)key;
}
static unsigned victim_oldest(struct model *m)
{
    return m->a.key[0];
}
static void leave_a(struct model *m, unsigned key, bool evicted)
{
    (void)evicted;
    assert_true(row_remove(&m->a, key));
}
static void order_a(struct model *m, struct row *order)
{
    *order = m->a;
}

static void lru_hit(struct model *m, unsigned key)
{
    row_remove(&m->a, key);
    row_push(&m->a, key);
}

static unsigned clock_victim(struct model *m)
{
    while (m->hits[m->a.key[0]] > 0) {
        unsigned key = m->a.key[0];

        m->hits[key] = 0;
        row_remove(&m->a, key);
        row_push(&m->a, key);
    }
    return m->a.key[0];
}

static unsigned sieve_victim(struct model *m)
{
    unsigned i = m->hand != 0 ? (unsigned)row_find(&m->a, m->hand) : 0;

    while (m->hits[m->a.key[i]] > 0) {
        m->hits[m->a.key[i]] = 0;
        i = (i + 1) % m->a.n;
    }
    m->hand = m->a.key[i];
    return m->hand;
}
static void sieve_leave(struct model *m, unsigned key, bool evicted)
{
    unsigned newer = (unsigned)row_find(&m->a, key) + 1;

    (void)evicted;
    if (m->hand == key)
        m->hand = newer < m->a.n ? m->a.key[newer] : 0;
    row_remove(&m->a, key);
}

/* hits[] stops at 3, so the count is kept apart (in ghost_weight, unused here). */
static void lfu_use(struct model *m, unsigned key)
{
    if (m->ghost_weight[key] < 15)
        m->ghost_weight[key]++;
    m->priority[key] = m->age + m->ghost_weight[key];
    m->used_at[key] = ++m->now;
}
static void lfu_enter(struct model *m, unsigned key)
{
    row_push(&m->a, key);
    m->ghost_weight[key] = 0;
    lfu_use(m, key);
}
static bool lfu_colder(const struct model *m, unsigned x, unsigned y)
{
    return m->priority[x] < m->priority[y] ||
           (m->priority[x] == m->priority[y] && m->used_at[x] < m->used_at[y]);
}
static unsigned lfu_coldest(struct model *m)
{
    unsigned coldest = m->a.key[0];

    for (unsigned i = 1; i < m->a.n; i++)
        if (lfu_colder(m, m->a.key[i], coldest))
            coldest = m->a.key[i];
    return coldest;
}
static unsigned lfu_victim(struct model *m)
{
    unsigned key = lfu_coldest(m);

    m->age = m->priority[key];
    return key;
}
static void lfu_order(struct model *m, struct row *order)
{
    struct row all = m->a;

    order->n = 0;
    while (m->a.n > 0) {
        row_push(order, lfu_coldest(m));
        row_remove(&m->a, order->key[order->n - 1]);
    }
    m->a = all;
}

static unsigned ttl_victim(struct model *m)
{
    unsigned nearest = m->a.key[0];

    for (unsigned i = 1; i < m->a.n; i++)
        if (m->world->expires[m->a.key[i]] < m->world->expires[nearest])
            nearest = m->a.key[i];
    return nearest;
}
static void ttl_order(struct model *m, struct row *order)
{
    struct row all = m->a;

    order->n = 0;
    while (m->a.n > 0) {
        row_push(order, ttl_victim(m));
        row_remove(&m->a, order->key[order->n - 1]);
    }
    m->a = all;
}

/* arc: a = T1, b = T2 */
static void arc_trim(struct model *m, uint64_t coming)
{
    while (m->ghost_a.n > 0 && row_weight(m, &m->a) + ghosts_weight(m, &m->ghost_a) + coming > m->capacity)
        row_remove(&m->ghost_a, m->ghost_a.key[0]);
    while (m->ghost_a.n + m->ghost_b.n > 0 && row_weight(m, &m->a) + row_weight(m, &m->b) +
                                                      ghosts_weight(m, &m->ghost_a) +
                                                      ghosts_weight(m, &m->ghost_b) + coming >
                                                  2 * m->capacity) {
        struct row *from = m->ghost_b.n > 0 ? &m->ghost_b : &m->ghost_a;

        row_remove(from, from->key[0]);
    }
}
static void arc_arriving(struct model *m, unsigned key)
{
    double b1 = (double)ghosts_weight(m, &m->ghost_a), b2 = (double)ghosts_weight(m, &m->ghost_b);
    uint32_t weight = m->world->weight[key];

    m->arriving_weight = weight;
    if (row_remove(&m->ghost_a, key)) {
        m->found = '1';
        m->target += (b2 > b1 ? b2 / b1 : 1) * weight;
        if (m->target > (double)m->capacity)
            m->target = (double)m->capacity;
    } else if (row_remove(&m->ghost_b, key)) {
        m->found = '2';
        m->target -= (b1 > b2 ? b1 / b2 : 1) * weight;
        if (m->target < 0)
            m->target = 0;
    } else {
        m->found = 'n';
        arc_trim(m, weight);
    }
}
static void arc_enter(struct model *m, unsigned key)
{
    row_push(m->found == '1' || m->found == '2' ? &m->b : &m->a, key);
    m->found = 0;
    arc_trim(m, 0);
}
static void arc_hit(struct model *m, unsigned key)
{
    if (!row_remove(&m->a, key))
        assert_true(row_remove(&m->b, key));
    row_push(&m->b, key);
}
static unsigned arc_victim(struct model *m)
{
    uint64_t t1 = row_weight(m, &m->a);
    bool from_t1;

    m->leaves_no_ghost = 0;
    if (m->found == 'n' && m->a.n > 0 && m->ghost_a.n == 0 && t1 + m->arriving_weight > m->capacity) {
        m->leaves_no_ghost = m->a.key[0];
        return m->a.key[0];
    }
    from_t1 = m->a.n > 0 && ((double)t1 > m->target || (m->found == '2' && (double)t1 == m->target));
    if (m->b.n == 0)
        from_t1 = true;
    return from_t1 ? m->a.key[0] : m->b.key[0];
}
static void arc_leave(struct model *m, unsigned key, bool evicted)
{
    bool in_t1 = row_remove(&m->a, key);

    if (!in_t1)
        assert_true(row_remove(&m->b, key));
    if (evicted && key != m->leaves_no_ghost) {
        m->ghost_weight[key] = m->world->weight[key];
        row_push(in_t1 ? &m->ghost_a : &m->ghost_b, key);
        arc_trim(m, 0);
    }
    m->leaves_no_ghost = 0;
}
static void arc_settle(struct model *m)
{
    arc_trim(m, 0);
}
static void arc_order(struct model *m, struct row *order)
{
    *order = m->a;
    for (unsigned i = 0; i < m->b.n; i++)
        row_push(order, m->b.key[i]);
}

/* s3fifo: a = S, b = M; the ghost is exact and knows keys, not hashes */
static void s3fifo_trim(struct model *m, uint64_t coming)
{
    while (m->ghost_a.n > 0 && ghosts_weight(m, &m->ghost_a) + coming > m->capacity * 9 / 10)
        row_remove(&m->ghost_a, m->ghost_a.key[0]);
}
static void s3fifo_arriving(struct model *m, unsigned key)
{
    m->found = row_remove(&m->ghost_a, key) ? '1' : 'n';
}
static void s3fifo_enter(struct model *m, unsigned key)
{
    row_push(m->found == '1' ? &m->b : &m->a, key);
}
static unsigned s3fifo_victim(struct model *m)
{
    uint64_t small = m->capacity / 10;
    uint64_t floor = (row_weight(m, &m->a) + row_weight(m, &m->b)) / (m->a.n + m->b.n) * 32;

    if (floor > m->capacity / 2)
        floor = m->capacity / 2;
    if (small < floor)
        small = floor;
    for (;;) {
        bool from_main = m->a.n == 0 || row_weight(m, &m->b) > m->capacity - small;
        struct row *from = from_main ? &m->b : &m->a;
        unsigned key = from->key[0];

        if (from_main ? m->hits[key] == 0 : m->hits[key] < 2)
            return key;
        m->hits[key] = from_main ? m->hits[key] - 1 : 0;
        row_remove(from, key);
        row_push(&m->b, key);
    }
}
static void s3fifo_leave(struct model *m, unsigned key, bool evicted)
{
    bool was_small = row_remove(&m->a, key);

    if (!was_small)
        assert_true(row_remove(&m->b, key));
    if (evicted && was_small && m->world->weight[key] <= m->capacity * 9 / 10) {
        s3fifo_trim(m, m->world->weight[key]);
        m->ghost_weight[key] = m->world->weight[key];
        row_push(&m->ghost_a, key);
    }
}
static void s3fifo_settle(struct model *m)
{
    s3fifo_trim(m, 0);
}

/* twoq: a = A1in, b = Am, ghost_a = Aout */
static void twoq_trim(struct model *m, uint64_t coming)
{
    while (m->ghost_a.n > 0 && ghosts_weight(m, &m->ghost_a) + coming > m->capacity / 2)
        row_remove(&m->ghost_a, m->ghost_a.key[0]);
}
static void twoq_hit(struct model *m, unsigned key)
{
    if (row_remove(&m->b, key))
        row_push(&m->b, key);
}
static unsigned twoq_victim(struct model *m)
{
    return m->b.n == 0 || (m->a.n > 0 && row_weight(m, &m->a) > m->capacity / 4) ? m->a.key[0] : m->b.key[0];
}
static void twoq_leave(struct model *m, unsigned key, bool evicted)
{
    bool was_new = row_remove(&m->a, key);

    if (!was_new)
        assert_true(row_remove(&m->b, key));
    if (evicted && was_new && m->world->weight[key] <= m->capacity / 2) {
        twoq_trim(m, m->world->weight[key]);
        m->ghost_weight[key] = m->world->weight[key];
        row_push(&m->ghost_a, key);
    }
}
static void twoq_settle(struct model *m)
{
    twoq_trim(m, 0);
}

/* slru: a is the lowest segment, d the uppermost */
static struct row *slru_row(struct model *m, unsigned i)
{
    struct row *rows[] = {&m->a, &m->b, &m->c, &m->d};

    return rows[i];
}
static void slru_settle(struct model *m)
{
    for (unsigned i = 3; i > 0; i--)
        while (row_weight(m, slru_row(m, i)) > m->capacity / 4) {
            unsigned key = slru_row(m, i)->key[0];

            row_remove(slru_row(m, i), key);
            row_push(slru_row(m, i - 1), key);
        }
}
static void slru_enter(struct model *m, unsigned key)
{
    for (unsigned i = 0; i < 4; i++)
        if (row_weight(m, slru_row(m, i)) + m->world->weight[key] <= m->capacity / 4) {
            row_push(slru_row(m, i), key);
            return;
        }
    row_push(&m->a, key);
}
static void slru_hit(struct model *m, unsigned key)
{
    unsigned i = 0;

    while (!row_remove(slru_row(m, i), key))
        i++;
    row_push(slru_row(m, i < 3 ? i + 1 : 3), key);
    slru_settle(m);
}
static unsigned slru_victim(struct model *m)
{
    unsigned i = 0;

    while (slru_row(m, i)->n == 0)
        i++;
    return slru_row(m, i)->key[0];
}
static void slru_leave(struct model *m, unsigned key, bool evicted)
{
    unsigned i = 0;

    (void)evicted;
    while (!row_remove(slru_row(m, i), key))
        i++;
}
static void slru_order(struct model *m, struct row *order)
{
    order->n = 0;
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < slru_row(m, i)->n; k++)
            row_push(order, slru_row(m, i)->key[k]);
}

/* lirs with the paper's own stack: a = S, residents and ghosts, b = Q */
static uint64_t lirs_share(const struct model *m)
{
    uint64_t hir = m->capacity / 100 > 0 ? m->capacity / 100 : 1;

    return m->capacity > hir ? m->capacity - hir : 0;
}
static unsigned lirs_count(const struct model *m, bool ghosts)
{
    unsigned n = 0;

    for (unsigned i = 0; i < m->a.n; i++)
        n += ghosts ? !m->is_lir[m->a.key[i]] && row_find(&m->b, m->a.key[i]) < 0 : m->is_lir[m->a.key[i]];
    return n;
}
static uint64_t lirs_weight(const struct model *m)
{
    uint64_t weight = 0;

    for (unsigned i = 0; i < m->a.n; i++)
        weight += m->is_lir[m->a.key[i]] ? m->world->weight[m->a.key[i]] : 0;
    return weight;
}
static void lirs_prune(struct model *m)
{
    while (m->a.n > 0 && !m->is_lir[m->a.key[0]])
        row_remove(&m->a, m->a.key[0]);
    while (lirs_count(m, true) > lirs_count(m, false) + m->b.n) {
        unsigned i = 0;

        while (m->is_lir[m->a.key[i]] || row_find(&m->b, m->a.key[i]) >= 0)
            i++;
        row_remove(&m->a, m->a.key[i]);
    }
}
static void lirs_settle(struct model *m)
{
    while (lirs_weight(m) > lirs_share(m) && lirs_count(m, false) > 1) {
        unsigned key = m->a.key[0]; /* the bottom is always LIR */

        row_remove(&m->a, key);
        m->is_lir[key] = false;
        row_push(&m->b, key);
        lirs_prune(m);
    }
    lirs_prune(m);
}
static void lirs_arriving(struct model *m, unsigned key)
{
    m->found = row_remove(&m->a, key) ? '1' : 'n';
}
static void lirs_enter(struct model *m, unsigned key)
{
    m->is_lir[key] = m->found == '1' || lirs_weight(m) + m->world->weight[key] <= lirs_share(m);
    row_push(&m->a, key);
    if (!m->is_lir[key])
        row_push(&m->b, key);
    lirs_settle(m);
}
static void lirs_hit(struct model *m, unsigned key)
{
    bool in_stack = row_remove(&m->a, key);

    if (row_remove(&m->b, key)) {
        if (in_stack)
            m->is_lir[key] = true;
        else
            row_push(&m->b, key);
    }
    row_push(&m->a, key);
    lirs_settle(m);
}
static unsigned lirs_victim(struct model *m)
{
    return m->b.n > 0 ? m->b.key[0] : m->a.key[0];
}
static void lirs_leave(struct model *m, unsigned key, bool evicted)
{
    if (!row_remove(&m->b, key) || !evicted)
        row_remove(&m->a, key); /* else it stays in S as a ghost, if it is there */
    m->is_lir[key] = false;
    lirs_prune(m);
}
static void lirs_order(struct model *m, struct row *order)
{
    *order = m->b;
    for (unsigned i = 0; i < m->a.n; i++)
        if (m->is_lir[m->a.key[i]])
            row_push(order, m->a.key[i]);
}

/* gdsf: as lfu, with another priority; uses are in ghost_weight */
static void gdsf_file(struct model *m, unsigned key)
{
    m->priority[key] = m->age + ((uint64_t)m->ghost_weight[key] << 24) / m->world->weight[key];
    m->used_at[key] = ++m->now;
}
/* Whose weight has changed is filed anew. */
static void gdsf_reweighed(struct model *m, unsigned key)
{
    gdsf_file(m, key);
}
static void gdsf_enter(struct model *m, unsigned key)
{
    row_push(&m->a, key);
    m->ghost_weight[key] = 1;
    gdsf_file(m, key);
}
static void gdsf_hit(struct model *m, unsigned key)
{
    if (m->ghost_weight[key] < 255)
        m->ghost_weight[key]++;
    gdsf_file(m, key);
}

/* wtinylfu: a = window, b = probation, c = protected. The sketch and the doorkeeper
 * are the real ones; test_sketch.c and test_bloom.c are about those. */
static void wtinylfu_hire(struct model *m)
{
    if (strcmp(m->rules->name, "wtinylfu-doorkeeper") != 0)
        return;
    bloom_free(&m->door);
    m->door = bloom_new(sketch_period(m->sketch), .1, 0);
    assert_non_null(m->door);
}
static unsigned wtinylfu_uses(const struct model *m, unsigned key)
{
    unsigned uses = sketch_count(m->sketch, hash_of(key));

    return m->door != NULL && bloom_maybe(m->door, hash_of(key)) ? uses + 1 : uses;
}
static void wtinylfu_count(struct model *m, unsigned key)
{
    if (m->door == NULL)
        sketch_add(m->sketch, hash_of(key));
    else if (bloom_add(m->door, hash_of(key)) != BLOOM_NEW ? sketch_add(m->sketch, hash_of(key))
                                                           : sketch_pass(m->sketch))
        bloom_clear(m->door);
}
static void wtinylfu_shares(struct model *m)
{
    m->window_max = m->capacity / 100 > 0 ? m->capacity / 100 : 1;
    m->protected_max = (uint64_t)((double)(m->capacity - m->window_max) * .8);
    m->step = .0625 * (double)m->capacity;
    m->ratio_before = 0;
    m->hit_count = m->requests = 0;
    if (m->sketch != NULL)
        return;
    m->sketch = sketch_new(256);
    wtinylfu_hire(m);
}
static void wtinylfu_balance(struct model *m)
{
    unsigned key;

    while (row_weight(m, &m->c) > m->protected_max) {
        key = m->c.key[0];
        row_remove(&m->c, key);
        row_push(&m->b, key);
    }
    while (row_weight(m, &m->a) > m->window_max) {
        key = m->a.key[0];
        row_remove(&m->a, key);
        row_push(&m->b, key);
    }
}
static void wtinylfu_climb(struct model *m)
{
    double ratio = (double)m->hit_count / (double)m->requests, change = ratio - m->ratio_before;
    double move = change < 0 ? -m->step : m->step, full = .0625 * (double)m->capacity;
    uint64_t most;

    if (change >= .05 || change <= -.05)
        m->step = move < 0 ? -full : full;
    else
        m->step = move * .98;
    m->ratio_before = ratio;
    m->hit_count = m->requests = 0;
    most = move < 0 ? (uint64_t)-move : (uint64_t)move;
    if (move < 0) {
        if (most >= m->window_max)
            most = m->window_max > 0 ? m->window_max - 1 : 0;
        m->window_max -= most;
        m->protected_max += most;
        wtinylfu_balance(m);
        return;
    }
    if (most > m->protected_max)
        most = m->protected_max;
    m->window_max += most;
    m->protected_max -= most;
    wtinylfu_balance(m);
    while (m->b.n + m->c.n > 0) {
        struct row *from = m->b.n > 0 ? &m->b : &m->c;
        unsigned key = from->key[0];

        if (row_weight(m, &m->a) + m->world->weight[key] > m->window_max)
            return;
        row_remove(from, key);
        row_push(&m->a, key);
    }
}
static void wtinylfu_note(struct model *m, unsigned key, bool hit)
{
    if (m->sketch == NULL)
        wtinylfu_shares(m);
    wtinylfu_count(m, key);
    m->hit_count += hit;
    if (++m->requests == sketch_period(m->sketch))
        wtinylfu_climb(m);
}
static void wtinylfu_arriving(struct model *m, unsigned key)
{
    m->arriving_weight = m->world->weight[key];
    wtinylfu_note(m, key, false);
}
static void wtinylfu_enter(struct model *m, unsigned key)
{
    uint64_t count, weight, fits;

    m->arriving_weight = 0;
    row_push(&m->a, key);
    wtinylfu_balance(m);
    count = m->a.n + m->b.n + m->c.n;
    weight = row_weight(m, &m->a) + row_weight(m, &m->b) + row_weight(m, &m->c);
    fits = (uint64_t)((double)m->capacity * (double)count / (double)weight);
    if (count <= sketch_entries(m->sketch))
        return;
    sketch_fit(m->sketch, fits < count ? count : fits < 2 * count ? fits : 2 * count);
    wtinylfu_hire(m);
}
static void wtinylfu_hit(struct model *m, unsigned key)
{
    bool was_on_probation = row_find(&m->b, key) >= 0;

    wtinylfu_note(m, key, true);
    if (row_remove(&m->a, key))
        row_push(&m->a, key);
    else if (row_remove(&m->c, key))
        row_push(&m->c, key);
    else if (row_remove(&m->b, key)) /* the climber may have put it here just now: then it stays */
        row_push(was_on_probation ? &m->c : &m->b, key);
    wtinylfu_balance(m);
}
static uint64_t wtinylfu_roll(struct model *m)
{
    m->rolls ^= m->rolls >> 12;
    m->rolls ^= m->rolls << 25;
    m->rolls ^= m->rolls >> 27;
    return (m->rolls * UINT64_C(0x2545F4914F6CDD1D)) >> 32;
}
static unsigned wtinylfu_victim(struct model *m)
{
    unsigned victim = m->b.n > 0 ? m->b.key[0] : m->c.n > 0 ? m->c.key[0] : 0, seen;

    if (victim == 0)
        return m->a.key[0];
    if (m->a.n == 0 || row_weight(m, &m->a) + m->arriving_weight <= m->window_max)
        return victim;
    seen = wtinylfu_uses(m, m->a.key[0]);
    if (seen <= wtinylfu_uses(m, victim) && !(seen >= 6 && wtinylfu_roll(m) % 128 == 0))
        return m->a.key[0];
    row_push(&m->b, m->a.key[0]);
    row_remove(&m->a, m->a.key[0]);
    return victim;
}
static void wtinylfu_leave(struct model *m, unsigned key, bool evicted)
{
    (void)evicted;
    assert_true(row_remove(&m->a, key) || row_remove(&m->b, key) || row_remove(&m->c, key));
}
static void wtinylfu_order(struct model *m, struct row *order)
{
    const struct row *rows[] = {&m->b, &m->a, &m->c};

    order->n = 0;
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < rows[i]->n; k++)
            row_push(order, rows[i]->key[k]);
}

static const struct rules models[] = {
    {"lru", NULL, enter_a, lru_hit, victim_oldest, leave_a, NULL, order_a, NULL, NULL},
    {"fifo", NULL, enter_a, hit_nothing, victim_oldest, leave_a, NULL, NULL, NULL, NULL},
    {"clock", NULL, enter_a, hit_nothing, clock_victim, leave_a, NULL, NULL, NULL, NULL},
    {"sieve", NULL, enter_a, hit_nothing, sieve_victim, sieve_leave, NULL, order_a, NULL, NULL},
    {"lfu", NULL, lfu_enter, lfu_use, lfu_victim, leave_a, NULL, lfu_order, NULL, NULL},
    {"ttl", NULL, enter_a, hit_nothing, ttl_victim, leave_a, NULL, ttl_order, NULL, NULL},
    {"arc", arc_arriving, arc_enter, arc_hit, arc_victim, arc_leave, arc_settle, arc_order, NULL, NULL},
    {"s3fifo", s3fifo_arriving, s3fifo_enter, hit_nothing, s3fifo_victim, s3fifo_leave, s3fifo_settle, NULL,
     NULL, NULL},
    {"twoq", s3fifo_arriving, s3fifo_enter, twoq_hit, twoq_victim, twoq_leave, twoq_settle, arc_order, NULL,
     NULL},
    {"slru", NULL, slru_enter, slru_hit, slru_victim, slru_leave, slru_settle, slru_order, NULL, NULL},
    {"lirs", lirs_arriving, lirs_enter, lirs_hit, lirs_victim, lirs_leave, lirs_settle, lirs_order, NULL,
     NULL},
    {"gdsf", NULL, gdsf_enter, gdsf_hit, lfu_victim, leave_a, NULL, lfu_order, gdsf_reweighed, NULL},
    {"wtinylfu", wtinylfu_arriving, wtinylfu_enter, wtinylfu_hit, wtinylfu_victim, wtinylfu_leave,
     wtinylfu_balance, wtinylfu_order, NULL, wtinylfu_shares},
    {"wtinylfu-doorkeeper", wtinylfu_arriving, wtinylfu_enter, wtinylfu_hit, wtinylfu_victim, wtinylfu_leave,
     wtinylfu_balance, wtinylfu_order, NULL, wtinylfu_shares},
};

static uint64_t model_held(const struct model *m)
{
    uint64_t held = 0;

    for (unsigned key = 1; key <= KEYS; key++)
        held += m->resident[key] ? m->world->weight[key] : 0;
    return held;
}

static void model_make_room(struct model *m, uint32_t weight)
{
    while (model_held(m) + weight > m->capacity) {
        unsigned key = m->rules->victim(m);

        m->rules->leave(m, key, true);
        m->resident[key] = false;
        row_push(&m->evicted, key);
    }
}

static void model_get(struct model *m, unsigned key)
{
    if (m->resident[key]) {
        m->hits[key] += m->hits[key] < 3;
        m->rules->hit(m, key);
        return;
    }
    if (m->rules->arriving != NULL)
        m->rules->arriving(m, key);
    model_make_room(m, m->world->weight[key]);
    m->resident[key] = true;
    m->hits[key] = 0;
    m->rules->enter(m, key);
}

static void model_drop(struct model *m, unsigned key)
{
    if (!m->resident[key])
        return;
    m->rules->leave(m, key, false);
    m->resident[key] = false;
}

static void model_settle(struct model *m)
{
    if (m->rules->settle != NULL)
        m->rules->settle(m);
    model_make_room(m, 0);
}

/* ---- the policy under test and its host ---- */

struct held {
    unsigned key;
    uint32_t weight;
    unsigned hits, queue;
};

struct cache {
    const struct evict_type *type;
    struct evict_policy *policy;
    struct evict_host host;
    const struct world *world;
    uint64_t capacity, weight;
    evict_id id_of[KEYS + 1]; /* EVICT_NOBODY: not resident */
    struct held held[IDS + 1];
    uint64_t nodes[IDS + 1];
    struct row queues[EVICT_QUEUES_MAX]; /* of ids */
    struct row evicted;                  /* keys, in this step */
};

static evict_id fresh_id(const struct cache *c)
{
    evict_id id;

    do
        id = 1 + dice(IDS);
    while (c->held[id].key != 0);
    assert_int_equal(c->nodes[id], 0);
    return id;
}

static evict_id host_oldest(void *ctx, unsigned queue)
{
    struct cache *c = ctx;

    return c->queues[queue].n > 0 ? c->queues[queue].key[0] : EVICT_NOBODY;
}

static void host_requeue(void *ctx, evict_id id, unsigned queue, unsigned hits)
{
    struct cache *c = ctx;
    evict_id to = fresh_id(c);

    assert_true(queue < c->type->queues && hits <= EVICT_HITS_MAX);
    assert_true(row_remove(&c->queues[c->held[id].queue], id));
    row_push(&c->queues[queue], to);
    c->held[to] = c->held[id];
    c->held[to].queue = queue;
    c->held[to].hits = hits;
    c->held[id] = (struct held){0};
    c->id_of[c->held[to].key] = to;
}

static struct held *held_at(struct cache *c, evict_id id)
{
    assert_true(id != EVICT_NOBODY && id <= IDS && c->held[id].key != 0);
    return &c->held[id];
}

static unsigned host_hits(void *ctx, evict_id id)
{
    return held_at(ctx, id)->hits;
}
static void host_set_hits(void *ctx, evict_id id, unsigned hits)
{
    held_at(ctx, id)->hits = hits;
}
static uint32_t host_weight(void *ctx, evict_id id)
{
    return held_at(ctx, id)->weight;
}
static int64_t host_expires(void *ctx, evict_id id)
{
    struct cache *c = ctx;

    return c->world->expires[held_at(c, id)->key];
}
static uint64_t host_hash(void *ctx, evict_id id)
{
    return hash_of(held_at(ctx, id)->key);
}
static evict_id host_any(void *ctx, uint64_t roll)
{
    struct cache *c = ctx;
    unsigned n = 0, pick;

    for (unsigned key = 1; key <= KEYS; key++)
        n += c->id_of[key] != EVICT_NOBODY;
    if (n == 0)
        return EVICT_NOBODY;
    pick = (unsigned)(roll % n);
    for (unsigned key = 1;; key++)
        if (c->id_of[key] != EVICT_NOBODY && pick-- == 0)
            return c->id_of[key];
}

static struct cache *cache_new(const char *name, const struct world *world, uint64_t capacity, uint64_t seed)
{
    struct cache *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    c->type = evict_type_find(name);
    assert_non_null(c->type);
    c->world = world;
    c->capacity = capacity;
    c->host = (struct evict_host){c,           host_oldest,  host_requeue, host_hits, host_set_hits,
                                  host_weight, host_expires, host_hash,    host_any,  NULL};
    if (c->type->linked)
        c->host.nodes = c->nodes;
    c->policy = c->type->create(&c->host, &(struct evict_config){capacity, seed});
    assert_non_null(c->policy);
    return c;
}

static void cache_free(struct cache *c)
{
    c->type->destroy(c->policy);
    free(c);
}

static void cache_leave(struct cache *c, evict_id id, enum evict_reason why)
{
    struct held h = *held_at(c, id);

    c->type->gone(c->policy, id, hash_of(h.key), h.weight, h.queue, why);
    assert_int_equal(c->nodes[id], 0);
    if (c->type->queues > 0)
        assert_true(row_remove(&c->queues[h.queue], id));
    c->weight -= h.weight;
    c->id_of[h.key] = EVICT_NOBODY;
    c->held[id] = (struct held){0};
}

static void cache_make_room(struct cache *c, uint32_t weight)
{
    while (c->weight + weight > c->capacity) {
        evict_id id = c->type->victim(c->policy);

        row_push(&c->evicted, held_at(c, id)->key);
        cache_leave(c, id, EVICT_EVICTED);
    }
}

static void cache_get(struct cache *c, unsigned key)
{
    evict_id id = c->id_of[key];
    uint32_t weight = c->world->weight[key];
    unsigned queue;

    if (id != EVICT_NOBODY) {
        c->held[id].hits += c->held[id].hits < EVICT_HITS_MAX;
        if (c->type->touched != NULL)
            c->type->touched(c->policy, id);
        return;
    }
    queue = c->type->arriving(c->policy, hash_of(key), weight);
    cache_make_room(c, weight);
    id = fresh_id(c);
    c->held[id] = (struct held){key, weight, 0, queue};
    c->id_of[key] = id;
    c->weight += weight;
    if (c->type->queues > 0)
        row_push(&c->queues[queue], id);
    c->type->admitted(c->policy, id, hash_of(key), weight, queue);
}

static void cache_drop(struct cache *c, unsigned key)
{
    if (c->id_of[key] != EVICT_NOBODY)
        cache_leave(c, c->id_of[key], EVICT_REMOVED);
}

/* The world has just changed the key's weight. */
static void cache_reweigh(struct cache *c, unsigned key)
{
    evict_id id = c->id_of[key];
    uint32_t before = c->held[id].weight, now = c->world->weight[key];

    c->held[id].weight = now;
    c->weight = c->weight - before + now;
    if (c->type->resized != NULL)
        c->type->resized(c->policy, id, before, now, c->held[id].queue);
    cache_make_room(c, 0);
}

static void cache_rename(struct cache *c, unsigned key)
{
    evict_id from = c->id_of[key], to;

    if (!c->type->linked || from == EVICT_NOBODY)
        return;
    to = fresh_id(c);
    c->held[to] = c->held[from];
    c->id_of[key] = to;
    c->type->moved(c->policy, from, to);
    c->held[from] = (struct held){0};
    assert_int_equal(c->nodes[from], 0);
}

static void visit_into_row(void *arg, evict_id id)
{
    row_push(arg, id);
}

static void compare_order(struct cache *c, struct model *m)
{
    static struct row visited, expected;

    visited.n = 0;
    c->type->each_cold_first(c->policy, visit_into_row, &visited);
    m->rules->cold_first(m, &expected);
    assert_int_equal(visited.n, expected.n);
    for (unsigned i = 0; i < visited.n; i++)
        assert_int_equal(held_at(c, visited.key[i])->key, expected.key[i]);
}

/* ---- random life ---- */

/* Low keys are asked for more often. */
static unsigned popular_key(void)
{
    uint64_t a = dice(1 << 16), b = dice(1 << 16);

    return 1 + (unsigned)((a * b * KEYS) >> 32);
}

static int64_t new_expiry(void)
{
    static int64_t serial;

    return (int64_t)dice(1 << 20) << 24 | serial++; /* no two alike */
}

static void step(struct cache *c, struct model *m, struct world *w, bool weighted)
{
    unsigned key = dice(20) == 0 ? 1 + dice(KEYS) : popular_key(), what = dice(1000);

    if (what < 860) {
        if (c->id_of[key] == EVICT_NOBODY)
            w->expires[key] = new_expiry();
        cache_get(c, key);
        model_get(m, key);
    } else if (what < 900) {
        cache_drop(c, key);
        model_drop(m, key);
    } else if (what < 940) {
        cache_rename(c, key);
    } else if (what < 970 && c->id_of[key] != EVICT_NOBODY) {
        w->expires[key] = new_expiry();
        if (c->type->expiry_changed != NULL)
            c->type->expiry_changed(c->policy, c->id_of[key]);
    } else if (what < 997 && weighted && c->id_of[key] != EVICT_NOBODY) {
        w->weight[key] = 1 + dice(WEIGHT_MAX);
        cache_reweigh(c, key);
        if (m->rules->reweighed != NULL)
            m->rules->reweighed(m, key);
        model_settle(m);
    } else if (what >= 997) {
        c->capacity = weighted ? 200 + dice(2000) : 20 + dice(150);
        c->type->set_capacity(c->policy, c->capacity);
        m->target = m->target / (double)m->capacity * (double)c->capacity;
        m->capacity = c->capacity;
        if (m->rules->new_capacity != NULL)
            m->rules->new_capacity(m);
        cache_make_room(c, 0);
        model_settle(m);
    }
}

static void compare(const struct rules *rules, bool weighted, uint64_t seed)
{
    uint64_t capacity = weighted ? 1500 : 80;
    struct world *w = calloc(1, sizeof(*w));
    struct model *m = calloc(1, sizeof(*m));
    struct cache *c;

    assert_true(w != NULL && m != NULL);
    dice_state = seed;
    for (unsigned key = 1; key <= KEYS; key++)
        w->weight[key] = weighted ? 1 + dice(WEIGHT_MAX) : 1;
    m->rules = rules;
    m->world = w;
    m->capacity = capacity;
    m->rolls = (seed + 1) * UINT64_C(0xD1342543DE82EF95) | 1;
    c = cache_new(rules->name, w, capacity, seed);
    for (int i = 0; i < STEPS; i++) {
        c->evicted.n = m->evicted.n = 0;
        step(c, m, w, weighted);
        assert_int_equal(c->evicted.n, m->evicted.n);
        for (unsigned k = 0; k < c->evicted.n; k++)
            assert_int_equal(c->evicted.key[k], m->evicted.key[k]);
        c->type->check(c->policy);
        if (rules->cold_first != NULL && i % 500 == 499)
            compare_order(c, m);
    }
    for (unsigned key = 1; key <= KEYS; key++) {
        assert_int_equal(c->id_of[key] != EVICT_NOBODY, m->resident[key]);
        cache_drop(c, key);
        c->type->check(c->policy);
    }
    assert_int_equal(c->type->victim(c->policy), EVICT_NOBODY);
    cache_free(c);
    sketch_free(&m->sketch);
    bloom_free(&m->door);
    free(m);
    free(w);
}

static void policies_evict_what_their_models_evict(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            compare(&models[i], false, seed);
            compare(&models[i], true, seed + 100);
        }
}

/* ---- what a model cannot say ---- */

static void fill_evictions(uint64_t seed, struct row *evicted)
{
    struct world *w = calloc(1, sizeof(*w));
    struct cache *c;

    assert_non_null(w);
    for (unsigned key = 1; key <= KEYS; key++)
        w->weight[key] = 1;
    dice_state = 1;
    c = cache_new("random", w, 50, seed);
    for (unsigned i = 0; i < 1000; i++)
        cache_get(c, 1 + i % KEYS);
    *evicted = c->evicted;
    cache_free(c);
    free(w);
}

static void random_repeats_itself_only_for_the_same_seed(void **state)
{
    static struct row a, b, other;

    (void)state;
    fill_evictions(7, &a);
    fill_evictions(7, &b);
    fill_evictions(8, &other);
    assert_true(a.n > 500);
    assert_memory_equal(a.key, b.key, a.n * sizeof(a.key[0]));
    assert_memory_not_equal(a.key, other.key, a.n * sizeof(a.key[0]));
}

static void random_reaches_every_place(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct cache *c;
    unsigned kills[11] = {0};

    (void)state;
    assert_non_null(w);
    for (unsigned key = 1; key <= KEYS; key++)
        w->weight[key] = 1;
    c = cache_new("random", w, 10, 3);
    for (unsigned key = 1; key <= 10; key++)
        cache_get(c, key);
    for (int i = 0; i < 10000; i++)
        kills[c->held[c->type->victim(c->policy)].key]++;
    for (unsigned key = 1; key <= 10; key++)
        assert_in_range(kills[key], 850, 1150);
    cache_free(c);
    free(w);
}

static void ttl_keeps_the_undying_for_last(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct cache *c;

    (void)state;
    assert_non_null(w);
    for (unsigned key = 1; key <= KEYS; key++) {
        w->weight[key] = 1;
        w->expires[key] = key % 2 == 0 ? INT64_MAX : (int64_t)(KEYS - key);
    }
    dice_state = 5;
    c = cache_new("ttl", w, 100, 0);
    for (unsigned key = 1; key <= 100; key++)
        cache_get(c, key);
    for (unsigned key = 101; key <= 150; key++)
        cache_get(c, key == 150 ? 200 : 2 * (key - 50)); /* even ones, some resident */
    for (unsigned i = 1; i < c->evicted.n && c->evicted.key[i] % 2 == 1; i++)
        assert_true(c->evicted.key[i] < c->evicted.key[i - 1]);
    for (unsigned key = 2; key <= 100; key += 2)
        assert_true(c->id_of[key] != EVICT_NOBODY);
    c->type->check(c->policy);
    cache_free(c);
    free(w);
}

/* More may be held than fits in S: it is a queue's share, not a size limit. */
static void s3fifo_admits_what_is_larger_than_its_small_queue(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct cache *c;

    (void)state;
    assert_non_null(w);
    for (unsigned key = 1; key <= KEYS; key++)
        w->weight[key] = 1;
    w->weight[1] = 900;
    dice_state = 1;
    c = cache_new("s3fifo", w, 1000, 0);
    cache_get(c, 1);
    assert_true(c->id_of[1] != EVICT_NOBODY);
    for (unsigned key = 2; key <= 90; key++)
        cache_get(c, key);
    assert_true(c->id_of[1] != EVICT_NOBODY);
    c->type->check(c->policy);
    cache_free(c);
    free(w);
}

static void every_row_is_found_by_its_name(void **state)
{
    size_t i = 0;

    (void)state;
    for (const struct evict_type *t; (t = evict_type_at(i)) != NULL; i++) {
        assert_ptr_equal(evict_type_find(t->name), t);
        assert_true(t->queues <= EVICT_QUEUES_MAX && !(t->queues > 0 && t->linked));
        assert_true(t->linked == (t->moved != NULL));
        assert_true(t->linked == (t->each_cold_first != NULL));
        t->destroy(NULL);
    }
    assert_int_equal(i, 14);
    assert_string_equal(evict_type_find("wtinylfu-doorkeeper")->name, "wtinylfu-doorkeeper");
    assert_null(evict_type_find("mru"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_its_name),
        cmocka_unit_test(policies_evict_what_their_models_evict),
        cmocka_unit_test(random_repeats_itself_only_for_the_same_seed),
        cmocka_unit_test(random_reaches_every_place),
        cmocka_unit_test(ttl_keeps_the_undying_for_last),
        cmocka_unit_test(s3fifo_admits_what_is_larger_than_its_small_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
