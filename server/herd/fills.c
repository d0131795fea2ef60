#include "server/herd/fills.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "server/herd/bins.h"

enum {
    WAYS = 4, /* places for a prefix; the one noted longest ago gives way */
    SETS = 256,
    STRIPES = 16,
    FEW = 5,           /* observations: too few to speak of a percentile */
    FULL = 256,        /* then all are halved; more than 1 % of it is more than two */
    MARGIN_MS = 10,    /* of the network and of both sides' schedulers */
    DOUBLINGS_MAX = 8, /* before the upper bound certainly is reached */
    SURE = 1 << 12,
    UNKNOWN = SURE / 8 * 3, /* of a prefix that is new */
    UNLIKELY = SURE / 4,
    LIKELY_AGAIN = SURE / 2,
    SHARE_SHIFT = 4, /* each fill or failure moves the share by a sixteenth of the way */
};

struct row {
    _Atomic uint32_t tag;       /* of the prefix's hash; 0: free */
    _Atomic uint32_t p99_ms;    /* readers want no more than these three */
    _Atomic uint32_t seen;      /* as many as the bins hold */
    _Atomic uint32_t doublings; /* leases that ran out since the last fill */
    _Atomic bool unlikely;      /* misses are rarely followed by fills */
    uint16_t share;             /* of fills, out of SURE */
    instant vain;               /* when a wait in vain was last counted */
    uint64_t noted;             /* the rest is under the stripe's lock: when, in notes of the stripe */
    uint16_t bins[BINS];
};

struct stripe {
    pthread_mutex_t lock;
    uint64_t notes;
};

struct fills {
    uint64_t seed;
    struct stripe stripes[STRIPES];
    struct row rows[SETS][WAYS];
};

struct fills *fills_new(uint64_t seed)
{
    struct fills *f = calloc(1, sizeof *f);

    if (f == NULL)
        return NULL;
    f->seed = seed;
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&f->stripes[i].lock, NULL);
    return f;
}

void fills_free(struct fills **fills)
{
    if (*fills == NULL)
        return;
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&(*fills)->stripes[i].lock);
    free(*fills);
    *fills = NULL;
}

struct slice fills_prefix(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];

        if (c == ':' || c == '/' || c == '.' || c == '|')
            return (struct slice){name.data, i + 1};
    }
    return (struct slice){name.data, 0};
}

/* Where a prefix is, or would be. */
struct place {
    unsigned set;
    uint32_t tag;
};

static struct place place_of(const struct fills *f, struct slice name)
{
    struct slice prefix = fills_prefix(name);
    uint64_t hash = XXH3_64bits_withSeed(prefix.data, prefix.len, f->seed);
    uint32_t tag = (uint32_t)(hash >> 32);

    return (struct place){(unsigned)(hash % SETS), tag != 0 ? tag : 1};
}

static int way_of(const struct fills *f, struct place p)
{
    for (int way = 0; way < WAYS; way++) {
        if (atomic_load_explicit(&f->rows[p.set][way].tag, memory_order_relaxed) == p.tag)
            return way;
    }
    return -1;
}

/* ---- reading ---- */

static uint32_t within(uint64_t ms, const struct fills_bounds *b)
{
    if (ms < b->min_ms)
        ms = b->min_ms;
    return ms > b->max_ms ? b->max_ms : (uint32_t)ms;
}

/* A row may be taken over by another prefix meanwhile: then this is one lease's wrong guess. */
uint32_t fills_lease_ms(const struct fills *f, struct slice name, const struct fills_bounds *b)
{
    struct place p = place_of(f, name);
    int way = way_of(f, p);
    const struct row *r;
    uint64_t ms = 0;
    uint32_t seen, p99;

    if (way < 0)
        return within(b->default_ms, b);
    r = &f->rows[p.set][way];
    seen = atomic_load_explicit(&r->seen, memory_order_relaxed);
    p99 = atomic_load_explicit(&r->p99_ms, memory_order_relaxed);
    if (seen > 0)
        ms = (uint64_t)p99 + p99 / 2 + MARGIN_MS;
    if (seen < FEW && ms < b->default_ms)
        ms = b->default_ms;
    return within(ms << atomic_load_explicit(&r->doublings, memory_order_relaxed), b);
}

bool fills_are_likely(const struct fills *f, struct slice name)
{
    struct place p = place_of(f, name);
    int way = way_of(f, p);

    return way < 0 || !atomic_load_explicit(&f->rows[p.set][way].unlikely, memory_order_relaxed);
}

unsigned fills_unlikely(const struct fills *f)
{
    unsigned n = 0;

    for (unsigned set = 0; set < SETS; set++) {
        for (unsigned way = 0; way < WAYS; way++)
            n += atomic_load_explicit(&f->rows[set][way].unlikely, memory_order_relaxed);
    }
    return n;
}

/* ---- noting ---- */

static void forget(struct row *r)
{
    atomic_store_explicit(&r->seen, 0, memory_order_relaxed);
    atomic_store_explicit(&r->p99_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&r->doublings, 0, memory_order_relaxed);
    atomic_store_explicit(&r->unlikely, false, memory_order_relaxed);
    r->share = UNKNOWN;
    r->vain = (instant){0};
    for (unsigned i = 0; i < BINS; i++)
        r->bins[i] = 0;
}

static struct stripe *lock(struct fills *f, struct place p)
{
    struct stripe *s = &f->stripes[p.set % STRIPES];

    pthread_mutex_lock(&s->lock);
    s->notes++;
    return s;
}

/* The prefix's row, which may be another's until now. Under the lock. */
static struct row *claim(struct fills *f, struct place p, struct stripe *s)
{
    int way = way_of(f, p);
    struct row *r;

    if (way < 0) {
        way = 0;
        for (int i = 1; i < WAYS; i++) {
            if (f->rows[p.set][i].noted < f->rows[p.set][way].noted)
                way = i;
        }
        forget(&f->rows[p.set][way]);
    }
    r = &f->rows[p.set][way];
    atomic_store_explicit(&r->tag, p.tag, memory_order_relaxed);
    r->noted = s->notes;
    return r;
}

static uint32_t halve(struct row *r)
{
    uint32_t left = 0;

    for (unsigned i = 0; i < BINS; i++) {
        r->bins[i] /= 2;
        left += r->bins[i];
    }
    return left;
}

static uint32_t p99_of(const struct row *r, uint32_t seen)
{
    uint32_t above = seen / 100, passed = 0;

    for (unsigned i = BINS; i-- > 0;) {
        passed += r->bins[i];
        if (passed > above)
            return bin_top(i);
    }
    return 0;
}

/* True: fills have become unlikely by this. */
static bool count_outcome(struct row *r, bool filled)
{
    bool was = atomic_load_explicit(&r->unlikely, memory_order_relaxed), is = was;

    r->share = (uint16_t)(r->share - (r->share >> SHARE_SHIFT) + (filled ? SURE >> SHARE_SHIFT : 0));
    if (r->share < UNLIKELY)
        is = true;
    else if (r->share > LIKELY_AGAIN)
        is = false;
    atomic_store_explicit(&r->unlikely, is, memory_order_relaxed);
    return is && !was;
}

void fills_note(struct fills *f, struct slice name, uint32_t took_ms)
{
    struct place p = place_of(f, name);
    struct stripe *s = lock(f, p);
    struct row *r = claim(f, p, s);
    uint32_t seen = atomic_load_explicit(&r->seen, memory_order_relaxed);

    if (seen >= FULL)
        seen = halve(r);
    r->bins[bin_of(took_ms)]++;
    seen++;
    atomic_store_explicit(&r->seen, seen, memory_order_relaxed);
    atomic_store_explicit(&r->p99_ms, p99_of(r, seen), memory_order_relaxed);
    atomic_store_explicit(&r->doublings, 0, memory_order_relaxed);
    count_outcome(r, true);
    pthread_mutex_unlock(&s->lock);
}

bool fills_note_expired(struct fills *f, struct slice name)
{
    struct place p = place_of(f, name);
    struct stripe *s = lock(f, p);
    struct row *r = claim(f, p, s);
    uint32_t doublings = atomic_load_explicit(&r->doublings, memory_order_relaxed);
    bool ended;

    if (doublings < DOUBLINGS_MAX)
        atomic_store_explicit(&r->doublings, doublings + 1, memory_order_relaxed);
    ended = count_outcome(r, false);
    pthread_mutex_unlock(&s->lock);
    return ended;
}

bool fills_note_vain(struct fills *f, struct slice name, instant now, span waited)
{
    struct place p = place_of(f, name);
    struct stripe *s = lock(f, p);
    struct row *r = claim(f, p, s);
    bool ended = false;

    if (now.ms < r->vain.ms || since(now, r->vain).ms >= waited.ms) {
        r->vain = now;
        ended = count_outcome(r, false);
    }
    pthread_mutex_unlock(&s->lock);
    return ended;
}
