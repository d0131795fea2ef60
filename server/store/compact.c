/* compact.c - getting whole segments back from dead bytes spread over many.
 *
 * A run is a stretch of neighbouring segments of one queue that together hold
 * at least one segment's worth of dead bytes. Its live items are copied, in
 * order, into fresh segments that stand where the old ones stood, so queue
 * order survives and one segment is won. The shortest such run is the
 * cheapest: winning one segment costs copying run - 1.
 *
 * The work is paid for as memory is used up: every append of n bytes works off
 * (run + 1) * n bytes of the run, which finishes it about when the segment it
 * wins is needed. Nobody waits for a whole run unless free segments are out. */
#include "server/store/shard.h"

#include "server/check.h"

enum {
    LOW_WATER = 3,       /* free segments below which a run is begun */
    BATCH = 32,          /* items whose buckets are fetched together */
    RUN_DEAR = 16,       /* at longer ones the log is asked to keep more room */
    RUN_MAX_FORCED = 64, /* evicting is cheaper than copying more than this for one segment */
    RUN_MAX_EARLY = 48   /* longer ones are only begun when nothing else helps */
};

/* Finds the shortest run in one queue that is shorter than `best`: one whose
 * dead bytes are as many as one of its segments held when it was full. What a
 * segment's end left unused counts for nothing, as the copy will leave it too. */
static uint32_t shortest_run(const struct shard *s, unsigned queue, uint32_t best, uint32_t *start)
{
    const struct segment *g = s->log.segments;
    uint32_t left = s->log.queues[queue].oldest, length = 0;
    uint64_t dead = 0, used = 0;

    for (uint32_t right = left; right != 0 && g[right].state == SEGMENT_SEALED; right = g[right].newer) {
        dead += g[right].used - g[right].live;
        used += g[right].used;
        length++;
        while (length > 1) {
            uint64_t dead_without = dead - (g[left].used - g[left].live);
            if (length <= best && dead_without * (length - 1) < used - g[left].used)
                break;
            dead = dead_without;
            used -= g[left].used;
            left = g[left].newer;
            length--;
        }
        if (length < best && dead * length >= used && dead > 0) {
            best = length;
            *start = left;
        }
    }
    return best;
}

static bool begin(struct shard *s, uint32_t longest)
{
    struct compaction *c = &s->compaction;
    uint32_t start = 0, best = longest + 1;

    for (unsigned queue = 0; queue < EVICT_QUEUES_MAX; queue++)
        best = shortest_run(s, queue, best, &start);
    if (start == 0)
        return false;
    if (best > RUN_DEAR)
        shard_give_slack(s);
    *c = (struct compaction){.source = start,
                             .source_generation = s->log.segments[start].generation,
                             .left = best,
                             .run = best,
                             .looked_at = c->looked_at};
    return true;
}

static bool is_same(const struct shard *s, uint32_t segment, uint32_t generation)
{
    return segment != 0 && s->log.segments[segment].generation == generation &&
           s->log.segments[segment].state != SEGMENT_FREE;
}

void compact_forget(struct shard *s, uint32_t segment)
{
    struct compaction *c = &s->compaction;

    if (c->left == 0 || (segment != 0 && segment != c->source && segment != c->target))
        return;
    c->left = 0;
    if (is_same(s, c->target, c->target_generation) && s->log.segments[c->target].live == 0)
        segment_release(&s->log, c->target);
    c->target = 0;
}

/* A place for the item in the run's current target, or in a new target. */
static item_ref target_append(struct shard *s, const struct found *f)
{
    struct compaction *c = &s->compaction;
    uint32_t size = f->shape.size;
    item_ref ref = 0;

    if (is_same(s, c->target, c->target_generation) && shard_expiry_fits(s, f, c->target))
        ref = segment_append_to(&s->log, c->target, size);
    if (ref != 0)
        return ref;
    uint32_t target = segment_insert_before(&s->log, c->source, s->now);
    if (target == 0)
        return 0;
    c->target = target;
    c->target_generation = s->log.segments[target].generation;
    return segment_append_to(&s->log, target, size);
}

/* Moves on to the next segment of the run. */
static void next_source(struct shard *s, uint32_t next)
{
    struct compaction *c = &s->compaction;

    c->left--;
    c->source = next;
    c->source_at = 0;
    if (c->left == 0 || next == 0 || s->log.segments[next].state != SEGMENT_SEALED) {
        c->left = c->left == 0 ? 1 : c->left; /* so that forget() sees it as under way */
        compact_forget(s, 0);
        return;
    }
    c->source_generation = s->log.segments[next].generation;
}

/* Handles one batch of the source's items; returns the bytes gone over. */
static uint32_t work(struct shard *s)
{
    struct compaction *c = &s->compaction;
    struct {
        item_ref ref;
        uint64_t hash;
    } batch[BATCH];
    uint32_t n = 0, from = c->source_at;

    if (!is_same(s, c->source, c->source_generation)) {
        compact_forget(s, 0); /* it died by itself, and its neighbours may have */
        return 0;
    }
    const struct segment *g = &s->log.segments[c->source];
    uint32_t next = g->newer;
    while (n < BATCH && c->source_at < g->used) {
        item_ref ref = segment_ref(&s->log, c->source, c->source_at);
        struct item_shape shape;
        item_read(segment_item(&s->log, ref), &shape);
        c->source_at += shape.size;
        if (word0_flags(shape.word0) & ITEM_DEAD)
            continue;
        batch[n].ref = ref;
        batch[n].hash = shard_hash_of(s, ref);
        __builtin_prefetch(&s->index.buckets[index_home(
            atomic_load_explicit(&s->index.shape, memory_order_relaxed), batch[n].hash)]);
        n++;
    }
    uint32_t passed = c->source_at - from;
    for (uint32_t i = 0; i < n; i++) {
        struct found f = shard_at(s, index_find_ref(&s->index, batch[i].hash, batch[i].ref), batch[i].hash);
        CHECK(f.ref == batch[i].ref);
        if (item_has_expiry(&f.shape) && !is_before(s->now, shard_expires(s, &f))) {
            s->stats.expired++;
            shard_drop(s, &f, EVICT_REMOVED);
            shard_tell_of(s, &f, CHANGE_EXPIRED);
            continue;
        }
        item_ref to = target_append(s, &f);
        if (to == 0) {
            compact_forget(s, 0);
            return passed;
        }
        shard_relocate(s, &f, to);
    }
    if (!is_same(s, c->source, c->source_generation)) { /* its last item has left, and it is free */
        s->stats.compacted++;
        next_source(s, next);
    } else {
        CHECK(c->source_at < g->used || g->live == 0);
    }
    return passed;
}

void compact_step(struct shard *s, uint32_t appended)
{
    struct compaction *c = &s->compaction;

    if (__builtin_expect(c->left == 0, 1)) {
        if (s->log.in_use + LOW_WATER < s->log.limit || s->log.in_use == c->looked_at)
            return;
        c->looked_at = s->log.in_use;
        if (!begin(s, RUN_MAX_EARLY))
            return;
    }
    for (uint64_t bytes = (uint64_t)appended * (c->run + 1); c->left != 0;) {
        uint32_t done = work(s);
        if (done >= bytes)
            return;
        bytes -= done;
    }
}

bool compact_one(struct shard *s)
{
    enum { TRIES = 3 };
    uint32_t before = s->log.in_use;

    for (unsigned i = 0; i < TRIES; i++) {
        if (s->compaction.left == 0 && !begin(s, RUN_MAX_FORCED))
            return false;
        while (s->compaction.left != 0)
            work(s);
        if (s->log.in_use < before)
            return true;
    }
    return false;
}
