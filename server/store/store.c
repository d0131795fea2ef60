/* store.c - the store as a whole: shards, budgets, scans, background work.
 * Reading is in read.c, editing in edit.c. */
#include "server/store/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/store/handover.h"
#include "server/store/sampling.h"

enum {
    MIB = 1 << 20,
    SEGMENT_MAX = 1 * MIB,
    SEGMENT_MIN = 256 * 1024,
    SHARD_BYTES_MIN = 256 * MIB, /* below this, cutting the memory costs more than a lock saves */
    SEGMENTS_WANTED = 512,       /* of a shard: the few that are half full then hardly matter */
};
#define SHARD_BYTES_MAX (UINT64_C(8) << 30) /* an arena can address twice that: room to grow at run time */

/* ---- life ---- */

static uint32_t choose_shards(const struct store_config *c)
{
    uint32_t n = 1;

    if (c->shards != 0)
        return c->shards;
    /* Four shards a worker make it unlikely that two of them want the same lock. */
    while (c->workers > 1 && n < c->workers * 4 && c->memory_max / (n * 2) >= SHARD_BYTES_MIN)
        n *= 2;
    while (c->memory_max / n > SHARD_BYTES_MAX && n < STORE_SHARDS_MAX)
        n *= 2;
    return n;
}

static uint32_t choose_segment(const struct store_config *c, uint32_t shards)
{
    uint64_t shard = c->memory_max / shards;
    uint32_t bytes = SEGMENT_MIN;

    if (c->segment_bytes != 0)
        return c->segment_bytes;
    while (bytes < SEGMENT_MAX && shard / (bytes * 2) >= SEGMENTS_WANTED)
        bytes *= 2;
    return bytes;
}

static void spread_budget(struct store *store)
{
    uint64_t total = atomic_load(&store->memory_max), other = atomic_load(&store->other_bytes);
    uint64_t each = (total > other ? total - other : 0) / store->shards_len;

    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        shard_set_budget(s, each);
        pthread_mutex_unlock(&s->lock);
    }
}

struct store *store_new(const struct store_config *config, char *err, size_t err_len)
{
    struct store *store = calloc(1, sizeof *store);
    uint32_t shards = choose_shards(config);
    uint32_t segment = choose_segment(config, shards);

    if (store == NULL || posix_memalign((void **)&store->shards, 64, shards * sizeof *store->shards) != 0) {
        snprintf(err, err_len, "no memory for %u shards; lower maxmemory", shards);
        free(store);
        return NULL;
    }
    store->shard_shift = 64 - (uint32_t)__builtin_ctz(shards);
    store->seed = config->seed;
    if (!sampling_init(store)) {
        snprintf(err, err_len, "no memory for the store");
        store_free(&store);
        return NULL;
    }
    store->workers = config->workers > 0 ? config->workers : 1;
    atomic_init(&store->item_max, config->item_max);
    atomic_init(&store->memory_max, config->memory_max);
    atomic_init(&store->next_cas, 1);
    for (; store->shards_len < shards; store->shards_len++)
        if (!shard_init(&store->shards[store->shards_len], segment, config->seed)) {
            snprintf(
                err, err_len,
                "cannot reserve address space for shard %u of %u (16 GiB each); raise the limit on virtual "
                "memory (ulimit -v) or lower maxmemory",
                store->shards_len + 1, shards);
            store->shards_len++;
            store_free(&store);
            return NULL;
        }
    if (!store_set_memory_max(store, config->memory_max) ||
        !store_set_policy(store, config->scope, config->policy)) {
        snprintf(err, err_len, "maxmemory is more than %u shards can address, or no memory for the policy",
                 shards);
        store_free(&store);
    }
    return store;
}

void store_free(struct store **store)
{
    if (*store == NULL)
        return;
    for (uint32_t i = 0; i < (*store)->shards_len; i++)
        shard_destroy(&(*store)->shards[i]);
    sampling_destroy(*store);
    free((*store)->shards);
    free(*store);
    *store = NULL;
}

struct store_local *store_local_new(struct store *store)
{
    struct store_local *local = calloc(1, sizeof *local);

    if (local == NULL)
        return NULL;
    local->store = store;
    local->rings = calloc(store->shards_len, sizeof *local->rings);
    if (local->rings == NULL)
        store_local_free(&local);
    return local;
}

void store_local_free(struct store_local **local)
{
    if (*local == NULL)
        return;
    free((*local)->scratch);
    free((*local)->rings);
    free(*local);
    *local = NULL;
}

/* ---- the whole store ---- */

struct scan {
    struct shard *shard;
    instant now;
    void (*visit)(void *arg, const struct scan_item *item);
    void *arg;
    size_t slots;
};

static void scan_slot(void *arg, slot_id id)
{
    struct scan *scan = arg;
    struct found f = shard_at_slot(scan->shard, id);
    struct scan_item item = {
        .key = {f.item + f.shape.key_at, f.shape.key_len},
        .value = {f.item + f.shape.key_at + f.shape.key_len, f.shape.value_len},
        .expires = shard_expires(scan->shard, &f),
        .flags = item_client_flags(f.item, &f.shape),
        .state = (uint8_t)(f.shape.meta & ITEM_META_STATE),
        .db = item_db(&f.shape),
        .fetched = bucket_fetched(index_bucket(&scan->shard->index, id), slot_of(id)),
        .cas = item_cas(f.item, &f.shape),
    };

    scan->slots++;
    if (f.shape.meta & ITEM_META_HERD)
        item.expires.ms -= item_herd(f.item, &f.shape).grace_ms;
    if (item.expires.ms != 0 && item.expires.ms <= scan->now.ms)
        return;
    if (word0_flags(f.shape.word0) & ITEM_BLOB) {
        struct item_blob b = item_blob_of(&f);
        item.value = (struct slice){b.data, b.len};
    }
    scan->visit(scan->arg, &item);
}

/* cursor: the index's own in the high bits, the shard in the low 10. */
uint64_t store_scan(struct store *store, uint64_t cursor, size_t count, instant now,
                    void (*visit)(void *arg, const struct scan_item *item), void *arg)
{
    uint32_t number = (uint32_t)cursor & (STORE_SHARDS_MAX - 1);
    uint32_t at = (uint32_t)(cursor >> 10);
    struct scan scan = {NULL, now, visit, arg, 0};
    size_t buckets = 0;

    while (number < store->shards_len) {
        struct shard *s = scan.shard = &store->shards[number];
        pthread_mutex_lock(&s->lock);
        do {
            at = index_scan(&s->index, at, scan_slot, &scan);
            buckets++;
        } while (at != 0 && scan.slots < count && buckets < 10 * count);
        pthread_mutex_unlock(&s->lock);
        if (at == 0)
            number++;
        if (scan.slots >= count || buckets >= 10 * count)
            break;
    }
    return number < store->shards_len ? (uint64_t)at << 10 | number : 0;
}

uint64_t store_scan_anywhere(const struct store *store, uint64_t dice)
{
    uint32_t number = (uint32_t)(dice % store->shards_len);

    /* Any 32 bits are a position; what is too much for the index as it is now it cuts off by itself. */
    return (dice >> 10 & UINT32_MAX) << 10 | number;
}

void store_flush(struct store *store)
{
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        shard_flush(s);
        pthread_mutex_unlock(&s->lock);
    }
    sampling_flushed(store);
}

void store_flush_db(struct store *store, unsigned db, instant now)
{
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        s->now = now;
        shard_flush_db(s, (uint8_t)db);
        pthread_mutex_unlock(&s->lock);
    }
    sampling_flushed_db(store, (uint8_t)db);
}

void store_observe(struct store *store, const struct store_observer *observer)
{
    /* Under each lock: whoever is in the middle of a change is waited for. */
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        s->observer = observer;
        pthread_mutex_unlock(&s->lock);
    }
}

bool store_unobserve(struct store *store, bool (*wanted)(void *arg), void *arg)
{
    bool all = true;

    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        if (wanted(arg))
            all = false;
        else
            s->observer = NULL;
        pthread_mutex_unlock(&s->lock);
    }
    return all;
}

void store_shape(struct store *store, const struct store_shaper *shaper)
{
    /* Under each lock: whoever is in the middle of a change is waited for. */
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        s->shaper = shaper;
        pthread_mutex_unlock(&s->lock);
    }
}

void store_local_set_owner(struct store_local *local, void *owner)
{
    local->owner = owner;
}

/* One slice of a shard's background work. True while more of it waits. */
static bool tend(struct shard *s, instant now)
{
    enum { ITEMS = 256, EVICTIONS = 64, SEGMENTS_BACK = 2, WARM_MIN = 4, HAND_OVER = 256 };
    bool more;

    s->now = now;
    more = expiry_step(s, ITEMS);
    for (unsigned i = 0; i < EVICTIONS && s->weight > s->capacity; i++)
        more |= shard_evict_one(s);
    if (s->log.in_use > s->log_target)
        more |= compact_one(s) || shard_evict_one(s);
    uint32_t keep = s->log.in_use / 32 + WARM_MIN;
    if (s->log.in_use + keep > s->log_target)
        keep = s->log_target > s->log.in_use ? s->log_target - s->log.in_use : 0;
    shard_refresh_budget(s);
    more |= segment_trim(&s->log, keep, SEGMENTS_BACK) != 0;
    more |= shard_trim_index(s);
    more |= handover_step(s, HAND_OVER);
    return more;
}

bool store_tick(struct store *store, unsigned worker, instant now, unsigned budget_us)
{
    int64_t stop = clock_ticks_ns() + (int64_t)budget_us * 1000;
    bool more = false;

    if (worker == 0)
        sampling_measure(store);
    for (uint32_t i = worker; i < store->shards_len; i += store->workers) {
        struct shard *s = &store->shards[i];
        bool again = true;
        if (clock_ticks_ns() >= stop)
            return true;
        pthread_mutex_lock(&s->lock);
        shard_refresh_budget(s);
        sampling_follow(store, s);
        pthread_mutex_unlock(&s->lock);
        while (again && clock_ticks_ns() < stop) {
            pthread_mutex_lock(&s->lock);
            again = tend(s, now);
            pthread_mutex_unlock(&s->lock);
        }
        more |= again;
    }
    return more;
}

bool store_set_memory_max(struct store *store, uint64_t bytes)
{
    uint64_t each = bytes / store->shards_len;

    if (each > UINT64_C(15) << 30 ||
        (store->shards_len > 1 && each < (uint64_t)SHARD_SEGMENTS_MIN * store->shards[0].log.segment_bytes))
        return false;
    atomic_store(&store->memory_max, bytes);
    spread_budget(store);
    return true;
}

void store_set_other_bytes(struct store *store, uint64_t bytes)
{
    uint64_t before = atomic_exchange(&store->other_bytes, bytes);
    uint64_t moved = before > bytes ? before - bytes : bytes - before;

    if (moved != 0)
        spread_budget(store);
}

void store_set_negatives_max(struct store *store, uint64_t items)
{
    uint64_t each = (items + store->shards_len - 1) / store->shards_len;

    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        s->negatives_max = each;
        pthread_mutex_unlock(&s->lock);
    }
}

void store_set_item_max(struct store *store, uint64_t bytes)
{
    atomic_store(&store->item_max, bytes);
}

static bool set_policy(struct store *store, enum evict_scope scope, const struct evict_type *policy)
{
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        bool ok = shard_set_policy(s, scope, policy);
        pthread_mutex_unlock(&s->lock);
        if (!ok)
            return false;
    }
    return true;
}

bool store_set_policy(struct store *store, enum evict_scope scope, const struct evict_type *policy)
{
    struct sampling *g = store->sampling;
    const struct evict_type *followed = atomic_load_explicit(&g->wanted, memory_order_relaxed);
    uint32_t items = g->items;
    bool curve = g->curve, ok;

    (void)sampling_rebuild(store, NULL, false, items); /* auto chooses no more */
    ok = set_policy(store, scope, policy);
    return sampling_rebuild(store, ok ? NULL : followed, curve, items) && ok;
}

bool store_set_auto(struct store *store)
{
    struct sampling *g = store->sampling;
    const struct evict_type *first = auto_candidate(0);
    struct shard *s = &store->shards[0];

    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < AUTO_CANDIDATES; i++)
        if (s->scope == EVICT_ALLKEYS && s->type == auto_candidate(i))
            first = s->type;
    bool is_new = s->scope != EVICT_ALLKEYS || s->type != first;
    pthread_mutex_unlock(&s->lock);
    if (is_new && !set_policy(store, EVICT_ALLKEYS, first))
        return false;
    return sampling_rebuild(store, first, g->curve, g->items);
}

bool store_set_shadows(struct store *store, bool curve, uint32_t items)
{
    struct sampling *g = store->sampling;

    if (g->curve == curve && g->items == items)
        return true;
    return sampling_rebuild(store, atomic_load_explicit(&g->wanted, memory_order_relaxed), curve, items);
}

void store_stats(struct store *store, struct store_stats *out)
{
    memset(out, 0, sizeof *out);
    out->shards = store->shards_len;
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        out->items += s->index.items;
        out->items_expiring += s->stats.items_expiring;
        out->value_bytes += s->weight;
        out->capacity_bytes += s->capacity;
        out->segment_bytes += segment_bytes_held(&s->log);
        out->index_bytes += index_bytes(&s->index);
        if (s->policy != NULL)
            out->policy_bytes += s->type->bytes(s->policy);
        if (s->host.nodes != NULL)
            out->policy_bytes +=
                index_bytes(&s->index) / sizeof(struct bucket) * BUCKET_SLOTS * sizeof(uint64_t);
        out->policy_bytes += handover_bytes(s);
        out->blob_bytes += s->blob_bytes;
        out->evicted += s->stats.evicted;
        out->expired += s->stats.expired;
        out->items_total += s->stats.items_total;
        out->relocated += s->stats.relocated;
        out->segments_compacted += s->stats.compacted;
        out->put_refused += s->stats.refused;
        out->flushes += s->stats.flushes;
        out->negatives += s->stats.negatives;
        out->negatives_refused += s->stats.negatives_refused;
        pthread_mutex_unlock(&s->lock);
    }
    out->memory_bytes = out->segment_bytes + out->index_bytes + out->policy_bytes + out->blob_bytes;
}

struct store_db_count store_db_count(struct store *store, unsigned db)
{
    struct store_db_count sum = {0, 0};

    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        struct store_db_count here;

        pthread_mutex_lock(&s->lock);
        here = (struct store_db_count){s->index.items, s->stats.items_expiring};
        for (unsigned other = 1; other < STORE_DATABASES_MAX && db == 0; other++) {
            here.items -= s->stats.dbs[other].items;
            here.expiring -= s->stats.dbs[other].expiring;
        }
        if (db != 0)
            here = s->stats.dbs[db];
        pthread_mutex_unlock(&s->lock);
        sum.items += here.items;
        sum.expiring += here.expiring;
    }
    return sum;
}

void store_check(struct store *store)
{
    for (uint32_t i = 0; i < store->shards_len; i++) {
        struct shard *s = &store->shards[i];
        pthread_mutex_lock(&s->lock);
        shard_check(s);
        pthread_mutex_unlock(&s->lock);
    }
    sampling_check(store);
}
