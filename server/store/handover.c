/* handover.c - a shard's residents go from one eviction policy to another.
 *
 * A linked policy must be told of each item. For a million of them that takes
 * a third of a second, so it is done a slice at a time, by ticks, while the
 * shard serves. Rules: (1) from the beginning the new policy decides; it holds
 * what came since and what was handed over. (2) The coldest come first, in the
 * order in which the old policy would have evicted them, by asking it; where it
 * kept no order of its own, or not of all items, in the order of the log. (3) A
 * bit per slot says who has been handed over. Who has not belongs to the old
 * policy, or to none: a touch goes to the old one; whoever is overwritten, or
 * moves in the log while that is the order, is handed over at once. (4) When
 * the new policy has nobody to evict yet, a slice is handed over for it.
 *
 * Policies that are not linked know items by queue and place, so to them all
 * are handed over in one go (adopted). */
#include "server/store/handover.h"

#include <stdlib.h>

#include "server/check.h"
#include "server/store/pages.h"

enum { SLICE = 64 };
#define HANDED_BYTES ((size_t)2 * INDEX_BUCKETS_MAX * BUCKET_SLOTS / 8 + 64)

static void mark(struct shard *s, slot_id id)
{
    s->handover.handed[id / 64] |= UINT64_C(1) << (id % 64);
}

static void unmark(struct shard *s, slot_id id)
{
    s->handover.handed[id / 64] &= ~(UINT64_C(1) << (id % 64));
}

bool handover_prepare(struct shard *s, struct handover *h, bool log_order)
{
    *h = (struct handover){.left = s->index.items};
    if (h->left == 0)
        return true;
    if (log_order && (h->places = malloc(s->log.in_use * sizeof(h->places[0]))) == NULL)
        return false;
    h->handed = pages_reserve(HANDED_BYTES);
    if (h->handed == NULL)
        handover_abandon(h);
    return h->handed != NULL;
}

void handover_abandon(struct handover *h)
{
    if (h->from != NULL)
        h->from_type->destroy(h->from);
    pages_release(h->handed, HANDED_BYTES);
    free(h->places);
    *h = (struct handover){0};
}

void handover_begin(struct shard *s, const struct handover *prepared)
{
    struct handover *h = &s->handover;

    *h = *prepared;
    if (h->places == NULL)
        return;
    for (unsigned queue = 0; queue < EVICT_QUEUES_MAX; queue++)
        for (uint32_t n = s->log.queues[queue].oldest; n != 0; n = s->log.segments[n].newer)
            h->places[h->places_len++] = (struct handover_place){n, s->log.segments[n].generation};
}

void handover_admitted(struct shard *s, slot_id id)
{
    if (s->handover.handed != NULL)
        mark(s, id);
}

void handover_moved(struct shard *s, slot_id from, slot_id to)
{
    bool was_handed = !handover_waits(s, from);

    unmark(s, from);
    if (was_handed)
        mark(s, to);
    else
        unmark(s, to);
}

/* The old policy knows it no more. */
static void take_from_old(struct shard *s, const struct found *f, uint64_t weight)
{
    struct handover *h = &s->handover;
    unsigned queue = s->log.segments[segment_of(&s->log, f->ref)].queue;

    CHECK(h->left > 0);
    h->left--;
    if (h->from == NULL)
        return;
    h->from_type->gone(h->from, f->place.id, f->hash, (uint32_t)weight, queue, EVICT_REMOVED);
    s->host.nodes[f->place.id] = 0;
}

static void hand_over(struct shard *s, const struct found *f)
{
    uint64_t weight = shard_weight_of(f);
    unsigned queue = s->log.segments[segment_of(&s->log, f->ref)].queue;

    take_from_old(s, f, weight);
    mark(s, f->place.id);
    if (shard_tracks(s, &f->shape))
        s->type->admitted(s->policy, f->place.id, f->hash, (uint32_t)weight, queue);
}

void handover_drop(struct shard *s, const struct found *f)
{
    take_from_old(s, f, shard_weight_of(f));
}

void handover_touch(struct shard *s, slot_id id)
{
    const struct handover *h = &s->handover;

    if (h->from != NULL && h->from_type->touched != NULL)
        h->from_type->touched(h->from, id);
}

void handover_claim(struct shard *s, slot_id id)
{
    struct found f;

    if (!handover_waits(s, id))
        return;
    f = shard_at_slot(s, id);
    hand_over(s, &f);
}

/* The next `items` by the old policy's own order. */
static void step_by_policy(struct shard *s, uint32_t items)
{
    struct handover *h = &s->handover;

    for (; items > 0 && h->left > 0; items--) {
        evict_id id = h->from_type->victim(h->from);
        CHECK(id != EVICT_NOBODY && handover_waits(s, id));
        struct found f = shard_at_slot(s, id);
        hand_over(s, &f);
    }
}

/* Whoever is left of a place that is no more has moved, and was handed over by that. */
static bool is_over(const struct shard *s, const struct handover_place *place, uint32_t at)
{
    const struct segment *g = &s->log.segments[place->segment];

    return g->generation != place->generation || g->state == SEGMENT_FREE || at >= g->used;
}

static void step_by_log(struct shard *s, uint32_t items)
{
    struct handover *h = &s->handover;

    while (items > 0 && h->left > 0) {
        CHECK(h->place < h->places_len);
        const struct handover_place *place = &h->places[h->place];
        if (is_over(s, place, h->at)) {
            h->place++;
            h->at = 0;
            continue;
        }
        item_ref ref = segment_ref(&s->log, place->segment, h->at);
        struct item_shape shape;
        item_read(segment_item(&s->log, ref), &shape);
        h->at += shape.size;
        items--;
        if (word0_flags(shape.word0) & ITEM_DEAD)
            continue;
        uint64_t hash = shard_hash_of(s, ref);
        struct found f = shard_at(s, index_find_ref(&s->index, hash, ref), hash);
        CHECK(f.ref == ref);
        if (handover_waits(s, f.place.id))
            hand_over(s, &f);
    }
}

bool handover_step(struct shard *s, uint32_t items)
{
    struct handover *h = &s->handover;

    if (h->handed == NULL)
        return false;
    if (h->from != NULL)
        step_by_policy(s, items);
    else
        step_by_log(s, items);
    if (h->left == 0)
        handover_abandon(h);
    return true;
}

evict_id handover_victim(struct shard *s)
{
    evict_id id = s->type->victim(s->policy);

    while (id == EVICT_NOBODY && handover_step(s, SLICE))
        id = s->type->victim(s->policy);
    return id;
}

void handover_finish(struct shard *s)
{
    while (handover_step(s, UINT32_MAX))
        ;
}

uint64_t handover_bytes(const struct shard *s)
{
    const struct handover *h = &s->handover;
    uint64_t bytes = 0;

    if (h->handed == NULL)
        return 0;
    bytes = index_bytes(&s->index) / sizeof(struct bucket) * BUCKET_SLOTS / 8;
    bytes += h->places != NULL ? h->places_len * sizeof(h->places[0]) : 0;
    return bytes + (h->from != NULL ? h->from_type->bytes(h->from) : 0);
}

struct count {
    const struct shard *s;
    uint64_t waiting;
};

static void count_waiting(void *arg, slot_id id)
{
    struct count *c = arg;

    c->waiting += handover_waits(c->s, id);
}

void handover_check(const struct shard *s)
{
    struct count c = {s, 0};

    if (s->handover.handed == NULL)
        return;
    index_each(&s->index, count_waiting, &c);
    CHECK(c.waiting == s->handover.left);
    if (s->handover.from != NULL)
        s->handover.from_type->check(s->handover.from);
}
