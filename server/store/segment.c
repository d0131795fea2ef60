/* segment.c - opening, filling and freeing segments. */
#include "server/store/segment.h"

#include "server/check.h"
#include "server/store/pages.h"

static const uint64_t ARENA_BYTES = UINT64_C(1) << 34; /* what 32-bit refs of 4 bytes reach */
/* A reader that holds a recycled ref may look this far past the last item. */
static const size_t ARENA_SLACK = 1 << 20;
static const size_t ARENA_ALIGN = 2 << 20; /* a huge page */

static size_t reserved_bytes(void)
{
    return ARENA_BYTES + ARENA_SLACK + ARENA_ALIGN;
}

bool segment_log_init(struct segment_log *log, uint32_t segment_bytes)
{
    memset(log, 0, sizeof *log);
    log->segment_bytes = segment_bytes;
    log->shift = (uint32_t)__builtin_ctz(segment_bytes);
    log->segments_max = (uint32_t)(ARENA_BYTES >> log->shift) - 1;
    log->fresh = 1;
    log->reserved = pages_reserve(reserved_bytes());
    log->segments = pages_reserve((log->segments_max + 1) * sizeof *log->segments);
    log->bases = pages_reserve((log->segments_max + 1) * sizeof *log->bases);
    if (log->reserved == NULL || log->segments == NULL || log->bases == NULL) {
        segment_log_destroy(log);
        return false;
    }
    /* Segment 0 is never used, so the first that is begins a huge page. */
    size_t first = ((uintptr_t)log->reserved + segment_bytes + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    log->arena = (uint8_t *)(first - segment_bytes);
    madvise((void *)first, ARENA_BYTES - segment_bytes, MADV_HUGEPAGE);
    madvise(log->arena, ARENA_BYTES + ARENA_SLACK, MADV_DONTDUMP);
    return true;
}

void segment_log_destroy(struct segment_log *log)
{
    pages_release(log->reserved, reserved_bytes());
    pages_release(log->segments, (log->segments_max + 1) * sizeof *log->segments);
    pages_release(log->bases, (log->segments_max + 1) * sizeof *log->bases);
    log->reserved = NULL;
    log->arena = NULL;
    log->segments = NULL;
    log->bases = NULL;
}

/* ---- taking and giving back ---- */

/* A second in the past, so that what has just expired can still be written
 * down; and never going back, so that a relocated expiry always fits. */
static int64_t base_for(const struct segment_log *log, instant now)
{
    int64_t base = now.ms - 1000;

    return base > log->last_base ? base : log->last_base;
}

static void start_afresh(struct segment_log *log, uint32_t number, instant now)
{
    struct segment *g = &log->segments[number];

    g->used = g->live = 0;
    g->generation++;
    g->visit_ms = INT64_MAX;
    g->visit_gap_ms = 0;
    log->last_base = base_for(log, now);
    __atomic_store_n(&log->bases[number], log->last_base, __ATOMIC_RELAXED);
}

static uint32_t take(struct segment_log *log, instant now)
{
    uint32_t number = log->warm;

    if (number != 0) {
        log->warm = log->segments[number].older;
        log->warm_count--;
    } else if (log->cold != 0) {
        number = log->cold;
        log->cold = log->segments[number].older;
    } else if (log->fresh <= log->segments_max) {
        number = log->fresh++;
    } else {
        return 0;
    }
    log->in_use++;
    start_afresh(log, number, now);
    return number;
}

static void unlink_segment(struct segment_log *log, uint32_t number)
{
    struct segment *g = &log->segments[number];
    struct segment_queue *q = &log->queues[g->queue];

    if (q->oldest == number) {
        q->oldest = g->newer;
        q->oldest_at = 0;
    } else {
        log->segments[g->older].newer = g->newer;
    }
    if (q->newest == number)
        q->newest = g->older;
    else
        log->segments[g->newer].older = g->older;
}

void segment_release(struct segment_log *log, uint32_t number)
{
    struct segment *g = &log->segments[number];

    CHECK(g->live == 0 && g->state != SEGMENT_FREE);
    unlink_segment(log, number);
    g->state = SEGMENT_FREE;
    g->generation++;
    g->visit_ms = INT64_MAX;
    g->older = log->warm;
    log->warm = number;
    log->warm_count++;
    log->in_use--;
}

uint32_t segment_trim(struct segment_log *log, uint32_t keep, uint32_t n)
{
    uint32_t done = 0;

    while (done < n && log->warm_count > keep) {
        uint32_t number = log->warm;
        log->warm = log->segments[number].older;
        log->warm_count--;
        madvise(log->arena + ((size_t)number << log->shift), log->segment_bytes, MADV_DONTNEED);
        log->segments[number].older = log->cold;
        log->cold = number;
        done++;
    }
    return done;
}

void segment_clear(struct segment_log *log)
{
    for (unsigned queue = 0; queue < EVICT_QUEUES_MAX; queue++)
        while (log->queues[queue].oldest != 0) {
            uint32_t number = log->queues[queue].oldest;
            log->live -= log->segments[number].live;
            log->segments[number].live = 0;
            segment_release(log, number);
        }
    CHECK(log->live == 0 && log->in_use == 0);
}

void segment_join_queues(struct segment_log *log)
{
    struct segment_queue *a = &log->queues[0], *b = &log->queues[1];

    if (b->oldest == 0)
        return;
    for (uint32_t g = b->oldest; g != 0; g = log->segments[g].newer)
        log->segments[g].queue = 0;
    if (a->newest != 0 && log->segments[a->newest].live == 0)
        segment_release(log, a->newest); /* sealed with nothing live, nobody would ever free it */
    if (a->newest != 0) {
        log->segments[a->newest].state = SEGMENT_SEALED;
        log->segments[a->newest].newer = b->oldest;
        log->segments[b->oldest].older = a->newest;
    } else {
        a->oldest = b->oldest;
        a->oldest_at = b->oldest_at;
    }
    a->newest = b->newest;
    *b = (struct segment_queue){0};
}

/* ---- filling ---- */

static bool open_fits(const struct segment_log *log, unsigned queue, uint32_t size)
{
    uint32_t newest = log->queues[queue].newest;

    return newest != 0 && log->segments[newest].state == SEGMENT_OPEN &&
           log->segments[newest].used + size <= log->segment_bytes;
}

int64_t segment_next_base(const struct segment_log *log, unsigned queue, uint32_t size, instant now)
{
    if (open_fits(log, queue, size))
        return segment_base(log, log->queues[queue].newest);
    return base_for(log, now);
}

void segment_seal(struct segment_log *log, unsigned queue)
{
    uint32_t newest = log->queues[queue].newest;

    if (newest == 0)
        return;
    log->segments[newest].state = SEGMENT_SEALED;
    if (log->segments[newest].live == 0)
        segment_release(log, newest);
}

item_ref segment_append_to(struct segment_log *log, uint32_t number, uint32_t size)
{
    struct segment *g = &log->segments[number];
    uint32_t at = g->used;

    if (at + size > log->segment_bytes)
        return 0;
    g->used += size;
    g->live += size;
    log->live += size;
    return segment_ref(log, number, at);
}

item_ref segment_append(struct segment_log *log, unsigned queue, uint32_t size, instant now, uint32_t spare)
{
    struct segment_queue *q = &log->queues[queue];

    CHECK(size <= log->segment_bytes);
    if (!open_fits(log, queue, size)) {
        if (log->in_use + spare >= log->limit)
            return 0;
        uint32_t number = take(log, now);
        if (number == 0)
            return 0;
        segment_seal(log, queue);
        struct segment *g = &log->segments[number];
        g->queue = (uint8_t)queue;
        g->state = SEGMENT_OPEN;
        g->older = q->newest;
        g->newer = 0;
        if (q->newest != 0)
            log->segments[q->newest].newer = number;
        else
            q->oldest = number, q->oldest_at = 0;
        q->newest = number;
    }
    return segment_append_to(log, q->newest, size);
}

uint32_t segment_insert_before(struct segment_log *log, uint32_t newer, instant now)
{
    struct segment *after_it = &log->segments[newer];
    struct segment_queue *q = &log->queues[after_it->queue];
    uint32_t number = take(log, now);

    if (number == 0)
        return 0;
    struct segment *g = &log->segments[number];
    g->queue = after_it->queue;
    g->state = SEGMENT_SEALED; /* only the one who asked for it appends to it */
    g->older = after_it->older;
    g->newer = newer;
    after_it->older = number;
    if (g->older != 0)
        log->segments[g->older].newer = number;
    else
        q->oldest = number, q->oldest_at = 0;
    return number;
}

void segment_died(struct segment_log *log, item_ref ref, uint32_t size)
{
    uint32_t number = segment_of(log, ref);
    struct segment *g = &log->segments[number];

    CHECK(g->live >= size);
    g->live -= size;
    log->live -= size;
    if (g->live != 0)
        return;
    if (g->state == SEGMENT_SEALED) {
        segment_release(log, number);
    } else {
        g->used = 0;
        g->generation++;
        g->visit_ms = INT64_MAX;
        if (log->queues[g->queue].oldest == number)
            log->queues[g->queue].oldest_at = 0;
    }
}

void segment_expires(struct segment_log *log, uint32_t number, instant when)
{
    if (when.ms < log->segments[number].visit_ms)
        log->segments[number].visit_ms = when.ms;
}

void segment_log_check(const struct segment_log *log)
{
    uint64_t live = 0;
    uint32_t in_use = 0, warm = 0;

    for (unsigned queue = 0; queue < EVICT_QUEUES_MAX; queue++) {
        const struct segment_queue *q = &log->queues[queue];
        uint32_t older = 0;
        for (uint32_t number = q->oldest; number != 0; number = log->segments[number].newer) {
            const struct segment *g = &log->segments[number];
            CHECK(g->queue == queue && g->older == older);
            CHECK(g->state == SEGMENT_SEALED || (g->state == SEGMENT_OPEN && number == q->newest));
            CHECK(g->live <= g->used && g->used <= log->segment_bytes);
            uint32_t counted = 0;
            for (uint32_t at = 0; at < g->used;) {
                struct item_shape s;
                item_read(segment_item(log, segment_ref(log, number, at)), &s);
                CHECK(s.size >= ITEM_HEADER && at + s.size <= g->used);
                counted += word0_flags(s.word0) & ITEM_DEAD ? 0 : s.size;
                at += s.size;
            }
            CHECK(counted == g->live);
            live += g->live;
            in_use++;
            older = number;
        }
        CHECK(q->newest == older);
    }
    for (uint32_t number = log->warm; number != 0; number = log->segments[number].older)
        warm++;
    CHECK(live == log->live && in_use == log->in_use && warm == log->warm_count);
}
