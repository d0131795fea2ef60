/* evict_host.c - what an eviction policy may ask of a shard. */
#include "server/store/shard.h"

#include "server/check.h"

static bool by_slot(const struct shard *s)
{
    return s->type->queues == 0; /* linked policies and random name slots, queues name refs */
}

slot_id shard_slot_of_id(struct shard *s, evict_id id, struct found *f)
{
    item_ref ref = by_slot(s) ? index_ref(&s->index, id) : id;

    uint64_t hash = shard_hash_of(s, ref);

    *f = shard_at(s, index_find_ref(&s->index, hash, ref), hash);
    return f->place.id;
}

/* Passes over the dead, frees what is finished, and stands at the oldest live item. */
static evict_id oldest(void *ctx, unsigned queue)
{
    struct shard *s = ctx;
    struct segment_queue *q = &s->log.queues[queue];

    while (q->oldest != 0) {
        uint32_t number = q->oldest;
        struct segment *g = &s->log.segments[number];
        while (q->oldest_at < g->used) {
            item_ref ref = segment_ref(&s->log, number, q->oldest_at);
            struct item_shape shape;
            item_read(segment_item(&s->log, ref), &shape);
            if (!(word0_flags(shape.word0) & ITEM_DEAD))
                return ref;
            q->oldest_at += shape.size;
        }
        if (g->state == SEGMENT_OPEN)
            return EVICT_NOBODY;
        /* A sealed segment with nothing live frees itself, so this one is being
         * filled by a compaction; the policy has caught up with it. */
        compact_forget(s, number);
        if (q->oldest == number && g->live == 0)
            segment_release(&s->log, number);
        else
            CHECK(q->oldest != number);
    }
    return EVICT_NOBODY;
}

static void requeue(void *ctx, evict_id id, unsigned queue, unsigned hits)
{
    struct shard *s = ctx;
    struct found f;

    CHECK(shard_slot_of_id(s, id, &f) != 0);
    /* The other queue's open segment may be older than the item's own: start a new one if 32 bits
     * from there do not reach the item's expiry. */
    uint32_t newest = s->log.queues[queue].newest;
    if (newest != 0 && s->log.segments[newest].state == SEGMENT_OPEN && !shard_expiry_fits(s, &f, newest))
        segment_seal(&s->log, queue);
    /* What it leaves behind is freed soon, so this may use the spare segment. */
    item_ref to = segment_append(&s->log, queue, f.shape.size, s->now, 0);
    if (to == 0) {
        uint32_t limit = s->log.limit;
        s->log.limit = UINT32_MAX; /* one segment over, for as long as it takes to eat the old one */
        to = segment_append(&s->log, queue, f.shape.size, s->now, 0);
        s->log.limit = limit;
        CHECK(to != 0);
    }
    index_set_hits(&s->index, f.place.id, hits);
    shard_relocate(s, &f, to);
}

static unsigned hits_of(void *ctx, evict_id id)
{
    struct shard *s = ctx;
    struct found f;
    slot_id slot = by_slot(s) ? id : shard_slot_of_id(s, id, &f);

    return bucket_hits(index_bucket(&s->index, slot), slot_of(slot));
}

static void set_hits(void *ctx, evict_id id, unsigned hits)
{
    struct shard *s = ctx;
    struct found f;

    index_set_hits(&s->index, by_slot(s) ? id : shard_slot_of_id(s, id, &f), hits);
}

static struct found look(struct shard *s, evict_id id)
{
    struct found f = {0};

    f.ref = by_slot(s) ? index_ref(&s->index, id) : id;
    f.item = segment_item(&s->log, f.ref);
    item_read(f.item, &f.shape);
    return f;
}

static uint32_t weight_of(void *ctx, evict_id id)
{
    struct found f = look(ctx, id);
    return (uint32_t)shard_weight_of(&f);
}

static int64_t expires_of(void *ctx, evict_id id)
{
    struct found f = look(ctx, id);
    instant expires = shard_expires(ctx, &f);
    return expires.ms != 0 ? expires.ms : INT64_MAX;
}

static uint64_t hash_of(void *ctx, evict_id id)
{
    struct shard *s = ctx;
    return shard_hash_of(s, by_slot(s) ? index_ref(&s->index, id) : id);
}

/* Uniform enough: a random bucket, then one of its items that the policy may kill. */
static evict_id any(void *ctx, uint64_t dice)
{
    enum { TRIES = 4096 };
    struct shard *s = ctx;

    if (s->scope == EVICT_VOLATILE && s->stats.items_expiring == 0)
        return EVICT_NOBODY;
    for (unsigned i = 0; i < TRIES; i++) {
        slot_id id = index_any(&s->index, dice);
        if (id == 0)
            return EVICT_NOBODY;
        struct found f = look(s, id);
        if (shard_tracks(s, &f.shape))
            return id;
        dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
    return EVICT_NOBODY;
}

void evict_host_init(struct shard *s)
{
    s->host = (struct evict_host){
        .ctx = s,
        .oldest = oldest,
        .requeue = requeue,
        .hits = hits_of,
        .set_hits = set_hits,
        .weight = weight_of,
        .expires = expires_of,
        .hash = hash_of,
        .any = any,
    };
}
