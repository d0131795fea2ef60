/* read.c - looking a value up without a lock; see racy.h for why it is sound. */
#include "server/spin.h"
#include "server/store/sampling.h"

/* ---- keys ---- */

struct key store_key_in(const struct store *store, unsigned db, struct slice name)
{
    return (struct key){.data = name.data,
                        .len = (uint32_t)name.len,
                        .db = (uint8_t)db,
                        .hash = key_hash(name.data, name.len, store->seed, db)};
}

/* ---- reading ---- */

void store_prefetch_bucket(const struct store *store, uint64_t hash)
{
    const struct shard *s = shard_of(store, hash);

    __builtin_prefetch(home_bucket(s, atomic_load_explicit(&s->index.shape, memory_order_relaxed), hash));
}

void store_prefetch_item(const struct store *store, uint64_t hash)
{
    const struct shard *s = shard_of(store, hash);
    struct bucket *b = home_bucket(s, atomic_load_explicit(&s->index.shape, memory_order_relaxed), hash);
    uint32_t match = bucket_match(b, index_tag(hash)) & bucket_items_mask(b);

    for (; match != 0; match &= match - 1) {
        const uint8_t *item = segment_item(&s->log, racy_load32(&b->refs[__builtin_ctz(match)]));
        __builtin_prefetch(item);
        __builtin_prefetch(item + 64);
        __builtin_prefetch(item + 128);
    }
}

/* A hit, as an optimistic reader believes it for now. */
struct sight {
    struct bucket *bucket;
    unsigned slot;
    item_ref ref;
    const uint8_t *item;
    struct item_shape shape;
};

enum seen { SEEN_NOTHING, SEEN_ITEM, SEEN_NONSENSE };

/* Walks a chain that may be changing under us. NONSENSE: look again. */
static enum seen look(const struct shard *s, struct bucket *home, const struct key *key, struct sight *sight)
{
    struct bucket *b = home;

    for (unsigned hops = 0; b != NULL; b = bucket_next(&s->index, b)) {
        uint32_t match = bucket_match(b, index_tag(key->hash)) & bucket_items_mask(b);
        for (; match != 0; match &= match - 1) {
            unsigned slot = (unsigned)__builtin_ctz(match);
            item_ref ref = racy_load32(&b->refs[slot]);
            const uint8_t *item = segment_item(&s->log, ref);
            item_read(item, &sight->shape);
            if (sight->shape.key_len != key->len || item_db(&sight->shape) != key->db ||
                !racy_equals(item + sight->shape.key_at, key->data, key->len))
                continue;
            if (segment_offset(&s->log, ref) + sight->shape.size > s->log.segment_bytes)
                return SEEN_NONSENSE;
            sight->bucket = b;
            sight->slot = slot;
            sight->ref = ref;
            sight->item = item;
            return SEEN_ITEM;
        }
        if (++hops > INDEX_CHAIN_MAX)
            return SEEN_NONSENSE;
    }
    return SEEN_NOTHING;
}

/* Spins a little while a writer is inside; if that is not enough the writer
 * has lost its processor, and waiting for the lock lets it run. */
static uint32_t stable_version(struct shard *s, struct bucket *home)
{
    for (unsigned spins = 0;; spins++) {
        uint32_t version = atomic_load_explicit(&home->version, memory_order_acquire);
        if ((version & 1) == 0)
            return version;
        if (spins < 64) {
            spin_pause();
        } else {
            pthread_mutex_lock(&s->lock);
            pthread_mutex_unlock(&s->lock);
        }
    }
}

static bool unchanged(const struct index *ix, const struct bucket *home, uint32_t version,
                      uint32_t generation)
{
    racy_fence_acquire(); /* pairs with the release fence in bucket_write_begin() */
    return atomic_load_explicit(&home->version, memory_order_relaxed) == version &&
           (uint32_t)(atomic_load_explicit(&ix->shape, memory_order_relaxed) >> 32) == generation;
}

static void remember_touch(struct store_local *local, struct shard *s, const struct key *key, item_ref ref)
{
    struct touch_ring *ring = &local->rings[s - local->store->shards];

    if (ring->count == TOUCH_RING) {
        if (pthread_mutex_trylock(&s->lock) != 0)
            return; /* somebody is busy: this hit is lost, which costs a little accuracy */
        shard_drain_touches(s, ring);
        pthread_mutex_unlock(&s->lock);
    }
    ring->touches[ring->count++] = (struct touch){(uint32_t)key->hash, (uint8_t)(key->hash >> 32), ref};
}

/* For the shadows. What has no value yet was asked for in vain. */
static void sample_hit(struct store_local *local, const struct key *key, const struct sight *sight,
                       const struct store_peek *peek, instant now)
{
    uint64_t weight = sight->shape.size;

    if (sight->shape.meta & ITEM_PENDING) {
        sampling_missed(local, key, now);
        return;
    }
    if (word0_flags(sight->shape.word0) & ITEM_BLOB) {
        struct item_blob b;
        racy_read(&b, peek->value, sizeof b);
        weight += b.len;
    }
    sampling_hit(local, key, weight, peek->expires, now);
}

static void sample_miss(struct store_local *local, const struct shard *s, const struct key *key, instant now)
{
    if (__builtin_expect(atomic_load_explicit(&s->wants, memory_order_relaxed) & WANTS_SAMPLES, 0))
        sampling_missed(local, key, now);
}

/* Of an item with a grace or a lease: is it still to be had by a plain read? */
static bool shows_herd(struct store_peek *peek, const uint8_t *item, const struct item_shape *shape,
                       instant now)
{
    peek->herd = item_herd(item, shape);
    peek->expires.ms -= peek->herd.grace_ms;
    peek->expired = peek->expires.ms != 0 && peek->expires.ms <= now.ms;
    return !peek->expired;
}

/* Blobs are pinned under the lock: their memory, unlike the log's, can vanish. */
static enum peek_status peek_blob(struct shard *s, const struct key *key, instant now,
                                  struct store_peek *peek)
{
    enum peek_status status = PEEK_MISS;

    pthread_mutex_lock(&s->lock);
    struct found f = shard_find(s, key);
    if (f.ref != 0 && (word0_flags(f.shape.word0) & ITEM_BLOB)) {
        instant expires = shard_expires(s, &f);
        peek->expired = expires.ms != 0 && expires.ms <= now.ms;
        if (!peek->expired) {
            struct item_blob b = item_blob_of(&f);
            blob_pin(b.blob);
            peek->blob = b.blob;
            peek->value = b.data;
            peek->len = (uint32_t)b.len;
            /* It may be another item than the one seen without the lock. */
            peek->flags = item_client_flags(f.item, &f.shape);
            peek->expires = expires;
            peek->cas = item_cas(f.item, &f.shape);
            peek->state = (uint8_t)(f.shape.meta & ITEM_META_STATE);
            peek->key_binary = (f.shape.meta & ITEM_META_KEY_BINARY) != 0;
            peek->herded = (f.shape.meta & ITEM_META_HERD) != 0;
            status = PEEK_BLOB;
            if (peek->herded && !shows_herd(peek, f.item, &f.shape, now)) {
                blob_unpin(&peek->blob);
                status = PEEK_MISS;
            }
        }
    } else if (f.ref != 0) {
        status = PEEK_HIT; /* meanwhile overwritten by a small value: look again */
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

static enum peek_status peek_at(struct store *store, struct store_local *local, const struct key *key,
                                instant now, bool count_hit, bool wants_value, struct store_peek *peek)
{
    struct shard *s = shard_of(store, key->hash);
    const struct index *ix = &s->index;

    for (;;) {
        uint64_t shape = atomic_load_explicit(&ix->shape, memory_order_acquire);
        struct bucket *home = home_bucket(s, shape, key->hash);
        uint32_t version = stable_version(s, home);
        struct sight sight;

        peek->expired = peek->herded = false;
        peek->seen_index = ix;
        peek->seen_bucket = home;
        peek->seen_version = version;
        peek->seen_generation = (uint32_t)(shape >> 32);
        switch (look(s, home, key, &sight)) {
        case SEEN_NONSENSE: continue;
        case SEEN_NOTHING:
            racy_fence_acquire();
            if (atomic_load_explicit(&home->version, memory_order_relaxed) == version &&
                atomic_load_explicit(&ix->shape, memory_order_relaxed) == shape) {
                if (count_hit)
                    sample_miss(local, s, key, now);
                return PEEK_MISS;
            }
            continue;
        case SEEN_ITEM: break;
        }
        const struct item_shape *shape_of_item = &sight.shape;
        peek->value = sight.item + shape_of_item->key_at + shape_of_item->key_len;
        peek->len = shape_of_item->value_len;
        peek->flags = item_client_flags(sight.item, shape_of_item);
        peek->expires = (instant){0};
        if (item_has_expiry(shape_of_item))
            peek->expires = item_expires(sight.item, shape_of_item,
                                         segment_base(&s->log, segment_of(&s->log, sight.ref)));
        peek->cas = item_cas(sight.item, shape_of_item);
        peek->state = (uint8_t)(shape_of_item->meta & ITEM_META_STATE);
        peek->key_binary = (shape_of_item->meta & ITEM_META_KEY_BINARY) != 0;
        peek->fetched = bucket_fetched(sight.bucket, sight.slot);
        peek->blob = NULL;
        peek->herded = (shape_of_item->meta & ITEM_META_HERD) != 0;
        bool gone = peek->expires.ms != 0 && peek->expires.ms <= now.ms;
        if (__builtin_expect(peek->herded, 0)) {
            peek->herded = !gone;
            gone = gone || !shows_herd(peek, sight.item, shape_of_item, now);
        }
        if (gone) {
            if (!unchanged(ix, home, version, peek->seen_generation))
                continue;
            peek->expired = true;
            if (count_hit)
                sample_miss(local, s, key, now);
            return PEEK_MISS;
        }
        if (count_hit) {
            bucket_hit(sight.bucket, sight.slot);
            unsigned wants = atomic_load_explicit(&s->wants, memory_order_relaxed);
            if (wants & WANTS_TOUCHES)
                remember_touch(local, s, key, sight.ref);
            if (__builtin_expect(wants & WANTS_SAMPLES, 0))
                sample_hit(local, key, &sight, peek, now);
        }
        if (__builtin_expect((word0_flags(shape_of_item->word0) & ITEM_BLOB) == 0, 1))
            return PEEK_HIT;
        if (!wants_value) {
            struct item_blob b;
            racy_read(&b, peek->value, sizeof b);
            peek->len = (uint32_t)b.len;
            return PEEK_HIT;
        }
        if (!unchanged(ix, home, version, peek->seen_generation))
            continue;
        enum peek_status status = peek_blob(s, key, now, peek);
        if (status != PEEK_HIT)
            return status;
    }
}

enum peek_status store_peek(struct store *store, struct store_local *local, const struct key *key,
                            instant now, bool count_hit, struct store_peek *peek)
{
    return peek_at(store, local, key, now, count_hit, true, peek);
}

enum peek_status store_look(struct store *store, struct store_local *local, const struct key *key,
                            instant now, bool count_hit, struct store_peek *peek)
{
    return peek_at(store, local, key, now, count_hit, false, peek);
}

bool store_peek_ok(const struct store_peek *peek)
{
    return unchanged(peek->seen_index, peek->seen_bucket, peek->seen_version, peek->seen_generation);
}
