/* shadow.c - a table of sampled keys, and caches that hold some of them.
 *
 *   entries:  hash, weight, expiry, who holds it       one for each key known
 *   shadow:   policy, links or nodes, hit bits          indexed by entry
 *
 * Rules: (1) an entry is there as long as a shadow holds it. (2) Every shadow
 * sees the same requests in the same order, but for items that are heavier
 * than it: those it never holds. (3) The sample gets thinner by half when the
 * shadow of scale 1 outgrows `items` or the table is full, by forgetting the
 * keys that no longer belong and halving all capacities; it gets denser when
 * the shadows of scale 1 are full with less than a quarter of `items`, and the
 * window begins anew. (4) Where keys are sampled (R < 1), what is heavier than
 * an eighth of the room of scale 1 is left out: one such item would empty a
 * shadow that stands for hundreds of times as much.
 *
 * The error is that of a total estimated from a sample of clusters, a cluster
 * being all misses of a key (see bench/sim_run.c). Misses by key are not kept
 * here, so it is taken from a few groups: the sample is dealt into 16 parts by
 * hash, and the spread of their sums is that of the whole. */
#include "server/evict/shadow.h"
#include "server/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES_PER_ITEM = 3, /* the shadows of scale 1 do not all hold the same */
    THIN_MAX = 28,
    HEAVY = 8,
    PARTS = 16,
    HITS = 3, /* of a shadow's byte for an entry */
    QUEUE_BIT = 4,
    TRACKED = 8
};

struct entry {
    uint64_t hash;
    int64_t expires;
    uint32_t weight;
    uint32_t next; /* of the same table cell, or of the free ones */
    uint16_t holders;
    uint8_t db;
    bool awaited; /* the real cache missed it, so what is stored next is its filling */
};
_Static_assert(SHADOWS_MAX <= 16, "holders has a bit for each");

struct shadow_link {
    uint32_t newer, older;
};

struct shadow {
    struct shadows *all;
    struct shadow_kind kind;
    unsigned number;
    struct evict_policy *policy;
    struct evict_host host;
    uint64_t whole;    /* what the real cache could hold */
    uint64_t capacity; /* what this one may */
    uint64_t held, count;
    size_t bytes_new; /* of the policy when it was made: a large one has no more of these */
    uint8_t *state;
    struct shadow_link *links; /* queue-shaped policies */
    uint32_t newest[EVICT_QUEUES_MAX], oldest[EVICT_QUEUES_MAX];
    bool full;
    double misses, parts[PARTS]; /* in the window */
};

struct shadows {
    uint32_t items, entries_max, entries_used;
    uint32_t free; /* head of the free entries */
    uint32_t table_mask;
    uint32_t *table;
    struct entry *entries; /* from 1 */
    unsigned thin;         /* R is 2^-thin */
    unsigned count;
    uint64_t seed;
    struct shadow shadows[SHADOWS_MAX];
    double reads, all_reads, disagreed[SHADOWS_MAX][SHADOWS_MAX];
};

/* ---- what a policy may ask ---- */

static void enqueue(struct shadow *s, uint32_t id, unsigned queue)
{
    s->state[id] = (uint8_t)((s->state[id] & ~QUEUE_BIT) | (queue != 0 ? QUEUE_BIT : 0));
    s->links[id] = (struct shadow_link){.newer = 0, .older = s->newest[queue]};
    if (s->newest[queue] != 0)
        s->links[s->newest[queue]].newer = id;
    else
        s->oldest[queue] = id;
    s->newest[queue] = id;
}

static unsigned queue_of(const struct shadow *s, uint32_t id)
{
    return (s->state[id] & QUEUE_BIT) != 0;
}

static void dequeue(struct shadow *s, uint32_t id)
{
    unsigned queue = queue_of(s, id);
    struct shadow_link link = s->links[id];

    if (link.newer != 0)
        s->links[link.newer].older = link.older;
    else
        s->newest[queue] = link.older;
    if (link.older != 0)
        s->links[link.older].newer = link.newer;
    else
        s->oldest[queue] = link.newer;
}

static evict_id host_oldest(void *ctx, unsigned queue)
{
    const struct shadow *s = ctx;

    return s->oldest[queue];
}

static void host_set_hits(void *ctx, evict_id id, unsigned hits)
{
    struct shadow *s = ctx;

    s->state[id] = (uint8_t)((s->state[id] & ~HITS) | (int)hits);
}

static void host_requeue(void *ctx, evict_id id, unsigned queue, unsigned hits)
{
    dequeue(ctx, id);
    enqueue(ctx, id, queue);
    host_set_hits(ctx, id, hits);
}

static unsigned host_hits(void *ctx, evict_id id)
{
    const struct shadow *s = ctx;

    return s->state[id] & HITS;
}

static uint32_t host_weight(void *ctx, evict_id id)
{
    const struct shadow *s = ctx;

    return s->all->entries[id].weight;
}

static int64_t host_expires(void *ctx, evict_id id)
{
    const struct shadow *s = ctx;
    int64_t expires = s->all->entries[id].expires;

    return expires != 0 ? expires : INT64_MAX;
}

static uint64_t host_hash(void *ctx, evict_id id)
{
    const struct shadow *s = ctx;

    return s->all->entries[id].hash;
}

/* A random entry, or the next one after it that is there and may go. */
static evict_id host_any(void *ctx, uint64_t dice)
{
    const struct shadow *s = ctx;
    uint32_t used = s->all->entries_used, at = used > 0 ? (uint32_t)(((dice >> 32) * used) >> 32) : 0;

    for (uint32_t i = 0; i < used; i++, at++)
        if (s->state[at % used + 1] & TRACKED)
            return at % used + 1;
    return EVICT_NOBODY;
}

/* ---- life ---- */

static uint64_t scaled(const struct shadow *s)
{
    double room = ldexp((double)s->whole * s->kind.scale, -(int)s->all->thin);

    return room > 1 ? (uint64_t)room : 1;
}

static void shadow_destroy(struct shadow *s)
{
    if (s->policy != NULL)
        s->kind.type->destroy(s->policy);
    free(s->host.nodes);
    free(s->links);
    free(s->state);
    *s = (struct shadow){0};
}

static bool shadow_init(struct shadows *all, unsigned number, const struct shadow_kind *kind, uint64_t whole)
{
    struct shadow *s = &all->shadows[number];
    size_t ids = (size_t)all->entries_max + 1;

    *s = (struct shadow){.all = all, .kind = *kind, .number = number, .whole = whole};
    s->capacity = scaled(s);
    s->host = (struct evict_host){.ctx = s,
                                  .oldest = host_oldest,
                                  .requeue = host_requeue,
                                  .hits = host_hits,
                                  .set_hits = host_set_hits,
                                  .weight = host_weight,
                                  .expires = host_expires,
                                  .hash = host_hash,
                                  .any = host_any};
    if ((s->state = calloc(ids, sizeof(s->state[0]))) == NULL)
        goto fail;
    if (kind->type->linked && (s->host.nodes = calloc(ids, sizeof(s->host.nodes[0]))) == NULL)
        goto fail;
    if (kind->type->queues > 0 && (s->links = calloc(ids, sizeof(s->links[0]))) == NULL)
        goto fail;
    struct evict_config config = {.capacity = s->capacity, .seed = all->seed};
    if ((s->policy = kind->type->create(&s->host, &config)) == NULL)
        goto fail;
    s->bytes_new = kind->type->bytes(s->policy);
    return true;
fail:
    shadow_destroy(s);
    return false;
}

/* How many keys are known at most: as many as the largest shadow may hold, and some. */
static uint32_t entries_wanted(const struct shadow_kind *kinds, unsigned count, uint32_t items)
{
    double largest = 1;

    for (unsigned i = 0; i < count; i++)
        if (kinds[i].scale > largest)
            largest = kinds[i].scale;
    return (uint32_t)(largest * items * (largest > 1 ? 2 : ENTRIES_PER_ITEM));
}

struct shadows *shadows_new(const struct shadow_kind *kinds, unsigned count, uint32_t items, uint64_t seed)
{
    struct shadows *all = calloc(1, sizeof(*all));

    CHECK(count <= SHADOWS_MAX);
    if (all == NULL)
        return NULL;
    all->items = items > SHADOW_ITEMS_MIN ? items : SHADOW_ITEMS_MIN;
    all->seed = seed;
    all->entries_max = entries_wanted(kinds, count, all->items);
    all->table_mask = 1;
    while (all->table_mask < all->entries_max)
        all->table_mask = all->table_mask * 2 + 1;
    all->table = calloc((size_t)all->table_mask + 1, sizeof(all->table[0]));
    all->entries = calloc((size_t)all->entries_max + 1, sizeof(all->entries[0]));
    if (all->table == NULL || all->entries == NULL)
        goto fail;
    for (; all->count < count; all->count++)
        if (!shadow_init(all, all->count, &kinds[all->count], 1))
            goto fail;
    return all;
fail:
    shadows_free(&all);
    return NULL;
}

void shadows_free(struct shadows **allp)
{
    struct shadows *all = *allp;

    if (all == NULL)
        return;
    for (unsigned i = 0; i < all->count; i++)
        shadow_destroy(&all->shadows[i]);
    free(all->table);
    free(all->entries);
    free(all);
    *allp = NULL;
}

uint64_t shadows_threshold(const struct shadows *all)
{
    return UINT64_C(1) << (32 - all->thin);
}

double shadows_rate(const struct shadows *all)
{
    return ldexp(1, -(int)all->thin);
}

/* ---- the table ---- */

static uint32_t *cell_of(const struct shadows *all, uint64_t hash)
{
    return &all->table[(hash ^ hash >> 32) & all->table_mask];
}

static uint32_t find(const struct shadows *all, uint64_t hash)
{
    uint32_t id = *cell_of(all, hash);

    while (id != 0 && all->entries[id].hash != hash)
        id = all->entries[id].next;
    return id;
}

static void forget_if_unheld(struct shadows *all, uint32_t id)
{
    uint32_t *at = cell_of(all, all->entries[id].hash);

    if (all->entries[id].holders != 0)
        return;
    while (*at != id)
        at = &all->entries[*at].next;
    *at = all->entries[id].next;
    all->entries[id] = (struct entry){.next = all->free};
    all->free = id;
}

/* 0: the table is full. */
static uint32_t make_entry(struct shadows *all, const struct shadow_item *item)
{
    uint32_t id = all->free, *cell = cell_of(all, item->hash);

    if (id != 0)
        all->free = all->entries[id].next;
    else if (all->entries_used < all->entries_max)
        id = ++all->entries_used;
    else
        return 0;
    all->entries[id] = (struct entry){
        .hash = item->hash, .expires = item->expires, .weight = item->weight, .db = item->db, .next = *cell};
    *cell = id;
    return id;
}

/* ---- one shadow ---- */

static void leave(struct shadow *s, uint32_t id, enum evict_reason why)
{
    struct entry *e = &s->all->entries[id];

    CHECK(e->holders & 1u << s->number);
    if (s->state[id] & TRACKED) {
        s->kind.type->gone(s->policy, id, e->hash, e->weight, queue_of(s, id), why);
        if (s->links != NULL)
            dequeue(s, id);
    }
    s->held -= e->weight;
    s->count--;
    s->state[id] = 0;
    e->holders = (uint16_t)(e->holders & ~(1u << s->number));
}

/* False: what is left may not be evicted. `spared` is about to come in, and stays known without a holder. */
static bool make_room(struct shadow *s, uint32_t weight, uint32_t spared)
{
    while (s->held + weight > s->capacity) {
        evict_id id = s->kind.type->victim(s->policy);

        if (id == EVICT_NOBODY)
            return false;
        leave(s, id, EVICT_EVICTED);
        s->full = true;
        if (id != spared)
            forget_if_unheld(s->all, id);
    }
    return true;
}

static bool may_evict(const struct shadow *s, const struct entry *e)
{
    return s->kind.scope == SHADOW_EVICTS_ALL || (s->kind.scope == SHADOW_EVICTS_EXPIRING && e->expires != 0);
}

static void enter(struct shadow *s, uint32_t id)
{
    struct entry *e = &s->all->entries[id];
    bool tracked = may_evict(s, e);
    unsigned queue;

    if (e->weight > s->capacity)
        return;
    queue = tracked ? s->kind.type->arriving(s->policy, e->hash, e->weight) : 0;
    if (!make_room(s, e->weight, id))
        return;
    e->holders = (uint16_t)(e->holders | 1u << s->number);
    s->held += e->weight;
    s->count++;
    s->state[id] = tracked ? TRACKED : 0;
    if (!tracked)
        return;
    if (s->links != NULL)
        enqueue(s, id, queue);
    s->kind.type->admitted(s->policy, id, e->hash, e->weight, queue);
}

static void touch(struct shadow *s, uint32_t id)
{
    if (!(s->state[id] & TRACKED))
        return;
    if ((s->state[id] & HITS) < EVICT_HITS_MAX)
        s->state[id]++;
    if (s->kind.type->touched != NULL)
        s->kind.type->touched(s->policy, id);
}

static bool holds(const struct shadow *s, uint32_t id)
{
    return (s->all->entries[id].holders & 1u << s->number) != 0;
}

static void touch_everywhere(struct shadows *all, uint32_t id)
{
    for (unsigned i = 0; i < all->count; i++)
        if (holds(&all->shadows[i], id))
            touch(&all->shadows[i], id);
}

/* ---- the sample ---- */

static void drop_everywhere(struct shadows *all, uint32_t id)
{
    for (unsigned i = 0; i < all->count; i++)
        if (holds(&all->shadows[i], id))
            leave(&all->shadows[i], id, EVICT_REMOVED);
    forget_if_unheld(all, id);
}

static void fit(struct shadows *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        struct shadow *s = &all->shadows[i];
        uint64_t capacity = scaled(s);

        if (capacity == s->capacity)
            continue;
        if (capacity > s->capacity)
            s->full = false;
        s->capacity = capacity;
        s->kind.type->set_capacity(s->policy, capacity);
        (void)make_room(s, 0, 0);
    }
}

/* What was counted of keys in the sample is worth `keep` of what it was. */
static void fade_sampled(struct shadows *all, double keep)
{
    all->reads *= keep;
    for (unsigned i = 0; i < all->count; i++) {
        all->shadows[i].misses *= keep;
        for (unsigned part = 0; part < PARTS; part++)
            all->shadows[i].parts[part] *= keep;
        for (unsigned k = 0; k < all->count; k++)
            all->disagreed[i][k] *= keep;
    }
}

static void thin_out(struct shadows *all)
{
    if (all->thin == THIN_MAX)
        return;
    all->thin++;
    for (uint32_t id = 1; id <= all->entries_used; id++)
        if (all->entries[id].holders != 0 && shadow_draw(all->entries[id].hash) >= shadows_threshold(all))
            drop_everywhere(all, id);
    fit(all);
    fade_sampled(all, .5); /* a read counted so far stands for half as many as one from now on */
}

static void thicken(struct shadows *all)
{
    if (all->thin == 0)
        return;
    for (unsigned i = 0; i < all->count; i++) {
        const struct shadow *s = &all->shadows[i];
        if (s->kind.scale == 1 && (!s->full || s->count >= all->items / 4))
            return;
    }
    all->thin--;
    fit(all);
    shadows_forget_window(all);
}

static bool outgrown(const struct shadows *all)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->shadows[i].kind.scale == 1 && all->shadows[i].count > all->items)
            return true;
    return false;
}

static bool in_sample(const struct shadows *all, uint64_t hash)
{
    return shadow_draw(hash) < shadows_threshold(all);
}

static bool is_too_heavy(const struct shadows *all, uint32_t weight)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < all->count && all->thin > 0; i++)
        if (all->shadows[i].kind.scale == 1 && all->shadows[i].capacity < least)
            least = all->shadows[i].capacity;
    return weight > least / HEAVY;
}

void shadows_set_capacity(struct shadows *all, unsigned number, uint64_t capacity)
{
    CHECK(number < all->count);
    if (all->shadows[number].whole == capacity)
        return;
    all->shadows[number].whole = capacity;
    fit(all);
}

bool shadows_set_kind(struct shadows *all, unsigned number, const struct shadow_kind *kind)
{
    struct shadow before = all->shadows[number], *s = &all->shadows[number];

    CHECK(number < all->count && kind->scale <= before.kind.scale);
    if (!shadow_init(all, number, kind, before.whole)) {
        *s = before;
        return false;
    }
    for (uint32_t id = 1; id <= all->entries_used; id++)
        if (holds(s, id)) {
            all->entries[id].holders = (uint16_t)(all->entries[id].holders & ~(1u << number));
            forget_if_unheld(all, id);
        }
    shadow_destroy(&before);
    shadows_forget_window(all);
    return true;
}

/* ---- requests ---- */

static void count_read(struct shadows *all, uint64_t hash, uint16_t holders)
{
    unsigned everybody = (1u << all->count) - 1, part = (unsigned)(hash >> 40) % PARTS;

    all->reads += 1;
    for (unsigned missed = everybody & ~(unsigned)holders; missed != 0; missed &= missed - 1) {
        struct shadow *s = &all->shadows[__builtin_ctz(missed)];
        s->misses += 1;
        s->parts[part] += 1;
        for (unsigned hit = holders; hit != 0; hit &= hit - 1) {
            unsigned h = (unsigned)__builtin_ctz(hit);
            all->disagreed[s->number][h] += 1;
            all->disagreed[h][s->number] += 1;
        }
    }
}

/* Drops the key if its time is over; true if so. */
static bool has_expired(struct shadows *all, uint32_t id, int64_t now)
{
    if (id == 0 || all->entries[id].expires == 0 || all->entries[id].expires > now)
        return false;
    drop_everywhere(all, id);
    return true;
}

/* The item is as said: shadows that hold it weigh it anew. 0: it does not belong into the sample. */
static uint32_t settle(struct shadows *all, uint32_t id, const struct shadow_item *item)
{
    uint32_t before;

    if (is_too_heavy(all, item->weight)) {
        if (id != 0)
            drop_everywhere(all, id);
        return 0;
    }
    if (id == 0)
        return make_entry(all, item);
    struct entry *e = &all->entries[id];
    if ((e->expires == 0) != (item->expires == 0)) /* who may evict it has changed */
        for (unsigned i = 0; i < all->count; i++)
            if (all->shadows[i].kind.scope == SHADOW_EVICTS_EXPIRING && holds(&all->shadows[i], id))
                leave(&all->shadows[i], id, EVICT_REMOVED);
    bool moved = e->expires != item->expires;
    e->expires = item->expires;
    before = e->weight;
    e->weight = item->weight;
    for (unsigned i = 0; i < all->count; i++) {
        struct shadow *s = &all->shadows[i];
        if (!holds(s, id))
            continue;
        s->held = s->held - before + item->weight;
        if (!(s->state[id] & TRACKED))
            continue;
        if (before != item->weight && s->kind.type->resized != NULL)
            s->kind.type->resized(s->policy, id, before, item->weight, queue_of(s, id));
        if (moved && s->kind.type->expiry_changed != NULL)
            s->kind.type->expiry_changed(s->policy, id);
    }
    for (unsigned i = 0; i < all->count && before < item->weight; i++)
        (void)make_room(&all->shadows[i], 0, id);
    return id;
}

/* Shadows that lack it store it. */
static void take_in(struct shadows *all, uint32_t id)
{
    for (unsigned i = 0; i < all->count; i++)
        if (!holds(&all->shadows[i], id))
            enter(&all->shadows[i], id);
    forget_if_unheld(all, id);
    if (outgrown(all))
        thin_out(all);
}

static uint32_t settle_or_thin_out(struct shadows *all, uint32_t id, const struct shadow_item *item)
{
    uint32_t settled = settle(all, id, item);

    if (settled != 0 || is_too_heavy(all, item->weight))
        return settled;
    thin_out(all); /* the table is full */
    return in_sample(all, item->hash) ? settle(all, find(all, item->hash), item) : 0;
}

void shadows_hit(struct shadows *all, const struct shadow_item *item, int64_t now)
{
    uint32_t id;

    if (!in_sample(all, item->hash))
        return;
    id = find(all, item->hash);
    if (has_expired(all, id, now)) /* not in the real cache: it was given more time out of our sight */
        id = 0;
    if (id != 0 || !is_too_heavy(all, item->weight))
        count_read(all, item->hash, id != 0 ? all->entries[id].holders : 0);
    if (id != 0)
        touch_everywhere(all, id);
    if ((id = settle_or_thin_out(all, id, item)) == 0)
        return;
    all->entries[id].awaited = false;
    take_in(all, id);
}

void shadows_missed(struct shadows *all, const struct shadow_item *item, int64_t now)
{
    uint32_t id;

    if (!in_sample(all, item->hash))
        return;
    id = find(all, item->hash);
    if (has_expired(all, id, now))
        return;
    count_read(all, item->hash, id != 0 ? all->entries[id].holders : 0);
    if (id == 0)
        return;
    touch_everywhere(all, id);
    all->entries[id].awaited = true;
}

void shadows_stored(struct shadows *all, const struct shadow_item *item, int64_t now)
{
    bool is_use;
    uint32_t id;

    if (!in_sample(all, item->hash))
        return;
    id = find(all, item->hash);
    if (has_expired(all, id, now))
        id = 0;
    is_use = id != 0 && !all->entries[id].awaited;
    if ((id = settle_or_thin_out(all, id, item)) == 0)
        return;
    all->entries[id].awaited = false;
    if (is_use)
        touch_everywhere(all, id);
    take_in(all, id);
}

void shadows_expiry_changed(struct shadows *all, const struct shadow_item *item)
{
    uint32_t id = in_sample(all, item->hash) ? find(all, item->hash) : 0;

    if (id != 0 && settle(all, id, item) != 0)
        take_in(all, id);
}

void shadows_dropped(struct shadows *all, uint64_t hash)
{
    uint32_t id = in_sample(all, hash) ? find(all, hash) : 0;

    if (id != 0)
        drop_everywhere(all, id);
}

void shadows_flushed(struct shadows *all)
{
    for (uint32_t id = 1; id <= all->entries_used; id++)
        if (all->entries[id].holders != 0)
            drop_everywhere(all, id);
    for (unsigned i = 0; i < all->count; i++)
        all->shadows[i].full = false;
}

void shadows_flushed_db(struct shadows *all, uint8_t db)
{
    for (uint32_t id = 1; id <= all->entries_used; id++)
        if (all->entries[id].holders != 0 && all->entries[id].db == db)
            drop_everywhere(all, id);
}

void shadows_count_reads(struct shadows *all, uint64_t reads)
{
    all->all_reads += (double)reads;
}

/* ---- the window ---- */

void shadows_age(struct shadows *all, double keep)
{
    all->all_reads *= keep;
    fade_sampled(all, keep);
    thicken(all);
}

void shadows_forget_window(struct shadows *all)
{
    all->all_reads = 0;
    fade_sampled(all, 0);
}

/* Of the sum of the parts; 2.13 is Student's for 19 of 20 with 16 of them. */
static double error_of(const struct shadow *s, double reads)
{
    double mean = s->misses / PARTS, sum = 0;

    for (unsigned part = 0; part < PARTS; part++)
        sum += (s->parts[part] - mean) * (s->parts[part] - mean);
    return 2.13 * sqrt((1 - shadows_rate(s->all)) * sum * PARTS / (PARTS - 1)) / reads;
}

void shadows_figures(const struct shadows *all, unsigned number, struct shadow_figures *out)
{
    const struct shadow *s = &all->shadows[number];
    double expected = all->all_reads * shadows_rate(all);

    CHECK(number < all->count);
    *out = (struct shadow_figures){.reads = all->reads,
                                   .all_reads = all->all_reads,
                                   .misses = s->misses,
                                   .items = s->count,
                                   .held = s->held,
                                   .room = s->capacity,
                                   .full = s->full};
    if (expected < s->misses || expected == 0)
        expected = all->reads;
    if (expected == 0)
        return;
    out->hit_ratio = 1 - s->misses / expected;
    out->error = error_of(s, expected);
}

uint64_t shadows_items(const struct shadows *all, unsigned number)
{
    CHECK(number < all->count);
    return all->shadows[number].count;
}

double shadows_disagreed(const struct shadows *all, unsigned a, unsigned b)
{
    CHECK(a < all->count && b < all->count);
    return all->disagreed[a][b];
}

static uint64_t ids_bytes(const struct shadow *s)
{
    size_t each = sizeof(s->state[0]) + (s->links != NULL ? sizeof(s->links[0]) : 0) +
                  (s->host.nodes != NULL ? sizeof(s->host.nodes[0]) : 0);

    return each * ((uint64_t)s->all->entries_max + 1);
}

uint64_t shadows_bytes(const struct shadows *all)
{
    uint64_t bytes = sizeof(*all) + ((uint64_t)all->table_mask + 1) * sizeof(all->table[0]) +
                     ((uint64_t)all->entries_max + 1) * sizeof(all->entries[0]);

    for (unsigned i = 0; i < all->count; i++)
        bytes += ids_bytes(&all->shadows[i]) + all->shadows[i].kind.type->bytes(all->shadows[i].policy);
    return bytes;
}

double shadows_overhead(const struct shadows *all, unsigned number)
{
    const struct shadow *s = &all->shadows[number];
    size_t bytes = s->kind.type->bytes(s->policy);

    CHECK(number < all->count);
    return bytes > s->bytes_new ? (double)(bytes - s->bytes_new) / (double)s->capacity : 0;
}

void shadows_check(const struct shadows *all)
{
    uint64_t held[SHADOWS_MAX] = {0}, count[SHADOWS_MAX] = {0};

    for (uint32_t id = 1; id <= all->entries_used; id++) {
        const struct entry *e = &all->entries[id];
        if (e->holders == 0)
            continue;
        CHECK(find(all, e->hash) == id && in_sample(all, e->hash));
        for (unsigned i = 0; i < all->count; i++)
            if (holds(&all->shadows[i], id)) {
                held[i] += e->weight;
                count[i]++;
            }
    }
    for (unsigned i = 0; i < all->count; i++) {
        CHECK(held[i] == all->shadows[i].held && count[i] == all->shadows[i].count);
        all->shadows[i].kind.type->check(all->shadows[i].policy);
    }
}
