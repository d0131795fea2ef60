/* index.c - inserting, splitting and removing; see index.h for the layout. */
#include "server/store/index.h"

#include "server/check.h"
#include "server/store/pages.h"

enum {
    BUCKETS_AT_START = 64,
    /* Items per bucket at which the table grows. Higher saves index bytes and
     * costs second cache lines: 10.5 keeps the average look-up under 1.2 lines
     * and the index under 9 bytes per item (see docs/ARCHITECTURE.md). */
    FILL_TENTHS = 105,
    /* It shrinks below this. Both ways go one bucket at a time, so the gap need not be wide. */
    EMPTY_TENTHS = FILL_TENTHS * 8 / 10,
};

static const size_t REGION = (size_t)INDEX_BUCKETS_MAX * sizeof(struct bucket);

bool index_init(struct index *ix, slot_moved *moved, hash_of_ref *hash_of, prefetch_ref *prefetch, void *arg)
{
    memset(ix, 0, sizeof *ix);
    ix->buckets = pages_reserve(REGION);
    ix->overflow = pages_reserve(REGION);
    if (ix->buckets == NULL || ix->overflow == NULL) {
        index_destroy(ix);
        return false;
    }
    ix->overflow_used = ix->overflow_backed = 1;
    ix->backed = BUCKETS_AT_START;
    ix->moved = moved;
    ix->hash_of = hash_of;
    ix->prefetch = prefetch;
    ix->arg = arg;
    atomic_init(&ix->shape, BUCKETS_AT_START);
    return true;
}

void index_destroy(struct index *ix)
{
    pages_release(ix->buckets, REGION);
    pages_release(ix->overflow, REGION);
    ix->buckets = ix->overflow = NULL;
}

static uint32_t buckets_now(const struct index *ix)
{
    return shape_buckets(atomic_load_explicit(&ix->shape, memory_order_relaxed));
}

uint64_t index_bytes(const struct index *ix)
{
    return ((uint64_t)ix->backed + ix->overflow_backed) * sizeof(struct bucket);
}

/* The next generation begins: a version that starts over at 0 in memory given
 * back is not to be mistaken for the same version before. */
static void new_generation(struct index *ix, uint32_t buckets)
{
    uint64_t shape = atomic_load_explicit(&ix->shape, memory_order_relaxed);

    atomic_store_explicit(&ix->shape, (((shape >> 32) + 1) << 32) | buckets, memory_order_seq_cst);
    racy_fence_release();
}

uint32_t index_trim(struct index *ix, uint32_t *first)
{
    enum { GRAIN = 4096 / sizeof(struct bucket), AT_ONCE = 64 * GRAIN };
    uint32_t n = (buckets_now(ix) + GRAIN - 1) / GRAIN * GRAIN;

    if (ix->backed < n + GRAIN)
        return 0;
    *first = ix->backed - n > AT_ONCE ? (ix->backed - AT_ONCE) / GRAIN * GRAIN : n;
    uint32_t count = ix->backed - *first;
    new_generation(ix, buckets_now(ix));
    madvise(ix->buckets + *first, (size_t)count * sizeof(struct bucket), MADV_DONTNEED);
    ix->backed = *first;
    return count;
}

void index_clear(struct index *ix)
{
    new_generation(ix, BUCKETS_AT_START);
    madvise(ix->buckets, (size_t)ix->backed * sizeof(struct bucket), MADV_DONTNEED);
    ix->backed = BUCKETS_AT_START;
    madvise(ix->overflow, (size_t)ix->overflow_backed * sizeof(struct bucket), MADV_DONTNEED);
    ix->overflow_used = ix->overflow_backed = 1;
    ix->overflow_free = 0;
    ix->overflow_live = 0;
    ix->items = 0;
}

/* ---- slots ---- */

static uint32_t number_of(const struct index *ix, const struct bucket *b)
{
    if (b >= ix->overflow && b < ix->overflow + INDEX_BUCKETS_MAX)
        return (uint32_t)(b - ix->overflow) + INDEX_BUCKETS_MAX;
    return (uint32_t)(b - ix->buckets);
}

static slot_id id_of(const struct index *ix, const struct bucket *b, unsigned slot)
{
    return number_of(ix, b) * BUCKET_SLOTS + slot + 1;
}

struct bucket *index_bucket(const struct index *ix, slot_id id)
{
    uint32_t number = (id - 1) / BUCKET_SLOTS;
    return number < INDEX_BUCKETS_MAX ? &ix->buckets[number] : &ix->overflow[number - INDEX_BUCKETS_MAX];
}

static struct bucket *home_of(const struct index *ix, uint64_t hash)
{
    return &ix->buckets[index_home(atomic_load_explicit(&ix->shape, memory_order_relaxed), hash)];
}

struct index_place index_find_ref(const struct index *ix, uint64_t hash, item_ref ref)
{
    struct index_place place = {home_of(ix, hash), 0};

    for (struct bucket *b = place.home; b != NULL; b = bucket_next(ix, b)) {
        uint32_t match = bucket_match(b, index_tag(hash)) & bucket_items_mask(b);
        for (; match != 0; match &= match - 1) {
            unsigned slot = (unsigned)__builtin_ctz(match);
            if (b->refs[slot] == ref) {
                place.id = id_of(ix, b, slot);
                return place;
            }
        }
    }
    return place;
}

struct index_place index_find_key(const struct index *ix, const struct key *key, const uint8_t *arena)
{
    struct index_place place = {home_of(ix, key->hash), 0};

    for (struct bucket *b = place.home; b != NULL; b = bucket_next(ix, b)) {
        uint32_t match = bucket_match(b, index_tag(key->hash)) & bucket_items_mask(b);
        for (; match != 0; match &= match - 1) {
            unsigned slot = (unsigned)__builtin_ctz(match);
            const uint8_t *item = arena + (size_t)b->refs[slot] * ITEM_GRANULE;
            struct item_shape s;

            item_read(item, &s);
            if (s.key_len == key->len && item_db(&s) == key->db &&
                memcmp(item + s.key_at, key->data, key->len) == 0) {
                place.id = id_of(ix, b, slot);
                return place;
            }
        }
    }
    return place;
}

/* What a slot carries, for moving it elsewhere. */
struct slot_content {
    item_ref ref;
    uint8_t tag;
    uint8_t hits;
    bool fetched;
};

static struct slot_content slot_get(const struct bucket *b, unsigned slot)
{
    return (struct slot_content){b->refs[slot], b->tags[slot], (uint8_t)bucket_hits(b, slot),
                                 bucket_fetched(b, slot)};
}

static void slot_put(struct bucket *b, unsigned slot, struct slot_content c)
{
    uint32_t bits = racy_load32(&b->bits) & ~(3u << (2 * slot));

    bits |= (uint32_t)c.hits << (2 * slot);
    if (slot < BUCKET_LINK_SLOT)
        bits = (bits & ~(1u << (22 + slot))) | (uint32_t)c.fetched << (22 + slot);
    else
        racy_store8(&b->chain,
                    (uint8_t)((b->chain & ~BUCKET_FETCHED_10) | (c.fetched ? BUCKET_FETCHED_10 : 0)));
    racy_store32(&b->bits, bits);
    racy_store32(&b->refs[slot], c.ref);
    racy_store8(&b->tags[slot], c.tag);
}

static void slot_clear(struct bucket *b, unsigned slot)
{
    slot_put(b, slot, (struct slot_content){0, 0, 0, false});
}

/* ---- overflow buckets ---- */

static void free_list_add(struct index *ix, uint32_t number)
{
    struct bucket *b = &ix->overflow[number];

    racy_store32(&b->refs[0], ix->overflow_free);
    racy_store32(&b->refs[1], 0);
    if (ix->overflow_free != 0)
        racy_store32(&ix->overflow[ix->overflow_free].refs[1], number);
    ix->overflow_free = number;
}

static void free_list_take(struct index *ix, uint32_t number)
{
    uint32_t next = ix->overflow[number].refs[0], previous = ix->overflow[number].refs[1];

    if (previous != 0)
        racy_store32(&ix->overflow[previous].refs[0], next);
    else
        ix->overflow_free = next;
    if (next != 0)
        racy_store32(&ix->overflow[next].refs[1], previous);
}

static struct bucket *overflow_new(struct index *ix)
{
    uint32_t number = ix->overflow_free;

    if (number != 0)
        free_list_take(ix, number);
    else if (ix->overflow_used < INDEX_BUCKETS_MAX)
        number = ix->overflow_used++;
    else
        return NULL;
    if (ix->overflow_used > ix->overflow_backed)
        ix->overflow_backed = ix->overflow_used;
    struct bucket *b = &ix->overflow[number];
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        slot_clear(b, i);
    racy_store8(&b->chain, 0);
    ix->overflow_live++;
    return b;
}

static void overflow_drop(struct index *ix, struct bucket *b)
{
    racy_store8(&b->chain, 0);
    free_list_add(ix, (uint32_t)(b - ix->overflow));
    ix->overflow_live--;
}

/* Moves the overflow bucket with the highest number, which is in use, to a free lower one. */
static void overflow_lower(struct index *ix, struct bucket *top)
{
    unsigned any_item = (unsigned)__builtin_ctz(~bucket_match(top, 0) & bucket_items_mask(top));
    struct bucket *home = home_of(ix, ix->hash_of(ix->arg, top->refs[any_item]));
    struct bucket *before = home, *to;

    while (bucket_next(ix, before) != top) {
        before = bucket_next(ix, before);
        CHECK(before != NULL);
    }
    bucket_write_begin(home);
    to = overflow_new(ix);
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        bool item = (bucket_items_mask(top) >> i & 1) && top->tags[i] != 0;
        slot_put(to, i, slot_get(top, i));
        if (item)
            ix->moved(ix->arg, id_of(ix, top, i), id_of(ix, to, i));
    }
    racy_store8(&to->chain, top->chain);
    racy_store32(&before->refs[BUCKET_LINK_SLOT], (uint32_t)(to - ix->overflow));
    bucket_write_end(home);
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        slot_clear(top, i);
    overflow_drop(ix, top);
}

bool index_trim_overflow(struct index *ix)
{
    enum { AT_ONCE = 32, GRAIN = 4096 / sizeof(struct bucket) };
    uint32_t wanted = 2 * ix->overflow_live + GRAIN; /* what is shrinking fast may soon need no moving */

    for (unsigned i = 0; i < AT_ONCE && ix->overflow_used > wanted; i++) {
        uint32_t number = ix->overflow_used - 1;
        struct bucket *top = &ix->overflow[number];
        if ((~bucket_match(top, 0) & bucket_items_mask(top)) != 0)
            overflow_lower(ix, top);
        free_list_take(ix, number);
        ix->overflow_used--;
    }
    uint32_t keep = (ix->overflow_used + GRAIN - 1) / GRAIN * GRAIN;
    if (keep + GRAIN <= ix->overflow_backed) {
        new_generation(ix, buckets_now(ix));
        madvise(ix->overflow + keep, (size_t)(ix->overflow_backed - keep) * sizeof(struct bucket),
                MADV_DONTNEED);
        ix->overflow_backed = keep;
    }
    return ix->overflow_used > wanted;
}

/* Puts content into the chain of `home`, whose version is odd. Where it went, or 0. */
static slot_id chain_add(struct index *ix, struct bucket *home, struct slot_content c)
{
    struct bucket *b = home;

    for (;; b = bucket_next(ix, b)) {
        uint32_t empty = bucket_match(b, 0) & bucket_items_mask(b);
        if (empty != 0) {
            unsigned slot = (unsigned)__builtin_ctz(empty);
            slot_put(b, slot, c);
            return id_of(ix, b, slot);
        }
        if (!(b->chain & BUCKET_CHAINED))
            break;
    }
    struct bucket *more = overflow_new(ix);
    if (more == NULL)
        return 0;
    slot_put(more, 0, slot_get(b, BUCKET_LINK_SLOT));
    slot_clear(b, BUCKET_LINK_SLOT);
    racy_store32(&b->refs[BUCKET_LINK_SLOT], (uint32_t)(more - ix->overflow));
    racy_store8(&b->chain, BUCKET_CHAINED);
    ix->moved(ix->arg, id_of(ix, b, BUCKET_LINK_SLOT), id_of(ix, more, 0));
    slot_put(more, 1, c);
    return id_of(ix, more, 1);
}

/* Empties a slot of the chain of `home`, whose version is odd, and closes the
 * hole with the chain's last item so that chains stay as short as they can. */
static void chain_take(struct index *ix, struct bucket *home, struct bucket *b, unsigned slot)
{
    struct bucket *last = home, *before = NULL;

    slot_clear(b, slot);
    while (last->chain & BUCKET_CHAINED) {
        before = last;
        last = bucket_next(ix, last);
    }
    if (before == NULL)
        return;
    uint32_t used = ~bucket_match(last, 0) & ((1u << BUCKET_SLOTS) - 1);
    if (last != b && used != 0) {
        unsigned from = 31u - (unsigned)__builtin_clz(used);
        slot_put(b, slot, slot_get(last, from));
        slot_clear(last, from);
        ix->moved(ix->arg, id_of(ix, last, from), id_of(ix, b, slot));
        used &= ~(1u << from);
    }
    if (used == 0) {
        racy_store8(&before->chain, 0);
        slot_clear(before, BUCKET_LINK_SLOT);
        overflow_drop(ix, last);
    }
}

/* ---- growing ---- */

/* Splits the next bucket in turn: its items whose hash says so go to the new one. */
static void split(struct index *ix)
{
    uint64_t shape = atomic_load_explicit(&ix->shape, memory_order_relaxed);
    uint32_t n = shape_buckets(shape);
    uint32_t level = 1u << (31 - __builtin_clz(n));
    struct bucket *from = &ix->buckets[n - level], *to = &ix->buckets[n];

    if (n >= INDEX_BUCKETS_MAX)
        return;
    for (struct bucket *b = from; b != NULL; b = bucket_next(ix, b))
        for (unsigned i = 0; i < BUCKET_SLOTS; i++)
            if (b->tags[i] != 0)
                ix->prefetch(ix->arg, b->refs[i]);
    bucket_write_begin(from);
    bucket_write_begin(to);
    struct bucket *b = from;
    unsigned slot = 0;
    while (b != NULL) {
        if (slot == BUCKET_SLOTS || (slot == BUCKET_LINK_SLOT && (b->chain & BUCKET_CHAINED))) {
            b = bucket_next(ix, b);
            slot = 0;
            continue;
        }
        if (b->tags[slot] == 0 || !(ix->hash_of(ix->arg, b->refs[slot]) & level)) {
            slot++;
            continue;
        }
        slot_id into = chain_add(ix, to, slot_get(b, slot));
        if (into == 0)
            break; /* no overflow buckets left: index_insert() saw to it that this cannot be */
        ix->moved(ix->arg, id_of(ix, b, slot), into);
        /* chain_take() may bring another item into this slot, or drop this whole
         * bucket; either way what it holds now has not been looked at. */
        bool lone = b != from &&
                    (uint32_t)__builtin_popcount(~bucket_match(b, 0) & bucket_items_mask(b)) == 1 &&
                    !(b->chain & BUCKET_CHAINED);
        chain_take(ix, from, b, slot);
        if (lone)
            break;
    }
    atomic_store_explicit(&ix->shape, shape + 1, memory_order_release);
    bucket_write_end(to);
    bucket_write_end(from);
    if (n + 1 > ix->backed) {
        ix->backed = n + 1;
        pages_grown(ix->buckets, n * sizeof(struct bucket), (n + 1) * sizeof(struct bucket));
    }
}

/* The reverse of a split: the last bucket's items go back to where it was split
 * from. Tags stay right, so no item is looked at. */
static void merge(struct index *ix)
{
    uint64_t shape = atomic_load_explicit(&ix->shape, memory_order_relaxed);
    uint32_t last = shape_buckets(shape) - 1;
    uint32_t level = 1u << (31 - __builtin_clz(last));
    struct bucket *from = &ix->buckets[last], *to = &ix->buckets[last - level];

    bucket_write_begin(to);
    bucket_write_begin(from);
    for (struct bucket *b = from, *next; b != NULL; b = next) {
        next = bucket_next(ix, b);
        uint32_t used = ~bucket_match(b, 0) & bucket_items_mask(b);
        for (; used != 0; used &= used - 1) {
            unsigned slot = (unsigned)__builtin_ctz(used);
            slot_id into = chain_add(ix, to, slot_get(b, slot));
            CHECK(into != 0); /* it has at most as many overflow buckets to ask for as it gives back */
            ix->moved(ix->arg, id_of(ix, b, slot), into);
            slot_clear(b, slot);
        }
        if (b != from)
            overflow_drop(ix, b);
    }
    slot_clear(from, BUCKET_LINK_SLOT);
    racy_store8(&from->chain, 0);
    atomic_store_explicit(&ix->shape, shape - 1, memory_order_release);
    bucket_write_end(from);
    bucket_write_end(to);
}

slot_id index_insert(struct index *ix, uint64_t hash, item_ref ref)
{
    if (ix->overflow_used + 2 >= INDEX_BUCKETS_MAX && ix->overflow_free == 0)
        return 0;
    if ((ix->items + 1) * 10 > (uint64_t)buckets_now(ix) * FILL_TENTHS)
        split(ix);
    struct bucket *home = home_of(ix, hash);
    bucket_write_begin(home);
    slot_id id = chain_add(ix, home, (struct slot_content){ref, index_tag(hash), 0, false});
    bucket_write_end(home);
    if (id != 0)
        ix->items++;
    return id;
}

void index_replace(struct index *ix, struct index_place place, item_ref ref)
{
    struct bucket *b = index_bucket(ix, place.id);

    bucket_write_begin(place.home);
    racy_store32(&b->refs[slot_of(place.id)], ref);
    bucket_write_end(place.home);
}

void index_remove(struct index *ix, struct index_place place)
{
    bucket_write_begin(place.home);
    chain_take(ix, place.home, index_bucket(ix, place.id), slot_of(place.id));
    bucket_write_end(place.home);
    ix->items--;
    uint32_t n = buckets_now(ix);
    if (ix->items * 10 < (uint64_t)n * EMPTY_TENTHS && n > BUCKETS_AT_START)
        merge(ix);
}

void index_set_hits(struct index *ix, slot_id id, unsigned hits)
{
    struct bucket *b = index_bucket(ix, id);
    unsigned slot = slot_of(id);

    racy_store32(&b->bits, (racy_load32(&b->bits) & ~(3u << (2 * slot))) | hits << (2 * slot));
}

void index_clear_fetched(struct index *ix, slot_id id)
{
    struct bucket *b = index_bucket(ix, id);
    struct slot_content c = slot_get(b, slot_of(id));

    c.fetched = false;
    slot_put(b, slot_of(id), c);
}

/* ---- walking ---- */

static void visit_chain(const struct index *ix, struct bucket *b, void (*visit)(void *arg, slot_id id),
                        void *arg)
{
    for (; b != NULL; b = bucket_next(ix, b)) {
        uint32_t used = ~bucket_match(b, 0) & bucket_items_mask(b);
        for (; used != 0; used &= used - 1)
            visit(arg, id_of(ix, b, (unsigned)__builtin_ctz(used)));
    }
}

static uint32_t reverse_bits(uint32_t v)
{
    v = (v >> 1 & 0x55555555u) | (v & 0x55555555u) << 1;
    v = (v >> 2 & 0x33333333u) | (v & 0x33333333u) << 2;
    v = (v >> 4 & 0x0f0f0f0fu) | (v & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(v);
}

/* The cursor counts through the bits of the smaller table from the top down
 * (Noordhuis's scheme in redis), so a bucket's images in a table grown
 * meanwhile all lie ahead of the cursor or all behind it. */
uint32_t index_scan(const struct index *ix, uint32_t cursor, void (*visit)(void *arg, slot_id id), void *arg)
{
    uint32_t n = buckets_now(ix);
    uint32_t level = 1u << (31 - __builtin_clz(n));
    uint32_t b = cursor & (level - 1);

    visit_chain(ix, &ix->buckets[b], visit, arg);
    if (b + level < n)
        visit_chain(ix, &ix->buckets[b + level], visit, arg);
    cursor |= ~(level - 1);
    return reverse_bits(reverse_bits(cursor) + 1);
}

static void note_slot(void *arg, slot_id id)
{
    slot_id *ids = arg;
    if (ids[0] < 2 * BUCKET_SLOTS)
        ids[++ids[0]] = id;
}

slot_id index_any(const struct index *ix, uint64_t dice)
{
    uint32_t n = buckets_now(ix);
    uint32_t b = (uint32_t)(((dice >> 32) * n) >> 32);
    slot_id ids[1 + 2 * BUCKET_SLOTS];

    if (ix->items == 0)
        return 0;
    for (uint32_t tried = 0; tried < n; tried++, b = b + 1 == n ? 0 : b + 1) {
        ids[0] = 0;
        visit_chain(ix, &ix->buckets[b], note_slot, ids);
        if (ids[0] != 0)
            return ids[1 + (uint32_t)dice % ids[0]];
    }
    return 0;
}

void index_each(const struct index *ix, void (*visit)(void *arg, slot_id id), void *arg)
{
    for (uint32_t b = 0; b < buckets_now(ix); b++)
        visit_chain(ix, &ix->buckets[b], visit, arg);
}

static void count_slot(void *arg, slot_id id)
{
    (void)id;
    ++*(uint64_t *)arg;
}

void index_check(const struct index *ix)
{
    uint64_t items = 0, overflow = 0;

    index_each(ix, count_slot, &items);
    CHECK(items == ix->items);
    for (uint32_t i = 0; i < buckets_now(ix); i++) {
        const struct bucket *b = &ix->buckets[i];
        CHECK((atomic_load(&b->version) & 1) == 0);
        for (b = bucket_next(ix, b); b != NULL; b = bucket_next(ix, b))
            overflow++;
    }
    CHECK(overflow == ix->overflow_live);
}
