/* index.h - from key to item: a hash table read without locks.
 *
 * A bucket is one cache line:
 *
 *   0         4               15      16        20
 *   | version | 11 tags       | chain | bits    | 11 refs                |
 *
 *   version  odd while a writer is inside; every change moves it on by two.
 *            It guards the whole chain that starts at this bucket, and the
 *            items it refers to.
 *   tags     one byte of hash per slot, 0 for an empty slot
 *   chain    bit 0: slot 10 is not an item but the number of an overflow
 *            bucket; bit 1: the item of slot 10 was fetched
 *   bits     2 hit bits per slot for the eviction policies (0..21), then one
 *            "fetched" bit for slots 0..9. Readers write these, racing and
 *            losing a hit now and then; they decide who is evicted, no more.
 *
 * Growth is linear hashing (Litwin, VLDB 1980): one bucket is split per few
 * inserts, in a reserved range of addresses, so there is no rehash pause and
 * no moment with two tables. It shrinks the same way when half of it would do.
 *
 * Writers hold the shard's lock. A slot is named by bucket number * 11 + slot
 * + 1, which is also the evict_id of linked policies. */
#ifndef CORRAL_INDEX_H
#define CORRAL_INDEX_H

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#include <emmintrin.h>
#endif

#include "server/store/item.h"

enum {
    BUCKET_SLOTS = 11,
    BUCKET_LINK_SLOT = 10,
    BUCKET_CHAINED = 1,
    BUCKET_FETCHED_10 = 2,
    INDEX_BUCKETS_MAX = 12200000, /* of either kind; ids stay below 2^28 */
    INDEX_CHAIN_MAX = 64,         /* longer chains than any reader needs to follow before it looks again */
};

_Static_assert(2ull * INDEX_BUCKETS_MAX * BUCKET_SLOTS < 1ull << 28, "slot ids are evict_ids of 28 bits");

struct bucket {
    _Atomic uint32_t version;
    uint8_t tags[BUCKET_SLOTS];
    uint8_t chain;
    uint32_t bits;
    uint32_t refs[BUCKET_SLOTS];
};
_Static_assert(sizeof(struct bucket) == 64, "a bucket is one cache line");

typedef uint32_t slot_id; /* 0: none */

/* Tells the owner of the slots (the eviction policy) that an item moved. */
typedef void slot_moved(void *arg, slot_id from, slot_id to);
/* The hash of the key at ref; asked for when a bucket is split. */
typedef uint64_t hash_of_ref(void *arg, item_ref ref);
typedef void prefetch_ref(void *arg, item_ref ref);

struct index {
    /* buckets in use in the low half, generation in the high half; a flush starts a new generation */
    _Atomic uint64_t shape;
    struct bucket *buckets;  /* reserved for INDEX_BUCKETS_MAX */
    struct bucket *overflow; /* likewise; number 0 is never used */
    uint32_t backed;         /* buckets that have memory: what is in use, and what was before it shrank */
    uint32_t overflow_used;  /* high-water mark, number 0 included */
    uint32_t overflow_backed;
    uint32_t overflow_free; /* head of a list through refs[0] (next) and refs[1] (previous) */
    uint32_t overflow_live;
    uint64_t items;
    slot_moved *moved;
    hash_of_ref *hash_of;
    prefetch_ref *prefetch;
    void *arg;
};

/* False when address space is short. */
bool index_init(struct index *ix, slot_moved *moved, hash_of_ref *hash_of, prefetch_ref *prefetch, void *arg);
void index_destroy(struct index *ix);
/* Bytes that are backed by memory. */
uint64_t index_bytes(const struct index *ix);
/* Gives memory that shrinking left over back to the system, at most about a
 * quarter MiB a call. Returns buckets given back; *first is the first of them. */
uint32_t index_trim(struct index *ix, uint32_t *first);
/* The same for overflow buckets, which are first moved together. True while there is more to do. */
bool index_trim_overflow(struct index *ix);
/* Forgets everything and gives the memory back; readers in flight will miss or retry. */
void index_clear(struct index *ix);

static inline uint32_t shape_buckets(uint64_t shape)
{
    return (uint32_t)shape;
}
static inline uint32_t index_home(uint64_t shape, uint64_t hash)
{
    uint32_t n = shape_buckets(shape);
    uint32_t mask = UINT32_MAX >> __builtin_clz(n - 1);
    uint32_t b = (uint32_t)hash & mask;
    return b < n ? b : b & (mask >> 1);
}
static inline uint8_t index_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 32);
    return (uint8_t)(tag + (tag == 0));
}

/* Bit i is set if slot i carries the tag. */
static inline uint32_t bucket_match(const struct bucket *b, uint8_t tag)
{
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
    __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)b->tags); /* and 5 bytes we ignore */
    __m128i equal = _mm_cmpeq_epi8(sixteen, _mm_set1_epi8((char)tag));
    return (uint32_t)_mm_movemask_epi8(equal) & ((1u << BUCKET_SLOTS) - 1);
#else
    uint32_t mask = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        mask |= (uint32_t)(racy_load8(&b->tags[i]) == tag) << i;
    return mask;
#endif
}
/* The slots that hold items; drops the link slot of a chained bucket. */
static inline uint32_t bucket_items_mask(const struct bucket *b)
{
    return racy_load8(&b->chain) & BUCKET_CHAINED ? (1u << BUCKET_LINK_SLOT) - 1 : (1u << BUCKET_SLOTS) - 1;
}
/* The next bucket of a chain, NULL at its end. */
static inline struct bucket *bucket_next(const struct index *ix, const struct bucket *b)
{
    if (!(racy_load8(&b->chain) & BUCKET_CHAINED))
        return NULL;
    uint32_t number = racy_load32(&b->refs[BUCKET_LINK_SLOT]);
    return number < INDEX_BUCKETS_MAX ? &ix->overflow[number] : NULL;
}

/* Hit bits. By readers: racing, and only when something changes. */
static inline unsigned bucket_hits(const struct bucket *b, unsigned slot)
{
    return (racy_load32(&b->bits) >> (2 * slot)) & 3;
}
static inline bool bucket_fetched(const struct bucket *b, unsigned slot)
{
    if (slot < BUCKET_LINK_SLOT)
        return (racy_load32(&b->bits) >> (22 + slot)) & 1;
    /* Readers may not write the chain byte; for slot 10 its hit bits stand in. */
    return (racy_load8(&b->chain) & BUCKET_FETCHED_10) != 0 || bucket_hits(b, slot) != 0;
}
static inline void bucket_set_fetched(struct bucket *b, unsigned slot)
{
    if (slot < BUCKET_LINK_SLOT)
        racy_store32(&b->bits, racy_load32(&b->bits) | 1u << (22 + slot));
    else
        racy_store8(&b->chain, (uint8_t)(racy_load8(&b->chain) | BUCKET_FETCHED_10));
}
static inline void bucket_hit(struct bucket *b, unsigned slot)
{
    uint32_t bits = racy_load32(&b->bits);
    uint32_t raised = bits;

    if (((bits >> (2 * slot)) & 3) < 3)
        raised += 1u << (2 * slot);
    if (slot < BUCKET_LINK_SLOT)
        raised |= 1u << (22 + slot);
    if (raised != bits)
        racy_store32(&b->bits, raised);
}

/* ---- for writers, who hold the shard's lock ---- */

struct bucket *index_bucket(const struct index *ix, slot_id id);
static inline unsigned slot_of(slot_id id)
{
    return (id - 1) % BUCKET_SLOTS;
}
static inline item_ref index_ref(const struct index *ix, slot_id id)
{
    return index_bucket(ix, id)->refs[slot_of(id)];
}

struct index_place {
    struct bucket *home; /* whose version guards the slot */
    slot_id id;          /* 0: not there */
};

/* Finds the slot holding exactly this ref. */
struct index_place index_find_ref(const struct index *ix, uint64_t hash, item_ref ref);
/* Finds the slot of a key among the items of `arena`. */
struct index_place index_find_key(const struct index *ix, const struct key *key, const uint8_t *arena);

/* The second of two prefetches before a change: the home bucket is there by now, its overflow bucket may not
 * be. */
static inline void index_prefetch_chain(const struct index *ix, uint64_t hash)
{
    const struct bucket *next = bucket_next(
        ix, &ix->buckets[index_home(atomic_load_explicit(&ix->shape, memory_order_relaxed), hash)]);

    if (next != NULL)
        __builtin_prefetch(next);
}

/* Around any change that a reader of this bucket must not see half of. */
static inline void bucket_write_begin(struct bucket *home)
{
    uint32_t v = atomic_load_explicit(&home->version, memory_order_relaxed);
    atomic_store_explicit(&home->version, v + 1, memory_order_relaxed);
    racy_fence_release(); /* pairs with the acquire fence in store_peek_ok() */
}
static inline void bucket_write_end(struct bucket *home)
{
    uint32_t v = atomic_load_explicit(&home->version, memory_order_relaxed);
    atomic_store_explicit(&home->version, v + 1, memory_order_release);
}

/* Adds a key that is not there; grows the table first when it is time. 0 when
 * memory or addresses are short, and nothing has changed. */
slot_id index_insert(struct index *ix, uint64_t hash, item_ref ref);
/* The same key now lives at another ref. */
void index_replace(struct index *ix, struct index_place place, item_ref ref);
/* Takes the slot out; may move the chain's last item into the hole. */
void index_remove(struct index *ix, struct index_place place);
void index_set_hits(struct index *ix, slot_id id, unsigned hits);
void index_clear_fetched(struct index *ix, slot_id id);

/* Visits the slots of SCAN position `cursor` and returns the next position, 0 at the end. */
uint32_t index_scan(const struct index *ix, uint32_t cursor, void (*visit)(void *arg, slot_id id), void *arg);
/* Any occupied slot by the dice, 0 if none was met in a bounded search from there. */
slot_id index_any(const struct index *ix, uint64_t dice);

/* Calls visit for every occupied slot. */
void index_each(const struct index *ix, void (*visit)(void *arg, slot_id id), void *arg);
void index_check(const struct index *ix);

#endif
