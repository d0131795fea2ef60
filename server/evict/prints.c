/* prints.c - a FIFO of fingerprints without links.
 *
 *   hash: | page ......... | print: 32 |
 *
 *   page -> buckets of one cache line:
 *           | print x 10 (40 bytes) | stamp x 10 (20 bytes) | spare: 4 |
 *
 * Rules: (1) an entry is a print and the stamp of the epoch it came in; an
 * epoch ends when a grain of weight has come in. (2) What each epoch still
 * weighs is kept in a ring; the oldest epochs are dropped, whole, while the
 * sum is over the capacity. Nobody visits their entries: a stamp outside the
 * ring is a free place. (3) A sweep sets such stamps back to the middle of the
 * circle of 16-bit stamps before they come round, so nothing returns to life.
 * (4) A print may be in two buckets of its page, both known from the print
 * alone, so a page can be rebuilt at any size without the hash. (5) Pages grow
 * one by one: no insert ever rebuilds more than a page.
 *
 * Price: an entry takes 6.4 bytes at load 1; pages are grown when a newcomer
 * and those it would displace find no place, which is at a load of about 0.95,
 * to a load of 0.85: 6.7 to 7.6 bytes are measured. The ring adds 16 KiB.
 *
 * Below 2048 entries of weight 1 a grain is one entry and the order is exact. */
#include "server/evict/prints.h"
#include "server/check.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOTS = 10,
    STAMPS = 1 << 16,
    AGE_FREE = STAMPS / 2,
    EPOCHS = 2048,           /* live at most: twice GRAINS, since hits thin epochs out */
    GRAINS = 1024,           /* of the capacity */
    SWEEP = 512,             /* epochs in which every page is swept once: twice in an entry's life */
    PAGE_WEIGHT = 64 * 4096, /* 4096 entries of 64 bytes, 1300 of 200 */
    PAGES_MAX = 1 << 16
};
_Static_assert(AGE_FREE > EPOCHS && AGE_FREE + SWEEP + EPOCHS < STAMPS, "dead stamps stay dead until swept");

struct bucket {
    uint32_t print[SLOTS];
    uint16_t stamp[SLOTS];
    uint32_t spare;
};
_Static_assert(sizeof(struct bucket) == 64, "one cache line");

struct page {
    struct bucket *buckets;
    uint32_t count;
};

struct prints {
    uint64_t capacity;
    uint64_t weight;         /* of all epochs in the ring */
    uint64_t grain;          /* what an epoch weighs */
    uint64_t oldest, newest; /* epochs since the start; newest - oldest < EPOCHS */
    uint64_t sweep_credit;
    uint64_t epoch_weight[EPOCHS];
    size_t bytes;
    uint32_t sweep_next;
    uint32_t pages; /* a power of two, fixed by the first capacity */
    struct page page[];
};

/* The stamp given `age` epochs ago. */
static uint16_t stamp_aged(const struct prints *p, uint64_t age)
{
    return (uint16_t)(p->newest - age);
}

static uint16_t stamp_age(const struct prints *p, uint16_t stamp)
{
    return (uint16_t)(p->newest - stamp);
}

/* Bit i: slot i remembers something. */
static unsigned live_slots(const struct prints *p, const struct bucket *b)
{
    uint16_t newest = (uint16_t)p->newest, span = (uint16_t)(p->newest - p->oldest);
    unsigned live = 0;

    for (unsigned i = 0; i < SLOTS; i++)
        live |= (unsigned)((uint16_t)(newest - b->stamp[i]) <= span) << i;
    return live;
}

static struct page *page_of(struct prints *p, uint64_t hash)
{
    return &p->page[(hash >> 32) & (p->pages - 1)];
}

static uint32_t scale(uint32_t x, uint32_t range)
{
    return (uint32_t)(((uint64_t)x * range) >> 32);
}

static struct bucket *first_bucket(const struct page *page, uint32_t print)
{
    return &page->buckets[scale(print, page->count)];
}

static struct bucket *second_bucket(const struct page *page, uint32_t print)
{
    uint32_t x = (print ^ (print >> 15)) * UINT32_C(0x9E3779B1);

    return &page->buckets[scale(x ^ (x >> 13), page->count)];
}

static unsigned free_slots(const struct prints *p, const struct bucket *b)
{
    return ~live_slots(p, b) & ((1u << SLOTS) - 1);
}

static void fill(struct bucket *b, unsigned slot, uint32_t print, uint16_t stamp)
{
    b->print[slot] = print;
    b->stamp[slot] = stamp;
}

/* Moves one entry of a full bucket to its other bucket, and returns the slot
 * it left as a bit; 0 when none can go. */
static unsigned displace(const struct prints *p, const struct page *page, struct bucket *b)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct bucket *other = first_bucket(page, b->print[i]);
        unsigned room;

        if (other == b)
            other = second_bucket(page, b->print[i]);
        if ((room = free_slots(p, other)) == 0)
            continue;
        fill(other, (unsigned)__builtin_ctz(room), b->print[i], b->stamp[i]);
        return 1u << i;
    }
    return 0;
}

static bool place(const struct prints *p, const struct page *page, uint32_t print, uint16_t stamp)
{
    struct bucket *a = first_bucket(page, print), *b = second_bucket(page, print);
    unsigned a_room = free_slots(p, a), b_room = free_slots(p, b);

    if ((a_room | b_room) == 0 && (a_room = displace(p, page, a)) == 0 &&
        (b_room = displace(p, page, b)) == 0)
        return false;
    if (__builtin_popcount(a_room) >= __builtin_popcount(b_room))
        fill(a, (unsigned)__builtin_ctz(a_room), print, stamp);
    else
        fill(b, (unsigned)__builtin_ctz(b_room), print, stamp);
    return true;
}

/* The last resort: the oldest entry of the first bucket makes room. Its
 * weight stays on its epoch's account until that is dropped. */
static void place_over_oldest(const struct prints *p, const struct page *page, uint32_t print, uint16_t stamp)
{
    struct bucket *b = first_bucket(page, print);
    unsigned oldest = 0;

    for (unsigned i = 1; i < SLOTS; i++)
        if (stamp_age(p, b->stamp[i]) > stamp_age(p, b->stamp[oldest]))
            oldest = i;
    fill(b, oldest, print, stamp);
}

static uint32_t page_live(const struct prints *p, const struct page *page)
{
    uint32_t live = 0;

    for (uint32_t i = 0; i < page->count; i++)
        live += (uint32_t)__builtin_popcount(live_slots(p, &page->buckets[i]));
    return live;
}

/* Room for `live` entries at a load of 0.85. */
static uint32_t buckets_for(uint32_t live)
{
    return (uint32_t)((uint64_t)live * 100 / (85 * SLOTS)) + 1;
}

static void clear_dead(const struct prints *p, struct bucket *b)
{
    for (unsigned room = free_slots(p, b); room != 0; room &= room - 1)
        b->stamp[__builtin_ctz(room)] = stamp_aged(p, AGE_FREE);
}

/* false when memory is short: the page stays as it is. */
static bool page_rebuild(struct prints *p, struct page *page, uint32_t count)
{
    struct page next = {.buckets = aligned_alloc(sizeof(struct bucket), count * sizeof(struct bucket)),
                        .count = count};

    if (next.buckets == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        for (unsigned slot = 0; slot < SLOTS; slot++)
            fill(&next.buckets[i], slot, 0, stamp_aged(p, AGE_FREE));
    for (uint32_t i = 0; i < page->count; i++) {
        const struct bucket *b = &page->buckets[i];

        for (unsigned live = live_slots(p, b); live != 0; live &= live - 1) {
            unsigned slot = (unsigned)__builtin_ctz(live);

            if (!place(p, &next, b->print[slot], b->stamp[slot]))
                place_over_oldest(p, &next, b->print[slot], b->stamp[slot]);
        }
    }
    p->bytes += count * sizeof(struct bucket);
    p->bytes -= page->count * sizeof(struct bucket);
    free(page->buckets);
    *page = next;
    return true;
}

static void page_add(struct prints *p, struct page *page, uint32_t print, uint16_t stamp)
{
    uint32_t want;

    if (page->count > 0 && place(p, page, print, stamp))
        return;
    want = buckets_for(page_live(p, page) + 1);
    /* A page that is full in one corner and empty elsewhere has met a bad
     * hash; more memory would not help it. */
    if (want > page->count && page_rebuild(p, page, want) && place(p, page, print, stamp))
        return;
    if (page->count > 0)
        place_over_oldest(p, page, print, stamp);
}

/* Clears dead stamps, and shrinks a page that has become too large: entries
 * were small and few large ones take their weight. */
static void page_sweep(struct prints *p, struct page *page)
{
    uint32_t live = page_live(p, page);

    for (uint32_t i = 0; i < page->count; i++)
        clear_dead(p, &page->buckets[i]);
    if (live == 0) {
        p->bytes -= page->count * sizeof(struct bucket);
        free(page->buckets);
        *page = (struct page){0};
    } else if (page->count > 2 && live < page->count * SLOTS / 10 * 6) {
        page_rebuild(p, page, buckets_for(live)); /* else it stays large */
    }
}

static void drop_oldest_epoch(struct prints *p)
{
    uint64_t *weight = &p->epoch_weight[p->oldest % EPOCHS];

    p->weight -= *weight;
    *weight = 0;
    if (p->oldest == p->newest)
        p->newest++;
    p->oldest++;
}

static void next_epoch(struct prints *p)
{
    if (p->newest - p->oldest == EPOCHS - 1)
        drop_oldest_epoch(p);
    p->newest++;
    for (p->sweep_credit += p->pages; p->sweep_credit >= SWEEP; p->sweep_credit -= SWEEP) {
        page_sweep(p, &p->page[p->sweep_next]);
        p->sweep_next = (p->sweep_next + 1) % p->pages;
    }
}

static void fit(struct prints *p, uint64_t weight)
{
    while (p->weight > 0 && p->weight + weight > p->capacity)
        drop_oldest_epoch(p);
}

static uint64_t grain_of(uint64_t capacity)
{
    return capacity > 2 * GRAINS ? capacity / GRAINS : 1;
}

struct prints *prints_new(uint64_t capacity)
{
    struct prints *p;
    uint32_t pages = 1;

    while (pages < PAGES_MAX && capacity / pages > PAGE_WEIGHT)
        pages *= 2;
    if ((p = calloc(1, sizeof(*p) + pages * sizeof(struct page))) == NULL)
        return NULL;
    p->pages = pages;
    p->bytes = sizeof(*p) + pages * sizeof(struct page);
    p->capacity = capacity;
    p->grain = grain_of(capacity);
    return p;
}

void prints_free(struct prints **pp)
{
    struct prints *p = *pp;

    if (p == NULL)
        return;
    for (uint32_t i = 0; i < p->pages; i++)
        free(p->page[i].buckets);
    free(p);
    *pp = NULL;
}

void prints_add(struct prints *p, uint64_t hash, uint32_t weight)
{
    if (weight > p->capacity)
        return;
    fit(p, weight);
    page_add(p, page_of(p, hash), (uint32_t)hash, stamp_aged(p, 0));
    p->epoch_weight[p->newest % EPOCHS] += weight;
    p->weight += weight;
    if (p->epoch_weight[p->newest % EPOCHS] >= p->grain)
        next_epoch(p);
}

/* The slot of the print as a bit; 0 if it is not there. */
static unsigned find(const struct prints *p, const struct bucket *b, uint32_t print)
{
    unsigned found = 0;

    for (unsigned i = 0; i < SLOTS; i++)
        found |= (unsigned)(b->print[i] == print) << i;
    return found != 0 ? found & live_slots(p, b) : 0;
}

bool prints_take(struct prints *p, uint64_t hash, uint32_t weight)
{
    struct page *page = page_of(p, hash);
    uint32_t print = (uint32_t)hash;
    struct bucket *b;
    uint64_t *epoch;
    uint16_t *stamp;
    unsigned found;

    if (page->count == 0)
        return false;
    b = first_bucket(page, print);
    if ((found = find(p, b, print)) == 0) {
        b = second_bucket(page, print);
        if ((found = find(p, b, print)) == 0)
            return false;
    }
    stamp = &b->stamp[__builtin_ctz(found)];
    epoch = &p->epoch_weight[(p->newest - stamp_age(p, *stamp)) % EPOCHS];
    *stamp = stamp_aged(p, AGE_FREE);
    if (weight > *epoch)
        weight = (uint32_t)*epoch; /* it has grown since it was evicted */
    *epoch -= weight;
    p->weight -= weight;
    return true;
}

void prints_set_capacity(struct prints *p, uint64_t capacity)
{
    bool shrinks = capacity < p->capacity;

    p->capacity = capacity;
    p->grain = grain_of(capacity);
    fit(p, 0);
    for (uint32_t i = 0; shrinks && i < p->pages; i++)
        page_sweep(p, &p->page[i]);
}

uint64_t prints_weight(const struct prints *p)
{
    return p->weight;
}

uint64_t prints_count(const struct prints *p)
{
    uint64_t live = 0;

    for (uint32_t i = 0; i < p->pages; i++)
        live += page_live(p, &p->page[i]);
    return live;
}

size_t prints_bytes(const struct prints *p)
{
    return p->bytes;
}

void prints_check(const struct prints *p)
{
    uint64_t weight = 0;
    size_t bytes = sizeof(*p) + p->pages * sizeof(struct page);

    CHECK(p->oldest <= p->newest && p->newest - p->oldest < EPOCHS);
    CHECK(p->weight <= p->capacity);
    for (uint64_t e = p->oldest; e <= p->newest; e++)
        weight += p->epoch_weight[e % EPOCHS];
    CHECK(weight == p->weight);
    for (uint64_t e = p->newest + 1; e < p->oldest + EPOCHS; e++)
        CHECK(p->epoch_weight[e % EPOCHS] == 0);
    for (uint32_t i = 0; i < p->pages; i++) {
        CHECK((p->page[i].buckets == NULL) == (p->page[i].count == 0));
        bytes += p->page[i].count * sizeof(struct bucket);
    }
    CHECK(bytes == p->bytes);
}
