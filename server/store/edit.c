/* edit.c - changing one item under its shard's lock: put, drop, expire. */
#include <stdlib.h>

#include "server/store/handover.h"
#include "server/store/sampling.h"

static void remember_place(struct store_edit *e, slot_id slot, item_ref ref)
{
    e->seen_changes = e->shard->changes;
    e->slot = slot;
    e->ref = ref;
}

/* The item being edited, looked up again only if anything in the shard has moved. */
static struct found find_for(struct store_edit *e)
{
    struct shard *s = e->shard;

    if (e->seen_changes != s->changes) {
        struct found f = shard_find(s, &e->key);
        remember_place(e, f.place.id, f.ref);
        return f;
    }
    uint64_t shape = atomic_load_explicit(&s->index.shape, memory_order_relaxed);
    return shard_at(s, (struct index_place){home_bucket(s, shape, e->key.hash), e->slot}, e->key.hash);
}

/* Makes the edit's public fields say what f is. */
static void show(struct store_edit *e, const struct found *f)
{
    e->found = f->ref != 0;
    e->graced = false;
    e->fetched = false;
    e->value = (struct slice){NULL, 0};
    e->blob = NULL;
    e->flags = 0;
    e->expires = (instant){0};
    e->cas = 0;
    e->state = ITEM_LIVE;
    e->key_binary = false;
    e->herd = (struct store_herd){0};
    if (!e->found)
        return;
    e->fetched = bucket_fetched(index_bucket(&e->shard->index, f->place.id), slot_of(f->place.id));
    e->value = (struct slice){f->item + f->shape.key_at + f->shape.key_len, f->shape.value_len};
    if (word0_flags(f->shape.word0) & ITEM_BLOB) {
        struct item_blob b = item_blob_of(f);
        e->value = (struct slice){b.data, b.len};
        e->blob = b.blob;
    }
    e->flags = item_client_flags(f->item, &f->shape);
    e->expires = shard_expires(e->shard, f);
    e->cas = item_cas(f->item, &f->shape);
    e->state = (uint8_t)(f->shape.meta & ITEM_META_STATE);
    e->key_binary = (f->shape.meta & ITEM_META_KEY_BINARY) != 0;
    if (f->shape.meta & ITEM_META_HERD) {
        e->herd = item_herd(f->item, &f->shape);
        e->expires.ms -= e->herd.grace_ms;
        e->graced = e->expires.ms != 0 && !is_before(e->now, e->expires);
        e->found = !e->graced;
    }
}

void store_edit_begin(struct store *store, struct store_local *local, const struct key *key, instant now,
                      struct store_edit *e)
{
    uint32_t number = shard_number(store, key->hash);
    struct shard *s = &store->shards[number];

    e->store = store;
    e->local = local;
    e->shard = s;
    e->key = *key;
    e->now = now;
    e->expired = false;
    e->lapsed = false;
    pthread_mutex_lock(&s->lock);
    s->now = now;
    if (local->rings[number].count != 0)
        shard_drain_touches(s, &local->rings[number]);
    struct found f = shard_find(s, key);
    if (f.ref != 0 && item_has_expiry(&f.shape) && !is_before(now, shard_expires(s, &f))) {
        s->stats.expired++;
        shard_drop(s, &f, EVICT_REMOVED);
        shard_tell_of(s, &f, CHANGE_EXPIRED);
        e->expired = true;
        e->lapsed = (f.shape.meta & ITEM_PENDING) != 0;
        f.ref = f.place.id = 0;
    }
    remember_place(e, f.place.id, f.ref);
    show(e, &f);
    e->expired = e->expired || e->graced;
}

void store_edit_end(struct store_edit *e)
{
    pthread_mutex_unlock(&e->shard->lock);
}

bool store_edit_observe(const struct store_edit *e, const struct store_observer *observer)
{
    bool is_new = e->shard->observer != observer;

    e->shard->observer = observer;
    return is_new;
}

static bool lies_in_item(const struct store_edit *e, struct slice part)
{
    return (e->found || e->graced) && part.len != 0 && part.data >= e->value.data &&
           part.data < e->value.data + e->value.len;
}

static bool scratch_fits(struct store_local *local, size_t need)
{
    uint8_t *more;

    if (need <= local->scratch_cap)
        return true;
    if ((more = realloc(local->scratch, need)) == NULL)
        return false;
    local->scratch = more;
    local->scratch_cap = need;
    return true;
}

/* The value may be part of the very item that making room could evict or move. */
static bool save_parts(struct store_edit *e, struct slice *head, struct slice *tail, bool pinned)
{
    struct store_local *local = e->local;
    size_t need = head->len + tail->len;

    if (!lies_in_item(e, *head) && !lies_in_item(e, *tail))
        return true;
    if (pinned)
        return true;
    if (!scratch_fits(local, need))
        return false;
    if (head->len != 0)
        memcpy(local->scratch, head->data, head->len);
    if (tail->len != 0)
        memcpy(local->scratch + head->len, tail->data, tail->len);
    *head = (struct slice){local->scratch, need};
    *tail = (struct slice){NULL, 0};
    return true;
}

static void forget_scratch(struct store_local *local)
{
    enum { KEEP = 1 << 20 };

    if (local->scratch_cap > KEEP) {
        free(local->scratch);
        local->scratch = NULL;
        local->scratch_cap = 0;
    }
}

/* A pinned blob holding the value: the buffer it came in, or a copy. */
static struct blob *blob_for(const struct store_value *v, struct slice head, struct slice tail,
                             const uint8_t **data)
{
    struct blob *b = v->backing;

    if (b != NULL && tail.len == 0 && head.data >= b->data && head.data + head.len <= b->data + b->capacity &&
        b->capacity <= head.len + head.len / 8) {
        blob_pin(b);
        *data = head.data;
        return b;
    }
    b = blob_new(head.len + tail.len);
    if (b == NULL)
        return NULL;
    memcpy(b->data, head.data, head.len);
    if (tail.len != 0)
        memcpy(b->data + head.len, tail.data, tail.len);
    *data = b->data;
    return b;
}

/* Overwrites where it lies when the new item has exactly the old one's layout. */
static bool put_in_place(struct store_edit *e, const struct found *f, struct item_plan *plan)
{
    struct shard *s = e->shard;
    uint32_t number = segment_of(&s->log, f->ref);
    int64_t base = segment_base(&s->log, number);

    item_plan(plan, base);
    if (plan->size != f->shape.size || plan->flags != word0_flags(f->shape.word0) ||
        (plan->flags & ITEM_BLOB) || (plan->meta & ITEM_META_LAYOUT) != (f->shape.meta & ITEM_META_LAYOUT) ||
        shard_tracks(s, &f->shape) !=
            (s->type != NULL && (s->scope == EVICT_ALLKEYS || plan->expires.ms != 0)))
        return false;
    handover_claim(s, f->place.id);
    bucket_write_begin(f->place.home);
    item_write(f->item, plan, base);
    bucket_write_end(f->place.home);
    shard_count_db(s, e->key.db, 0, (plan->expires.ms != 0) - item_has_expiry(&f->shape));
    shard_count_negative(s, item_is_negative(f->shape.meta), item_is_negative(plan->meta));
    if (plan->expires.ms != 0)
        segment_expires(&s->log, number, plan->expires);
    if ((item_has_expiry(&f->shape) || plan->expires.ms != 0) && s->type != NULL &&
        s->type->expiry_changed != NULL)
        s->type->expiry_changed(s->policy, s->type->linked ? f->place.id : f->ref);
    return true;
}

/* An overwrite is a use of the key. */
static void touch(struct shard *s, const struct found *f)
{
    struct bucket *b = index_bucket(&s->index, f->place.id);
    unsigned slot = slot_of(f->place.id);

    if (s->type == NULL || !shard_tracks(s, &f->shape))
        return;
    if (s->type->touched != NULL)
        shard_touch(s, f->place.id, &f->shape);
    else if (bucket_hits(b, slot) < EVICT_HITS_MAX)
        index_set_hits(&s->index, f->place.id, bucket_hits(b, slot) + 1);
}

/* Links the item just written at `ref` in place of f. */
static void put_over(struct shard *s, const struct found *f, item_ref ref, const struct item_plan *plan,
                     uint64_t weight)
{
    struct found old = *f, now;
    uint64_t old_weight = shard_weight_of(f);
    bool was_tracked = shard_tracks(s, &f->shape);
    unsigned queue = s->log.segments[segment_of(&s->log, ref)].queue;
    bool is_blob = word0_flags(f->shape.word0) & ITEM_BLOB;
    struct item_blob blob = {0};

    if (is_blob)
        blob = item_blob_of(f);
    handover_claim(s, f->place.id);
    index_replace(&s->index, f->place, ref);
    now = shard_at(s, f->place, f->hash);
    bool is_tracked = shard_tracks(s, &now.shape);
    evict_id id = s->type != NULL && s->type->linked ? f->place.id : ref;
    unsigned old_queue = s->log.segments[segment_of(&s->log, old.ref)].queue;
    if (was_tracked && is_tracked && old_queue != queue) {
        /* Room was made for it in one queue, and that moved the old value to another. */
        s->type->gone(s->policy, id, f->hash, (uint32_t)old_weight, old_queue, EVICT_REMOVED);
        s->type->admitted(s->policy, id, f->hash, (uint32_t)weight, queue);
    } else if (was_tracked && is_tracked) {
        if (weight != old_weight && s->type->resized != NULL)
            s->type->resized(s->policy, id, (uint32_t)old_weight, (uint32_t)weight, queue);
        if (s->type->expiry_changed != NULL)
            s->type->expiry_changed(s->policy, id);
        touch(s, &now);
    } else if (was_tracked) {
        s->type->gone(s->policy, id, f->hash, (uint32_t)old_weight, queue, EVICT_REMOVED);
        if (s->type->linked)
            s->host.nodes[id] = 0;
    } else if (is_tracked) {
        s->type->admitted(s->policy, id, f->hash, (uint32_t)weight, queue);
    }
    racy_store32(old.item, old.shape.word0 | (uint32_t)ITEM_DEAD << 25);
    segment_died(&s->log, old.ref, old.shape.size);
    s->weight -= old_weight;
    shard_count_db(s, item_db(&old.shape), 0, (plan->expires.ms != 0) - item_has_expiry(&old.shape));
    shard_count_negative(s, item_is_negative(old.shape.meta), item_is_negative(plan->meta));
    if (is_blob) {
        s->stats.blob_items--;
        s->blob_bytes -= blob.blob->capacity;
        blob_unpin(&blob.blob);
    }
}

/* Links the item just written at `ref` as a new one. */
static slot_id put_new(struct shard *s, uint64_t hash, item_ref ref, const struct item_plan *plan,
                       uint64_t weight, unsigned queue)
{
    slot_id slot = index_insert(&s->index, hash, ref);

    if (slot == 0)
        return 0;
    handover_admitted(s, slot);
    s->stats.items_total++;
    shard_count_db(s, (uint8_t)(plan->meta >> ITEM_META_DB_SHIFT), 1, plan->expires.ms != 0);
    shard_count_negative(s, false, item_is_negative(plan->meta));
    if (s->type != NULL && (s->scope == EVICT_ALLKEYS || plan->expires.ms != 0))
        s->type->admitted(s->policy, s->type->linked ? slot : ref, hash, (uint32_t)weight, queue);
    return slot;
}

static bool will_be_tracked(const struct shard *s, const struct item_plan *plan)
{
    return s->type != NULL && (s->scope == EVICT_ALLKEYS || plan->expires.ms != 0);
}

/* Writes the planned item into the log and links it. */
static enum store_status put_elsewhere(struct store_edit *e, struct item_plan *plan, uint64_t blob_capacity,
                                       bool moves)
{
    struct shard *s = e->shard;
    struct found f = find_for(e);
    uint64_t changes, old_weight = 0;
    unsigned queue = 0;
    bool announced = false;

    plan->meta &= ~ITEM_META_EXPIRY;
    item_plan(plan, s->now.ms - 1); /* sizes it; only an expiry of 49 days may still change that */
    for (;;) {
        if (f.ref != 0) {
            old_weight = shard_weight_of(&f);
            queue = s->log.segments[segment_of(&s->log, f.ref)].queue;
        } else {
            old_weight = 0;
            if (!announced && will_be_tracked(s, plan)) {
                queue = s->type->arriving(s->policy, e->key.hash, (uint32_t)(plan->size + blob_capacity));
                announced = true;
            }
        }
        uint64_t weight = plan->size + blob_capacity;
        if (weight > s->capacity && !moves)
            return STORE_NO_SPACE; /* before anybody dies for it */
        changes = s->changes;
        if (weight > old_weight && !shard_make_room(s, weight - old_weight) && !moves)
            return STORE_NO_SPACE;
        if (changes == s->changes)
            break;
        f = find_for(e); /* making room may have taken the old value, or moved it */
        if (f.ref != 0)
            queue = s->log.segments[segment_of(&s->log, f.ref)].queue;
        if (f.ref != 0 || old_weight == 0)
            break;
    }
    if (s->type == NULL || s->type->queues < 2)
        queue = 0;
    item_plan(plan, segment_next_base(&s->log, queue, plan->size, s->now));
    item_ref ref = shard_append(s, queue, plan->size);
    if (ref == 0 && moves)
        ref = shard_append_beyond(s, queue, plan->size);
    if (ref == 0)
        return STORE_NO_SPACE;
    uint32_t number = segment_of(&s->log, ref);
    item_write(segment_item(&s->log, ref), plan, segment_base(&s->log, number));
    if (plan->expires.ms != 0)
        segment_expires(&s->log, number, plan->expires);
    f = find_for(e);
    if (f.ref == 0 && !announced && will_be_tracked(s, plan))
        (void)s->type->arriving(s->policy, e->key.hash, (uint32_t)(plan->size + blob_capacity));
    uint64_t weight = plan->size + blob_capacity;
    slot_id slot = f.place.id;
    s->weight += weight;
    if (f.ref != 0) {
        put_over(s, &f, ref, plan, weight);
    } else if ((slot = put_new(s, e->key.hash, ref, plan, weight, queue)) == 0) {
        s->weight -= weight;
        racy_store32(segment_item(&s->log, ref),
                     word0_make((uint32_t)plan->key.len, (uint32_t)(plan->head.len + plan->tail.len),
                                plan->flags | ITEM_DEAD));
        segment_died(&s->log, ref, plan->size);
        return STORE_NO_SPACE;
    }
    s->changes++;
    remember_place(e, slot, ref);
    return STORE_OK;
}

static enum store_status put_blob(struct store_edit *e, const struct store_value *v, struct item_plan *plan)
{
    struct shard *s = e->shard;
    struct item_blob b = {NULL, NULL, plan->head.len + plan->tail.len};
    enum store_status status;

    b.blob = blob_for(v, plan->head, plan->tail, &b.data);
    if (b.blob == NULL)
        return STORE_NO_SPACE;
    plan->head = (struct slice){(const uint8_t *)&b, sizeof b};
    plan->tail = (struct slice){NULL, 0};
    plan->flags = ITEM_BLOB;
    status = put_elsewhere(e, plan, b.blob->capacity, v->moves);
    if (status != STORE_OK) {
        blob_unpin(&b.blob);
        return status;
    }
    s->stats.blob_items++;
    s->blob_bytes += b.blob->capacity;
    shard_fit_segments(s);
    return STORE_OK;
}

static void drop(struct store_edit *e)
{
    struct found f = find_for(e);

    if (f.ref != 0)
        shard_drop(e->shard, &f, EVICT_REMOVED);
    if (__builtin_expect(e->shard->sampled, 0))
        sampling_dropped(e);
    f.ref = 0;
    remember_place(e, 0, 0);
    show(e, &f);
}

static void tell(struct store_edit *e, enum store_change change)
{
    shard_tell(e->shard, e->local->owner, e->key.db, (struct slice){e->key.data, e->key.len}, change);
}

/* An expiry that is carried over takes its grace along. */
static void plan_herd(const struct store_edit *e, const struct store_value *v, struct item_plan *plan)
{
    plan->herd = v->herd;
    if (v->herd.grace_ms == 0 && v->herd.fill_ms == 0 && e->found && v->expires.ms == e->expires.ms &&
        !v->sets_expiry) {
        plan->herd.grace_ms = e->herd.grace_ms;
        plan->herd.fill_ms = e->herd.fill_ms;
    }
    if (v->expires.ms == 0)
        plan->herd.grace_ms = plan->herd.fill_ms = 0;
    if (v->expires.ms > INT64_MAX - (int64_t)plan->herd.grace_ms)
        plan->herd.grace_ms = 0; /* it is in time for ever */
    if (plan->herd.grace_ms != 0 || plan->herd.fill_ms != 0)
        plan->meta |= ITEM_META_GRACE;
    if (plan->herd.token != 0)
        plan->meta |= ITEM_META_LEASE;
    plan->expires.ms += plan->herd.grace_ms;
}

/* Without telling anybody. */
static enum store_status put(struct store_edit *e, const struct store_value *v)
{
    struct shard *s = e->shard;
    struct item_plan plan = {
        .key = {e->key.data, e->key.len},
        .head = v->head,
        .tail = v->tail,
        .client_flags = v->flags,
        .meta = (v->state & ITEM_META_STATE) | (v->key_binary ? ITEM_META_KEY_BINARY : 0) |
                (uint32_t)e->key.db << ITEM_META_DB_SHIFT,
        .cas = v->cas,
        .expires = v->expires,
    };
    size_t value_len = v->head.len + v->tail.len;
    enum store_status status = STORE_OK;
    struct found f;

    if (e->key.len > STORE_KEY_MAX || value_len + e->key.len > atomic_load(&e->store->item_max) ||
        value_len > UINT32_MAX / 2)
        return STORE_TOO_BIG;
    plan_herd(e, v, &plan);
    if (plan.expires.ms != 0 && !is_before(e->now, plan.expires)) {
        drop(e);
        return STORE_OK;
    }
    if (plan.cas == 0 && (e->cas != 0 || v->wants_cas))
        plan.cas = atomic_fetch_add(&e->store->next_cas, 1);
    bool pinned = v->backing != NULL && v->tail.len == 0 && v->head.data >= v->backing->data &&
                  v->head.data + v->head.len <= v->backing->data + v->backing->capacity;
    if (!save_parts(e, &plan.head, &plan.tail, pinned))
        return STORE_NO_SPACE;
    f = find_for(e);
    if (value_len + e->key.len + ITEM_OVERHEAD_MAX > s->log_item_max) {
        status = put_blob(e, v, &plan);
    } else if (f.ref != 0 && put_in_place(e, &f, &plan)) {
        item_read(f.item, &f.shape);
        touch(s, &f);
    } else {
        status = put_elsewhere(e, &plan, 0, v->moves);
    }
    if (status == STORE_NO_SPACE)
        s->stats.refused++;
    forget_scratch(e->local);
    f = find_for(e);
    if (status == STORE_OK && e->fetched && f.ref != 0)
        index_clear_fetched(&s->index, f.place.id); /* the new value has not been */
    if (__builtin_expect(s->sampled, 0) && status == STORE_OK && f.ref != 0 && !(v->state & ITEM_PENDING))
        sampling_stored(e, shard_weight_of(&f), v->expires);
    show(e, &f);
    return status;
}

static bool has_room_for_negative(struct store_edit *e)
{
    struct shard *s = e->shard;

    if (s->stats.negatives < s->negatives_max || item_is_negative(e->state))
        return true;
    s->stats.negatives_refused++;
    return false;
}

enum store_status store_edit_put(struct store_edit *e, const struct store_value *v)
{
    const struct store_shaper *shaper = e->shard->shaper;
    struct store_value shaped;
    enum store_status status;

    if (__builtin_expect(shaper != NULL, 0) && v->state == ITEM_LIVE &&
        (v->expires.ms == 0 || is_before(e->now, v->expires))) {
        shaped = *v;
        shaper->shape(shaper->arg, e, &shaped);
        v = &shaped;
    }
    if (__builtin_expect(item_is_negative(v->state), 0) && !has_room_for_negative(e)) {
        store_edit_drop(e);
        return STORE_OK;
    }
    status = put(e, v);
    if (status == STORE_OK)
        tell(e, e->found || e->graced ? CHANGE_WRITTEN
                                      : CHANGE_REMOVED); /* the latter for an expiry in the past */
    return status;
}

static bool shows(const struct store_edit *e)
{
    return e->found && state_shows(e->state);
}

/* ---- writing into a value ---- */

/* Copies `old` with the bytes written over it, and zeros in between. */
static void compose(uint8_t *to, struct slice old, size_t offset, struct slice bytes)
{
    if (old.len != 0)
        memcpy(to, old.data, old.len);
    if (offset > old.len)
        memset(to + old.len, 0, offset - old.len);
    if (bytes.len != 0)
        memcpy(to + offset, bytes.data, bytes.len);
}

/* What a large value of that size is given beyond it when it grows from `old`
 * bytes: as much as blob_for() puts up with, so that the next writes at its end
 * stay in place. Without a policy nobody can make room, and then it must be there. */
static size_t room_to_grow(const struct shard *s, size_t old, size_t size)
{
    enum { MOST = 1 << 20 };
    size_t room = size / 8 < MOST ? size / 8 : MOST;

    if (old == 0 || size <= old)
        return 0;
    return s->type != NULL || s->weight + size + room <= s->capacity ? room : 0;
}

static enum store_status write_as_blob(struct store_edit *e, struct store_value *v, struct slice old,
                                       size_t size, size_t offset, struct slice bytes)
{
    struct shard *s = e->shard;
    struct blob *blob = NULL;
    enum store_status status = STORE_NO_SPACE;

    if (size <= s->capacity) /* else it could never be kept, so spare the copy */
        blob = blob_new(size + room_to_grow(s, old.len, size));
    if (blob == NULL) {
        s->stats.refused++;
        return STORE_NO_SPACE;
    }
    compose(blob->data, old, offset, bytes);
    v->head = (struct slice){blob->data, size};
    v->backing = blob;
    status = put(e, v);
    blob_unpin(&blob);
    return status;
}

/* The whole value with the change in it, as a new one. */
static enum store_status write_anew(struct store_edit *e, size_t offset, struct slice bytes)
{
    struct shard *s = e->shard;
    struct slice old = shows(e) ? e->value : (struct slice){NULL, 0};
    size_t size = offset + bytes.len > old.len ? offset + bytes.len : old.len;
    struct store_value v = {0};

    if (shows(e))
        v = (struct store_value){.flags = e->flags, .expires = e->expires, .key_binary = e->key_binary};
    if (size + e->key.len + ITEM_OVERHEAD_MAX > s->log_item_max)
        return write_as_blob(e, &v, old, size, offset, bytes);
    if (!scratch_fits(e->local, size)) {
        s->stats.refused++;
        return STORE_NO_SPACE;
    }
    compose(e->local->scratch, old, offset, bytes);
    v.head = (struct slice){e->local->scratch, size};
    return put(e, &v);
}

static void set_cas(const struct found *f, uint64_t cas)
{
    if (cas != 0)
        racy_write(f->item + f->shape.key_at - sizeof cas, &cas, sizeof cas);
}

/* Readers of a blob have the lock or a pin; with neither about, its bytes are ours alone. */
static bool write_in_blob(struct store_edit *e, const struct found *f, size_t offset, struct slice bytes,
                          uint64_t cas)
{
    struct item_blob b = item_blob_of(f);
    size_t at = (size_t)(b.data - b.blob->data);
    size_t end = offset + bytes.len;
    uint8_t *value = b.blob->data + at;

    if (!blob_is_sole(b.blob) || end > b.blob->capacity - at)
        return false;
    if (offset > b.len)
        memset(value + b.len, 0, offset - b.len);
    if (bytes.len != 0)
        memcpy(value + offset, bytes.data, bytes.len);
    if (end > b.len)
        b.len = end;
    bucket_write_begin(f->place.home);
    racy_write(f->item + f->shape.key_at + f->shape.key_len, &b, sizeof b);
    set_cas(f, cas);
    bucket_write_end(f->place.home);
    show(e, f);
    return true;
}

/* False when it must be written anew, and nothing has changed. */
static bool write_in_place(struct store_edit *e, size_t offset, struct slice bytes)
{
    struct shard *s = e->shard;
    struct found f = find_for(e);
    uint64_t cas;

    if (!e->found || e->state != ITEM_LIVE)
        return false;
    cas = e->cas != 0 ? atomic_fetch_add(&e->store->next_cas, 1) : 0;
    if (word0_flags(f.shape.word0) & ITEM_BLOB) {
        if (!write_in_blob(e, &f, offset, bytes, cas))
            return false;
    } else {
        if (offset + bytes.len > f.shape.value_len)
            return false;
        bucket_write_begin(f.place.home);
        if (bytes.len != 0)
            racy_write(f.item + f.shape.key_at + f.shape.key_len + offset, bytes.data, bytes.len);
        set_cas(&f, cas);
        bucket_write_end(f.place.home);
    }
    touch(s, &f);
    if (e->fetched)
        index_clear_fetched(&s->index, f.place.id);
    if (__builtin_expect(s->sampled, 0))
        sampling_stored(e, shard_weight_of(&f), e->expires);
    show(e, &f);
    return true;
}

enum store_status store_edit_write(struct store_edit *e, size_t offset, struct slice bytes)
{
    size_t most = atomic_load(&e->store->item_max);
    enum store_status status = STORE_OK;

    if (e->key.len > STORE_KEY_MAX || bytes.len > most || offset > most - bytes.len ||
        offset + bytes.len + e->key.len > most)
        return STORE_TOO_BIG;
    if (!write_in_place(e, offset, bytes))
        status = write_anew(e, offset, bytes);
    if (status == STORE_OK)
        tell(e, CHANGE_WRITTEN);
    return status;
}

void store_edit_drop(struct store_edit *e)
{
    bool found = e->found || e->graced;

    drop(e);
    if (found)
        tell(e, CHANGE_REMOVED);
}

/* The same item with something about it changed; a blob keeps its blob. */
static enum store_status rewrite(struct store_edit *e, struct store_value *v)
{
    struct found f = find_for(e);
    struct blob *blob = NULL;
    enum store_status status;

    v->head = e->value;
    v->flags = e->flags;
    v->key_binary = e->key_binary;
    if (word0_flags(f.shape.word0) & ITEM_BLOB) {
        blob = item_blob_of(&f).blob;
        blob_pin(blob); /* making room may evict the item, but not these bytes */
        v->backing = blob;
    }
    bool fetched = e->fetched;
    status = put(e, v);
    blob_unpin(&blob);
    f = find_for(e);
    if (status == STORE_OK && fetched && f.ref != 0) {
        bucket_set_fetched(index_bucket(&e->shard->index, f.place.id), slot_of(f.place.id));
        e->fetched = true;
    }
    return status;
}

/* Of an item that is there, to a moment that is to come. */
static enum store_status set_expiry(struct store_edit *e, instant expires)
{
    struct shard *s = e->shard;
    struct found f = find_for(e);
    uint32_t number = segment_of(&s->log, f.ref);
    int64_t base = segment_base(&s->log, number);
    bool fits = expires.ms == 0 || (expires.ms > base && expires.ms - base <= UINT32_MAX);
    bool same_tracking =
        s->type == NULL || s->scope == EVICT_ALLKEYS || item_has_expiry(&f.shape) == (expires.ms != 0);
    if (!fits || !same_tracking || (f.shape.meta & ITEM_META_LAYOUT)) {
        struct store_value v = {.expires = expires, .state = e->state, .cas = e->cas, .herd = e->herd};
        return rewrite(e, &v);
    }
    handover_claim(s, f.place.id);
    shard_count_db(s, e->key.db, 0, (expires.ms != 0) - item_has_expiry(&f.shape));
    bucket_write_begin(f.place.home);
    racy_store32(f.item + 4, expires.ms != 0 ? (uint32_t)(expires.ms - base) : 0);
    bucket_write_end(f.place.home);
    if (expires.ms != 0)
        segment_expires(&s->log, number, expires);
    if (s->type != NULL && s->type->expiry_changed != NULL && expires.ms != 0)
        s->type->expiry_changed(s->policy, s->type->linked ? f.place.id : f.ref);
    if (__builtin_expect(s->sampled, 0))
        sampling_expires(e, shard_weight_of(&f), expires);
    e->expires = expires;
    return STORE_OK;
}

enum store_status store_edit_expire(struct store_edit *e, instant expires)
{
    enum store_status status;

    if (!e->found)
        return STORE_OK;
    if (expires.ms != 0 && !is_before(e->now, expires)) {
        store_edit_drop(e);
        return STORE_OK;
    }
    status = set_expiry(e, expires);
    if (status == STORE_OK)
        tell(e, CHANGE_WRITTEN);
    return status;
}

enum store_status store_edit_state(struct store_edit *e, uint8_t state)
{
    struct store_value v = {.expires = e->expires, .state = state, .cas = e->cas, .herd = e->herd};
    enum store_status status;

    if (!e->found || e->state == state)
        return STORE_OK;
    status = rewrite(e, &v);
    if (status == STORE_OK)
        tell(e, CHANGE_WRITTEN);
    return status;
}

enum store_status store_edit_mark(struct store_edit *e, uint8_t state, instant expires,
                                  const struct store_herd *herd)
{
    struct store_value v = {.expires = expires, .state = state, .cas = e->cas, .herd = *herd};
    enum store_status status;
    bool showed = shows(e), leased = e->herd.token != 0;

    if (!e->found && !e->graced)
        return STORE_OK;
    status = rewrite(e, &v);
    if (status == STORE_OK && shows(e) != showed)
        tell(e, showed ? CHANGE_REMOVED : CHANGE_WRITTEN);
    else if (status == STORE_OK && leased && e->herd.token == 0)
        shard_tell_lease_lost(e->shard, e->key.db, (struct slice){e->key.data, e->key.len});
    return status;
}

enum store_status store_edit_reserve(struct store_edit *e, const struct store_herd *lease)
{
    static const uint8_t none[1];
    struct store_value v = {.head = {none, 0},
                            .expires = after(lease->granted, (span){lease->length_ms}),
                            .state = ITEM_PENDING | ITEM_WON,
                            .herd = *lease};

    return put(e, &v);
}

uint64_t store_edit_cas(struct store_edit *e)
{
    if (!e->found)
        return 0;
    if (e->cas == 0) {
        struct store_value v = {.expires = e->expires,
                                .state = e->state,
                                .cas = atomic_fetch_add(&e->store->next_cas, 1),
                                .herd = e->herd};
        if (rewrite(e, &v) != STORE_OK)
            return 0;
    }
    return e->cas;
}

void store_edit_touch(struct store_edit *e)
{
    struct found f = find_for(e);

    if (f.ref == 0)
        return;
    bucket_hit(index_bucket(&e->shard->index, f.place.id), slot_of(f.place.id));
    shard_touch(e->shard, f.place.id, &f.shape);
    if (__builtin_expect(e->shard->sampled, 0))
        sampling_touched(e, shard_weight_of(&f), e->expires);
}

unsigned store_edit_frequency(struct store_edit *e)
{
    struct shard *s = e->shard;
    struct found f = find_for(e);

    if (f.ref == 0 || s->type == NULL || s->type->frequency == NULL || !shard_tracks(s, &f.shape))
        return 0;
    handover_claim(s, f.place.id);
    return s->type->frequency(s->policy, f.place.id);
}
