/* shard.c - what happens to an item inside one shard; see shard.h. */
#include "server/store/shard.h"

#include "server/check.h"
#include "server/store/handover.h"
#include "server/store/pages.h"

static void slot_has_moved(void *arg, slot_id from, slot_id to)
{
    struct shard *s = arg;
    struct found f;

    s->changes++;
    if (s->type == NULL || !s->type->linked)
        return;
    if (s->handover.handed != NULL) {
        bool waits = handover_waits(s, from);
        handover_moved(s, from, to);
        if (waits) {
            if (s->handover.from != NULL)
                s->handover.from_type->moved(s->handover.from, from, to);
            return;
        }
    }
    f.item = segment_item(&s->log, index_ref(&s->index, to));
    item_read(f.item, &f.shape);
    if (shard_tracks(s, &f.shape))
        s->type->moved(s->policy, from, to);
}

static uint64_t hash_of(void *arg, item_ref ref)
{
    return shard_hash_of(arg, ref);
}

static void prefetch_item(void *arg, item_ref ref)
{
    const struct shard *s = arg;
    __builtin_prefetch(segment_item(&s->log, ref));
}

bool shard_init(struct shard *s, uint32_t segment_bytes, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->seed = seed;
    s->negatives_max = UINT64_MAX;
    s->log_item_max = segment_bytes / SEGMENT_FRACTION;
    if (s->log_item_max > ITEM_VALUE_MAX)
        s->log_item_max = ITEM_VALUE_MAX;
    evict_host_init(s);
    return index_init(&s->index, slot_has_moved, hash_of, prefetch_item, s) &&
           segment_log_init(&s->log, segment_bytes);
}

static void unpin_blobs(struct shard *s)
{
    if (s->stats.blob_items == 0)
        return;
    for (unsigned queue = 0; queue < EVICT_QUEUES_MAX; queue++)
        for (uint32_t n = s->log.queues[queue].oldest; n != 0; n = s->log.segments[n].newer)
            for (uint32_t at = 0; at < s->log.segments[n].used;) {
                struct found f = {.item = segment_item(&s->log, segment_ref(&s->log, n, at))};
                item_read(f.item, &f.shape);
                if ((word0_flags(f.shape.word0) & (ITEM_BLOB | ITEM_DEAD)) == ITEM_BLOB) {
                    struct blob *blob = item_blob_of(&f).blob;
                    blob_unpin(&blob);
                }
                at += f.shape.size;
            }
    s->stats.blob_items = 0;
    s->blob_bytes = 0;
}

void shard_destroy(struct shard *s)
{
    if (s->log.arena != NULL && s->log.segments != NULL)
        unpin_blobs(s);
    if (s->policy != NULL)
        s->type->destroy(s->policy);
    handover_abandon(&s->handover);
    pages_release(s->host.nodes, s->nodes_bytes);
    index_destroy(&s->index);
    segment_log_destroy(&s->log);
    pthread_mutex_destroy(&s->lock);
}

/* ---- memory ---- */

/* The index, and what a policy has of the shard's for each of its slots. */
static uint64_t index_bytes_with(const struct shard *s, const struct evict_type *type)
{
    uint64_t bytes = index_bytes(&s->index);

    if (type != NULL && type->linked) /* one 8-byte node per slot */
        bytes += bytes / sizeof(struct bucket) * BUCKET_SLOTS * sizeof(uint64_t);
    return bytes;
}

static uint64_t fixed_bytes(const struct shard *s)
{
    uint64_t fixed = index_bytes_with(s, s->type);

    if (s->policy != NULL)
        fixed += s->type->bytes(s->policy);
    return fixed + handover_bytes(s);
}

/* What the budget leaves for the log, and of that for what stays free. */
static uint64_t room_beside(const struct shard *s, uint64_t fixed)
{
    uint64_t segment = s->log.segment_bytes, room = s->budget > fixed ? s->budget - fixed : 0;

    if (room < SHARD_SEGMENTS_MIN * segment)
        return SHARD_SEGMENTS_MIN * segment;
    return room < s->log.segments_max * segment ? room : s->log.segments_max * segment;
}

static uint64_t reserve_of(const struct shard *s, uint64_t room, const struct evict_type *type)
{
    bool from_one_end = type == NULL || type->queues > 0;

    return (uint64_t)3 * s->log.segment_bytes + room / (from_one_end ? 64 : 12) + room / 64 * s->slack;
}

uint64_t shard_capacity_with(const struct shard *s, const struct evict_type *type, double overhead)
{
    uint64_t room = room_beside(s, index_bytes_with(s, type));

    return (uint64_t)((double)(room - reserve_of(s, room, type)) / (1 + overhead));
}

void shard_refresh_budget(struct shard *s)
{
    uint64_t segment = s->log.segment_bytes;
    uint64_t room = room_beside(s, fixed_bytes(s));
    uint64_t reserve = reserve_of(s, room, s->type);

    if (s->capacity != room - reserve) {
        s->capacity = room - reserve;
        if (s->policy != NULL)
            s->type->set_capacity(s->policy, s->capacity);
    }
    uint64_t for_segments = room > s->blob_bytes ? room - s->blob_bytes : 0;
    s->log_target = (uint32_t)(for_segments / segment);
    if (s->log_target < 4)
        s->log_target = 4; /* blobs are stubs in the log and need a place there too */
    /* A limit that was lowered is reached step by step; until then the log may
     * refill what comes free but not grow. */
    s->log.limit = s->log_target > s->log.in_use ? s->log_target : s->log.in_use + 1;
}

void shard_give_slack(struct shard *s)
{
    enum { SLACK_MAX = 6 };

    s->calm = 0;
    if (s->slack < SLACK_MAX)
        s->slack++;
}

/* A turn over the whole log without trouble earns a 64th back. */
static void note_calm(struct shard *s)
{
    if (++s->calm <= s->log.in_use || s->slack == 0)
        return;
    s->calm = 0;
    s->slack--;
}

void shard_set_budget(struct shard *s, uint64_t budget)
{
    s->budget = budget;
    shard_refresh_budget(s);
}

/* ---- items ---- */

uint64_t shard_hash_of(const struct shard *s, item_ref ref)
{
    const uint8_t *item = segment_item(&s->log, ref);
    struct item_shape shape;

    item_read(item, &shape);
    return key_hash(item + shape.key_at, shape.key_len, s->seed, item_db(&shape));
}

struct found shard_at(struct shard *s, struct index_place place, uint64_t hash)
{
    struct found f = {.hash = hash, .place = place};

    if (place.id == 0)
        return f;
    f.ref = index_ref(&s->index, place.id);
    f.item = segment_item(&s->log, f.ref);
    item_read(f.item, &f.shape);
    return f;
}

struct found shard_at_slot(struct shard *s, slot_id id)
{
    return shard_at(s, (struct index_place){NULL, id}, shard_hash_of(s, index_ref(&s->index, id)));
}

struct found shard_find(struct shard *s, const struct key *key)
{
    return shard_at(s, index_find_key(&s->index, key, s->log.arena), key->hash);
}

instant shard_expires(const struct shard *s, const struct found *f)
{
    return item_expires(f->item, &f->shape, segment_base(&s->log, segment_of(&s->log, f->ref)));
}

struct item_blob item_blob_of(const struct found *f)
{
    struct item_blob b;

    memcpy(&b, f->item + f->shape.key_at + f->shape.key_len, sizeof b);
    return b;
}

uint64_t shard_weight_of(const struct found *f)
{
    uint64_t weight = f->shape.size;

    if (word0_flags(f->shape.word0) & ITEM_BLOB)
        weight += item_blob_of(f).blob->capacity;
    return weight;
}

bool shard_tracks(const struct shard *s, const struct item_shape *shape)
{
    return s->type != NULL && (s->scope == EVICT_ALLKEYS || item_has_expiry(shape));
}

static void bury(struct shard *s, const struct found *f)
{
    racy_store32(f->item, f->shape.word0 | (uint32_t)ITEM_DEAD << 25);
    segment_died(&s->log, f->ref, f->shape.size);
}

void shard_drop(struct shard *s, const struct found *f, enum evict_reason why)
{
    uint64_t weight = shard_weight_of(f);

    if (handover_waits(s, f->place.id)) {
        handover_drop(s, f);
    } else if (shard_tracks(s, &f->shape)) {
        evict_id id = s->type->linked ? f->place.id : f->ref;
        unsigned queue = s->log.segments[segment_of(&s->log, f->ref)].queue;
        s->type->gone(s->policy, id, f->hash, (uint32_t)weight, queue, why);
        if (s->type->linked)
            s->host.nodes[f->place.id] = 0;
    }
    s->changes++;
    s->weight -= weight;
    shard_count_db(s, item_db(&f->shape), -1, -(int)item_has_expiry(&f->shape));
    shard_count_negative(s, item_is_negative(f->shape.meta), false);
    index_remove(&s->index, f->place);
    if (word0_flags(f->shape.word0) & ITEM_BLOB) {
        struct item_blob b = item_blob_of(f);
        s->stats.blob_items--;
        s->blob_bytes -= b.blob->capacity;
        bury(s, f);
        blob_unpin(&b.blob);
    } else {
        bury(s, f);
    }
}

void shard_relocate(struct shard *s, const struct found *f, item_ref to)
{
    uint32_t number = segment_of(&s->log, to);
    uint8_t *copy = segment_item(&s->log, to);
    instant expires = shard_expires(s, f);
    int64_t base = segment_base(&s->log, number);

    if (s->handover.places != NULL)
        handover_claim(s, f->place.id);
    /* Written whole before it is linked, so readers see the old place or the new. */
    racy_write(copy, f->item, f->shape.size);
    if (f->shape.expiry != 0) /* long expired: any instant in the past will do */
        racy_store32(copy + 4, expires.ms > base ? (uint32_t)(expires.ms - base) : 1);
    if (expires.ms != 0)
        segment_expires(&s->log, number, expires);
    index_replace(&s->index, f->place, to);
    bury(s, f);
    s->changes++;
    s->stats.relocated++;
}

bool shard_expiry_fits(const struct shard *s, const struct found *f, uint32_t segment)
{
    return f->shape.expiry == 0 || shard_expires(s, f).ms - segment_base(&s->log, segment) <= UINT32_MAX;
}

/* ---- room ---- */

bool shard_evict_one(struct shard *s)
{
    struct found f;

    if (s->type == NULL)
        return false;
    evict_id id = handover_victim(s);
    if (id == EVICT_NOBODY)
        return false;
    CHECK(shard_slot_of_id(s, id, &f) != 0);
    bool expired = item_has_expiry(&f.shape) && !is_before(s->now, shard_expires(s, &f));
    if (expired)
        s->stats.expired++;
    else
        s->stats.evicted++;
    shard_drop(s, &f, EVICT_EVICTED);
    shard_tell_of(s, &f, expired ? CHANGE_EXPIRED : CHANGE_EVICTED);
    return true;
}

bool shard_make_room(struct shard *s, uint64_t weight)
{
    enum { EXTRA = 64 };
    uint64_t enough = s->weight > s->capacity ? s->weight : s->capacity;

    if (weight > s->capacity)
        return false;
    while (s->weight + weight > enough)
        if (!shard_evict_one(s))
            return false;
    for (unsigned i = 0; i < EXTRA && s->weight + weight > s->capacity; i++)
        if (!shard_evict_one(s))
            return false;
    return true;
}

item_ref shard_append(struct shard *s, unsigned queue, uint32_t size)
{
    /* One segment is kept back for compaction and requeue, which must be able
     * to copy before they can free. */
    enum { SPARE = 1 };
    item_ref ref;

    compact_step(s, size);
    uint32_t newest = s->log.queues[queue].newest;
    while ((ref = segment_append(&s->log, queue, size, s->now, SPARE)) == 0) {
        shard_refresh_budget(s);
        if (s->log.in_use + SPARE < s->log.limit)
            continue;
        shard_give_slack(s);
        if (!compact_one(s) && !shard_evict_one(s))
            return 0;
    }
    if (s->log.queues[queue].newest != newest) { /* once a segment: keep the arithmetic up to date */
        note_calm(s);
        (void)shard_trim_index(s);
        shard_refresh_budget(s);
    }
    return ref;
}

item_ref shard_append_beyond(struct shard *s, unsigned queue, uint32_t size)
{
    item_ref ref;

    s->log.limit = s->log.in_use + 1;
    ref = segment_append(&s->log, queue, size, s->now, 0);
    shard_refresh_budget(s);
    return ref;
}

void shard_fit_segments(struct shard *s)
{
    shard_refresh_budget(s);
    while (s->log.in_use > s->log_target)
        if (!compact_one(s) && !shard_evict_one(s))
            return;
}

bool shard_trim_index(struct shard *s)
{
    uint32_t first = 0, count = index_trim(&s->index, &first);

    if (count != 0 && s->host.nodes != NULL) {
        /* Their nodes are not used either; whole pages of them go back. */
        uintptr_t from = (uintptr_t)(s->host.nodes + (size_t)first * BUCKET_SLOTS + 1);
        uintptr_t to = (uintptr_t)(s->host.nodes + ((size_t)first + count) * BUCKET_SLOTS + 1);
        from = (from + 4095) & ~(uintptr_t)4095;
        to &= ~(uintptr_t)4095;
        if (from < to)
            madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return index_trim_overflow(&s->index) || count != 0;
}

void shard_touch(struct shard *s, slot_id id, const struct item_shape *shape)
{
    if (handover_waits(s, id))
        handover_touch(s, id);
    else if (s->type != NULL && s->type->touched != NULL && shard_tracks(s, shape))
        s->type->touched(s->policy, id);
}

void shard_drain_touches(struct shard *s, struct touch_ring *ring)
{
    uint32_t count = ring->count;

    ring->count = 0;
    if (s->type == NULL || s->type->touched == NULL)
        return;
    for (uint32_t i = 0; i < count; i++) {
        const struct touch *t = &ring->touches[i];
        uint64_t hash = (uint64_t)t->tag << 32 | t->hash_low;
        struct found f = shard_at(s, index_find_ref(&s->index, hash, t->ref), hash);
        if (f.ref != 0)
            shard_touch(s, f.place.id, &f.shape);
    }
}

/* ---- switching policy ---- */

static bool reserve_nodes(struct shard *s)
{
    size_t bytes = (size_t)2 * INDEX_BUCKETS_MAX * BUCKET_SLOTS * sizeof(uint64_t);

    if (s->host.nodes != NULL)
        return true;
    s->host.nodes = pages_reserve(bytes);
    if (s->host.nodes == NULL)
        return false;
    s->nodes_bytes = bytes;
    return true;
}

/* The old policy goes, but for the order of its items if the next is to go by that. */
static void retire(struct shard *s, struct handover *h, bool keeps_order)
{
    if (s->policy == NULL)
        return;
    if (keeps_order && h->handed != NULL) {
        h->from_type = s->type;
        h->from = s->policy;
        return;
    }
    s->type->destroy(s->policy);
    if (s->host.nodes != NULL)
        madvise(s->host.nodes, s->nodes_bytes, MADV_DONTNEED); /* reads as zero again */
}

void shard_say_wants(struct shard *s)
{
    unsigned wants = s->type != NULL && s->type->touched != NULL ? WANTS_TOUCHES : 0;

    wants |= s->sampled ? WANTS_SAMPLES : 0;
    atomic_store_explicit(&s->wants, (uint8_t)wants, memory_order_relaxed);
}

bool shard_set_policy(struct shard *s, enum evict_scope scope, const struct evict_type *type)
{
    bool linked = type != NULL && type->linked;
    bool keeps_order = s->type != NULL && s->type->linked && s->scope == EVICT_ALLKEYS;
    struct evict_config config = {s->capacity, s->seed};
    struct evict_policy *next = NULL;
    struct handover h = {0};

    handover_finish(s);
    if (type != NULL && (next = type->create(&s->host, &config)) == NULL)
        return false;
    if (linked && (!handover_prepare(s, &h, !keeps_order) || !reserve_nodes(s))) {
        handover_abandon(&h);
        type->destroy(next);
        return false;
    }
    compact_forget(s, 0);
    retire(s, &h, keeps_order);
    s->type = type;
    s->scope = type == NULL ? EVICT_NOTHING : scope;
    s->policy = next;
    segment_join_queues(&s->log);
    if (linked)
        handover_begin(s, &h);
    else if (type != NULL)
        type->adopted(next, scope == EVICT_ALLKEYS ? s->index.items : s->stats.items_expiring, s->weight);
    if (s->host.nodes != NULL && !linked) {
        pages_release(s->host.nodes, s->nodes_bytes);
        s->host.nodes = NULL;
    }
    shard_say_wants(s);
    shard_refresh_budget(s);
    return true;
}

void shard_flush(struct shard *s)
{
    struct evict_config config = {s->capacity, s->seed};

    unpin_blobs(s);
    compact_forget(s, 0);
    handover_abandon(&s->handover);
    index_clear(&s->index);
    segment_clear(&s->log);
    memset(&s->walk, 0, sizeof s->walk);
    s->weight = 0;
    s->stats.items_expiring = 0;
    s->stats.negatives = 0;
    memset(s->stats.dbs, 0, sizeof s->stats.dbs);
    s->stats.flushes++;
    s->changes++;
    if (s->host.nodes != NULL)
        madvise(s->host.nodes, s->nodes_bytes, MADV_DONTNEED);
    if (s->type != NULL) {
        struct evict_policy *fresh = s->type->create(&s->host, &config);
        if (fresh != NULL) {
            s->type->destroy(s->policy);
            s->policy = fresh;
        } else {
            s->type->destroy(s->policy); /* no memory for a new one: evict nothing until a policy is set */
            s->policy = NULL;
            s->type = NULL;
            s->scope = EVICT_NOTHING;
        }
    }
    shard_refresh_budget(s);
}

/* Drops what a segment holds of the database; it may free itself by that. */
static void flush_segment(struct shard *s, uint32_t number, uint8_t db)
{
    const struct segment *g = &s->log.segments[number];
    uint32_t generation = g->generation;

    for (uint32_t at = 0; g->generation == generation && at < g->used;) {
        struct found f = {.ref = segment_ref(&s->log, number, at)};
        f.item = segment_item(&s->log, f.ref);
        item_read(f.item, &f.shape);
        at += f.shape.size;
        if ((word0_flags(f.shape.word0) & ITEM_DEAD) || item_db(&f.shape) != db)
            continue;
        uint64_t hash = shard_hash_of(s, f.ref);
        f = shard_at(s, index_find_ref(&s->index, hash, f.ref), hash);
        shard_drop(s, &f, EVICT_REMOVED);
    }
}

void shard_flush_db(struct shard *s, uint8_t db)
{
    uint64_t others = 0;

    for (unsigned i = 1; i < STORE_DATABASES_MAX; i++)
        others += s->stats.dbs[i].items;
    if (db != 0 && s->stats.dbs[db].items == 0)
        return;
    if (db == 0 ? others == 0 : s->index.items == s->stats.dbs[db].items) {
        shard_flush(s);
        return;
    }
    for (uint32_t number = 1; number < s->log.fresh; number++) {
        if (s->log.segments[number].state != SEGMENT_FREE)
            flush_segment(s, number, db);
    }
    s->stats.flushes++;
}

/* ---- checking ---- */

struct tally {
    struct shard *s;
    uint64_t weight, blob_bytes, expiring, negatives;
    struct store_db_count dbs[STORE_DATABASES_MAX];
};

static void tally_slot(void *arg, slot_id id)
{
    struct tally *t = arg;
    struct found f = shard_at_slot(t->s, id);
    struct index_place again = index_find_ref(&t->s->index, f.hash, f.ref);

    CHECK(again.id == id);
    CHECK(!(word0_flags(f.shape.word0) & ITEM_DEAD));
    CHECK(segment_offset(&t->s->log, f.ref) + f.shape.size <=
          t->s->log.segments[segment_of(&t->s->log, f.ref)].used);
    t->weight += shard_weight_of(&f);
    t->blob_bytes += shard_weight_of(&f) - f.shape.size;
    t->expiring += item_has_expiry(&f.shape);
    t->negatives += item_is_negative(f.shape.meta);
    t->dbs[item_db(&f.shape)].items++;
    t->dbs[item_db(&f.shape)].expiring += item_has_expiry(&f.shape);
    if (item_has_expiry(&f.shape))
        CHECK(t->s->log.segments[segment_of(&t->s->log, f.ref)].visit_ms <= shard_expires(t->s, &f).ms ||
              t->s->walk.segment == segment_of(&t->s->log, f.ref) ||
              t->s->log.segments[segment_of(&t->s->log, f.ref)].visit_gap_ms != 0);
}

void shard_check(struct shard *s)
{
    struct tally t = {.s = s};

    index_check(&s->index);
    segment_log_check(&s->log);
    index_each(&s->index, tally_slot, &t);
    CHECK(t.weight == s->weight && t.blob_bytes == s->blob_bytes && t.expiring == s->stats.items_expiring);
    CHECK(t.negatives == s->stats.negatives);
    CHECK(memcmp(t.dbs + 1, s->stats.dbs + 1, sizeof t.dbs - sizeof *t.dbs) == 0);
    CHECK(s->log.live + s->blob_bytes == s->weight);
    if (s->policy != NULL)
        s->type->check(s->policy);
    handover_check(s);
}
