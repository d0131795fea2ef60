/* sampling.c - what happens to sampled keys, told to the shadows; see sampling.h.
 *
 * The shadows' capacities follow what the shards could hold under each policy:
 * linked ones need a node per slot and more room to compact in. They are left
 * alone until they are off by a sixty-fourth, as some policies begin to learn
 * anew with another capacity. */
#include "server/store/sampling.h"

#include <stdlib.h>

#include "server/check.h"
#include "server/evict/policies.h"
#include "server/log.h"

enum {
    CAPACITY_SLACK = 64,
    CURVE_TURNS = 4,
    CURVE_READS_MIN = 256,
    MEMORY_PER_ITEM = 64 * 1024, /* of the store for each key of a shadow: shadows take 1 % of it at most */
};
#define CURVE_KEEP .9

static const double scales[STORE_CURVE_POINTS] = {.25, .5, 1, 2, 4};
enum { SCALE_ONE = 2 };

_Static_assert(STORE_CURVE_POINTS + (int)AUTO_CANDIDATES <= (int)SHADOWS_MAX, "all fit into one sample");
_Static_assert((int)STORE_AUTO_CANDIDATES == (int)AUTO_CANDIDATES, "store.h need not know auto.h");

bool sampling_init(struct store *store)
{
    store->sampling = calloc(1, sizeof *store->sampling);
    if (store->sampling == NULL)
        return false;
    pthread_mutex_init(&store->sampling->lock, NULL);
    return true;
}

void sampling_destroy(struct store *store)
{
    struct sampling *g = store->sampling;

    if (g == NULL)
        return;
    auto_free(&g->autos);
    shadows_free(&g->shadows);
    pthread_mutex_destroy(&g->lock);
    free(g);
    store->sampling = NULL;
}

/* ---- capacities ---- */

/* How many shadows there are, and what they are of. */
static unsigned list_kinds(bool follow, bool curve, const struct shadow_kind *in_use,
                           struct shadow_kind *kinds)
{
    unsigned n = 0;

    if (follow) {
        auto_kinds(kinds);
        n = AUTO_CANDIDATES;
    }
    for (unsigned i = 0; i < STORE_CURVE_POINTS && curve; i++)
        kinds[n++] = (struct shadow_kind){in_use->type, in_use->scope, scales[i]};
    return n;
}

static struct shadow_kind kind_of(enum evict_scope scope, const struct evict_type *type)
{
    switch (scope) {
    case EVICT_ALLKEYS: return (struct shadow_kind){type, SHADOW_EVICTS_ALL, 1};
    case EVICT_VOLATILE: return (struct shadow_kind){type, SHADOW_EVICTS_EXPIRING, 1};
    case EVICT_NOTHING: break;
    }
    return (struct shadow_kind){&evict_fifo, SHADOW_EVICTS_NONE, 1};
}

static struct shadow_kind kind_in_use(struct store *store)
{
    struct shard *s = &store->shards[0];

    pthread_mutex_lock(&s->lock);
    struct shadow_kind kind = kind_of(s->type != NULL ? s->scope : EVICT_NOTHING, s->type);
    pthread_mutex_unlock(&s->lock);
    return kind;
}

struct capacities {
    unsigned count;
    const struct evict_type *types[SHADOWS_MAX];
    double overheads[SHADOWS_MAX];
    uint64_t bytes[SHADOWS_MAX];
};

static void sum_capacities(struct store *store, struct capacities *c)
{
    for (uint32_t n = 0; n < store->shards_len; n++) {
        struct shard *s = &store->shards[n];
        pthread_mutex_lock(&s->lock);
        for (unsigned i = 0; i < c->count; i++)
            c->bytes[i] += shard_capacity_with(s, c->types[i], c->overheads[i]);
        pthread_mutex_unlock(&s->lock);
    }
}

static void set_capacities(struct sampling *g, const struct capacities *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        uint64_t now = c->bytes[i], before = g->capacities[i];
        if (now > before - before / CAPACITY_SLACK && now < before + before / CAPACITY_SLACK)
            continue;
        g->capacities[i] = now;
        shadows_set_capacity(g->shadows, i, now);
    }
}

/* A policy's own memory, where its shadow is full enough to show it. */
static double overhead_of(const struct sampling *g, unsigned number)
{
    const double most = .25;
    struct shadow_figures f;
    double overhead;

    shadows_figures(g->shadows, number, &f);
    overhead = f.full ? shadows_overhead(g->shadows, number) : 0;
    return overhead < most ? overhead : most;
}

void sampling_measure(struct store *store)
{
    struct sampling *g = store->sampling;
    struct capacities c = {0};
    uint64_t built;

    if (atomic_load_explicit(&g->threshold, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&g->lock);
    built = g->built;
    c.count = g->count;
    for (unsigned i = 0; i < c.count; i++) {
        c.types[i] = g->kinds[i].type;
        c.overheads[i] = overhead_of(g, i);
    }
    pthread_mutex_unlock(&g->lock);
    sum_capacities(store, &c);
    pthread_mutex_lock(&g->lock);
    if (g->built == built && g->shadows != NULL)
        set_capacities(g, &c);
    pthread_mutex_unlock(&g->lock);
}

/* ---- life of the shadows ---- */

static void want_samples(struct store *store, bool wanted)
{
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        s->sampled = wanted;
        shard_say_wants(s);
        pthread_mutex_unlock(&s->lock);
    }
}

/* Shadows are to cost no more hits than they are worth. */
static uint32_t items_for(const struct store *store, uint32_t items)
{
    uint64_t most = atomic_load(&store->memory_max) / MEMORY_PER_ITEM;

    return items < most ? items : (uint32_t)most;
}

bool sampling_rebuild(struct store *store, const struct evict_type *first, bool curve, uint32_t items)
{
    struct sampling *g = store->sampling;
    struct shadow_kind in_use = first != NULL ? kind_of(EVICT_ALLKEYS, first) : kind_in_use(store);
    struct shadow_kind kinds[SHADOWS_MAX];
    struct capacities c = {.count = list_kinds(first != NULL, curve, &in_use, kinds)};
    struct shadows *shadows = NULL, *old_shadows;
    struct evict_auto *autos = NULL, *old_autos;

    if (c.count > 0 && (shadows = shadows_new(kinds, c.count, items_for(store, items), store->seed)) == NULL)
        return false;
    if (first != NULL && (autos = auto_new(shadows, first)) == NULL) {
        shadows_free(&shadows);
        return false;
    }
    for (unsigned i = 0; i < c.count; i++)
        c.types[i] = kinds[i].type;
    sum_capacities(store, &c);

    pthread_mutex_lock(&g->lock);
    old_shadows = g->shadows;
    old_autos = g->autos;
    g->shadows = shadows;
    g->autos = autos;
    g->curve = curve;
    g->items = items;
    g->count = c.count;
    g->built++;
    g->reads = 0;
    for (unsigned i = 0; i < c.count; i++) {
        g->kinds[i] = kinds[i];
        g->capacities[i] = 0;
    }
    set_capacities(g, &c);
    atomic_store_explicit(&g->wanted, first, memory_order_relaxed);
    atomic_store_explicit(&g->threshold, shadows != NULL ? shadows_threshold(shadows) : 0,
                          memory_order_relaxed);
    pthread_mutex_unlock(&g->lock);
    auto_free(&old_autos);
    shadows_free(&old_shadows);
    want_samples(store, shadows != NULL);
    return true;
}

/* ---- from the rings to the shadows ---- */

/* The curve is one of the policy in use. */
static void redraw_curve(struct sampling *g, const struct evict_type *type)
{
    unsigned first = g->autos != NULL ? AUTO_CANDIDATES : 0;

    for (unsigned i = first; i < g->count; i++) {
        struct shadow_kind kind = g->kinds[i];
        kind.type = type;
        if (shadows_set_kind(g->shadows, i, &kind))
            g->kinds[i] = kind;
    }
}

/* What is to be done after a read: true when another policy is to be followed. */
static bool weigh(struct store *store, struct auto_figures *figures)
{
    struct sampling *g = store->sampling;
    const struct evict_type *before = atomic_load_explicit(&g->wanted, memory_order_relaxed), *next;

    if (g->autos == NULL) {
        if (++g->reads < CURVE_READS_MIN || g->reads < CURVE_TURNS * shadows_items(g->shadows, SCALE_ONE))
            return false;
        g->reads = 0;
        shadows_age(g->shadows, CURVE_KEEP);
        return false;
    }
    next = auto_follow(g->autos);
    if (next == before)
        return false;
    redraw_curve(g, next);
    auto_figures(g->autos, figures);
    atomic_store_explicit(&g->wanted, next, memory_order_relaxed);
    return true;
}

static bool apply(struct store *store, const struct sample *sample, int64_t now, struct auto_figures *figures)
{
    struct sampling *g = store->sampling;

    switch ((enum sample_event)sample->event) {
    case SAMPLE_HIT: shadows_hit(g->shadows, &sample->item, now); return weigh(store, figures);
    case SAMPLE_MISSED: shadows_missed(g->shadows, &sample->item, now); return weigh(store, figures);
    case SAMPLE_STORED: shadows_stored(g->shadows, &sample->item, now); return false;
    case SAMPLE_EXPIRES: shadows_expiry_changed(g->shadows, &sample->item); return false;
    case SAMPLE_DROPPED: shadows_dropped(g->shadows, sample->item.hash); return false;
    }
    CHECK_UNREACHABLE();
}

static void drain(struct store_local *local, instant now)
{
    struct sampling *g = local->store->sampling;
    struct sample_ring *ring = &local->samples;
    struct auto_figures figures = {0};
    bool changed = false;

    pthread_mutex_lock(&g->lock);
    if (g->shadows != NULL) {
        shadows_count_reads(g->shadows, ring->reads);
        for (uint32_t i = 0; i < ring->count; i++)
            changed |= apply(local->store, &ring->samples[i], now.ms, &figures);
        atomic_store_explicit(&g->threshold, shadows_threshold(g->shadows), memory_order_relaxed);
    }
    pthread_mutex_unlock(&g->lock);
    ring->count = 0;
    ring->reads = 0;
    if (changed)
        log_event(LOG_LEVEL_NOTICE, "eviction_policy_followed",
                  "from=%s to=%s fewer_misses=%.1f%% sampled_reads=%.0f switches=%llu", figures.before->name,
                  figures.now->name, 100 * figures.margin, figures.reads,
                  (unsigned long long)figures.switches);
}

static void remember(struct store_local *local, enum sample_event event, const struct key *key,
                     uint64_t weight, instant expires, instant now)
{
    struct sampling *g = local->store->sampling;
    struct sample_ring *ring = &local->samples;

    if (shadow_draw(key->hash) >= atomic_load_explicit(&g->threshold, memory_order_relaxed))
        return;
    if (ring->count == SAMPLE_RING)
        drain(local, now);
    ring->samples[ring->count++] =
        (struct sample){.item = {.hash = key->hash,
                                 .weight = weight < UINT32_MAX ? (uint32_t)weight : UINT32_MAX,
                                 .db = key->db,
                                 .expires = expires.ms},
                        .event = event};
}

void sampling_hit(struct store_local *local, const struct key *key, uint64_t weight, instant expires,
                  instant now)
{
    local->samples.reads++;
    remember(local, SAMPLE_HIT, key, weight, expires, now);
}

void sampling_missed(struct store_local *local, const struct key *key, instant now)
{
    local->samples.reads++;
    remember(local, SAMPLE_MISSED, key, 0, (instant){0}, now);
}

void sampling_touched(struct store_edit *e, uint64_t weight, instant expires)
{
    e->local->samples.reads++;
    remember(e->local, SAMPLE_HIT, &e->key, weight, expires, e->now);
}

void sampling_stored(struct store_edit *e, uint64_t weight, instant expires)
{
    remember(e->local, SAMPLE_STORED, &e->key, weight, expires, e->now);
}

void sampling_expires(struct store_edit *e, uint64_t weight, instant expires)
{
    remember(e->local, SAMPLE_EXPIRES, &e->key, weight, expires, e->now);
}

void sampling_dropped(struct store_edit *e)
{
    remember(e->local, SAMPLE_DROPPED, &e->key, 0, (instant){0}, e->now);
}

void store_local_tick(struct store_local *local, instant now)
{
    if (local->samples.count > 0 || local->samples.reads > 0)
        drain(local, now);
}

void sampling_flushed(struct store *store)
{
    struct sampling *g = store->sampling;

    pthread_mutex_lock(&g->lock);
    if (g->shadows != NULL)
        shadows_flushed(g->shadows);
    pthread_mutex_unlock(&g->lock);
}

void sampling_flushed_db(struct store *store, uint8_t db)
{
    struct sampling *g = store->sampling;

    pthread_mutex_lock(&g->lock);
    if (g->shadows != NULL)
        shadows_flushed_db(g->shadows, db);
    pthread_mutex_unlock(&g->lock);
}

void sampling_check(struct store *store)
{
    struct sampling *g = store->sampling;

    pthread_mutex_lock(&g->lock);
    if (g->shadows != NULL)
        shadows_check(g->shadows);
    pthread_mutex_unlock(&g->lock);
}

void sampling_follow(struct store *store, struct shard *s)
{
    const struct evict_type *wanted = atomic_load_explicit(&store->sampling->wanted, memory_order_relaxed);

    if (wanted == NULL || wanted == s->type || s->handover.handed != NULL)
        return;
    (void)shard_set_policy(s, EVICT_ALLKEYS, wanted); /* without memory for it: again with the next tick */
}

/* ---- for whoever asks ---- */

/* What is on its way in all shards, and how many have the policy wanted. */
static void count_handovers(struct store *store, struct store_shadow_report *out)
{
    const struct evict_type *wanted = atomic_load_explicit(&store->sampling->wanted, memory_order_relaxed);

    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        out->handing_over += s->handover.left;
        out->shards_to_change += wanted != NULL && s->type != wanted;
        pthread_mutex_unlock(&s->lock);
    }
}

void store_shadow_report(struct store *store, struct store_shadow_report *out)
{
    struct sampling *g = store->sampling;
    unsigned n = 0;

    *out = (struct store_shadow_report){.policy = kind_in_use(store).type->name};
    count_handovers(store, out);
    pthread_mutex_lock(&g->lock);
    out->follows = g->autos != NULL;
    out->curve = g->shadows != NULL && g->curve;
    if (g->shadows != NULL) {
        out->rate = shadows_rate(g->shadows);
        out->bytes = shadows_bytes(g->shadows);
    }
    if (g->autos != NULL) {
        auto_figures(g->autos, &out->chosen);
        out->policy = out->chosen.now->name;
        for (; n < AUTO_CANDIDATES; n++) {
            out->candidates[n].policy = g->kinds[n].type->name;
            shadows_figures(g->shadows, n, &out->candidates[n].figures);
        }
    }
    for (unsigned i = 0; i < STORE_CURVE_POINTS && out->curve; i++, n++) {
        out->points[i].scale = scales[i];
        shadows_figures(g->shadows, n, &out->points[i].figures);
    }
    pthread_mutex_unlock(&g->lock);
}
