/* expiry.c - taking back the memory of items whose time is up.
 *
 * Readers never show an expired item; this is only about memory. A segment
 * knows the earliest moment at which something in it expires. When that has
 * come, its items are walked in the order they lie (sequential memory, a few
 * ns each), and the expired ones are dropped. A walk that freed little makes
 * the segment wait longer for the next one, from 250 ms doubling to 8 s: so
 * items that expire together are gone at once, and a segment with a thousand
 * different expiries is not walked a thousand times. What that leaves lying
 * about is less than 1/32 of a segment's items per wait. */
#include "server/store/shard.h"

enum { GAP_MIN_MS = 250, GAP_MAX_MS = 8000, WORTH_FRACTION = 32, BATCH = 32 };

/* Finds a segment that is due and starts walking it. False when none is. */
static bool find_due(struct shard *s)
{
    struct expiry_walk *w = &s->walk;

    for (uint32_t n = 1; n < s->log.fresh; n++) {
        w->cursor = w->cursor + 1 < s->log.fresh ? w->cursor + 1 : 1;
        struct segment *g = &s->log.segments[w->cursor];
        if (g->state == SEGMENT_FREE || g->visit_ms > s->now.ms)
            continue;
        w->segment = w->cursor;
        w->generation = g->generation;
        w->at = w->seen = w->freed = 0;
        w->next_ms = INT64_MAX;
        g->visit_ms = INT64_MAX; /* appends meanwhile lower it again */
        return true;
    }
    return false;
}

static void finish(struct shard *s)
{
    struct expiry_walk *w = &s->walk;
    struct segment *g = &s->log.segments[w->segment];
    int64_t visit = w->next_ms;

    if (visit != INT64_MAX) {
        uint32_t gap = GAP_MIN_MS;
        if ((uint64_t)w->freed * WORTH_FRACTION < w->seen)
            gap = g->visit_gap_ms * 2u < GAP_MAX_MS ? g->visit_gap_ms * 2u : GAP_MAX_MS;
        gap = gap < GAP_MIN_MS ? GAP_MIN_MS : gap;
        g->visit_gap_ms = (uint16_t)gap;
        if (visit < s->now.ms + gap)
            visit = s->now.ms + gap;
    }
    if (visit < g->visit_ms)
        g->visit_ms = visit;
    w->segment = 0;
}

bool expiry_step(struct shard *s, uint32_t items)
{
    struct expiry_walk *w = &s->walk;
    struct {
        item_ref ref;
        uint64_t hash;
    } batch[BATCH];
    uint32_t n = 0;

    if (w->segment == 0 && !find_due(s))
        return false;
    const struct segment *g = &s->log.segments[w->segment];
    while (items > 0 && g->generation == w->generation && w->at < g->used) {
        for (n = 0; n < BATCH && w->at < g->used && items > 0; items--) {
            struct found f = {.ref = segment_ref(&s->log, w->segment, w->at)};
            f.item = segment_item(&s->log, f.ref);
            item_read(f.item, &f.shape);
            w->at += f.shape.size;
            if ((word0_flags(f.shape.word0) & ITEM_DEAD) || !item_has_expiry(&f.shape))
                continue;
            w->seen++;
            instant expires = shard_expires(s, &f);
            if (is_before(s->now, expires)) {
                if (expires.ms < w->next_ms)
                    w->next_ms = expires.ms;
                continue;
            }
            batch[n].ref = f.ref;
            batch[n].hash = shard_hash_of(s, f.ref);
            __builtin_prefetch(&s->index.buckets[index_home(
                atomic_load_explicit(&s->index.shape, memory_order_relaxed), batch[n].hash)]);
            n++;
        }
        for (uint32_t i = 0; i < n; i++)
            index_prefetch_chain(&s->index, batch[i].hash);
        for (uint32_t i = 0; i < n; i++) {
            struct found f =
                shard_at(s, index_find_ref(&s->index, batch[i].hash, batch[i].ref), batch[i].hash);
            w->freed++;
            s->stats.expired++;
            shard_drop(s, &f, EVICT_REMOVED);
            shard_tell_of(s, &f, CHANGE_EXPIRED);
        }
    }
    if (g->generation != w->generation)
        w->segment = 0; /* nothing was left in it, and it is free */
    else if (w->at >= g->used)
        finish(s);
    return true;
}
