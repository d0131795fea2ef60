/* item.h - how one cached value lies in its segment.
 *
 *   0        4         8
 *   | word0  | expiry  | extensions... | key | value | pad to 4 |
 *
 *   word0   key length 8 | value length 17 | flags 7
 *   expiry  0: never (or in an extension); else ms after the segment's base
 *
 * Extensions stand in this order, each only when it is needed:
 *   u32 key length      when the 8 bits say ITEM_KEY_LONG
 *   u32 meta            ITEM_HAS_META: state bits (the value's type is one of them), key_binary
 *   u64 expiry          when meta says so: beyond the 49 days that 32 bits hold
 *   u32 grace, u32 fill when meta says so: how long it is kept after its time, how long its fill took
 *   u64 token, u64 term when meta says so: the lease that is out
 *   u32 client flags    ITEM_HAS_FLAGS
 *   u64 cas             ITEM_HAS_CAS: from the first time a client asked for it
 *
 * So a plain item costs 8 bytes beside key and value, with or without a TTL
 * exact to the millisecond. A value too large for the log is a blob, and the
 * item's value is then {pointer, length}. */
#ifndef CORRAL_ITEM_H
#define CORRAL_ITEM_H

#include "server/store/racy.h"
#include "server/store/store.h"

typedef uint32_t item_ref; /* where an item is: its arena offset / 4; 0 is nowhere */

enum {
    ITEM_GRANULE = 4,
    ITEM_HEADER = 8,
    ITEM_KEY_LONG = 255,
    ITEM_VALUE_MAX = (1 << 17) - 1,
    ITEM_OVERHEAD_MAX = ITEM_HEADER + 4 + 4 + 8 + 8 + 16 + 4 + 8,
};

enum item_flag {
    ITEM_DEAD = 1 << 0, /* no longer in the index; only waits to be swept away */
    ITEM_BLOB = 1 << 1,
    ITEM_HAS_META = 1 << 2,
    ITEM_HAS_FLAGS = 1 << 3,
    ITEM_HAS_CAS = 1 << 4,
};

/* The meta word. Bits 9..15 are free, bits 16..23 say which database it is in. */
#define ITEM_META_STATE      0x1fu
#define ITEM_META_EXPIRY     0x20u
#define ITEM_META_GRACE      0x40u
#define ITEM_META_LEASE      0x80u
#define ITEM_META_KEY_BINARY 0x100u
#define ITEM_META_HERD       (ITEM_META_GRACE | ITEM_META_LEASE)
#define ITEM_META_LAYOUT     (ITEM_META_EXPIRY | ITEM_META_HERD)
#define ITEM_META_DB_SHIFT   16

/* An item taken apart. Offsets count from its first byte. */
struct item_shape {
    uint32_t word0, expiry;
    uint32_t key_len, value_len;
    uint32_t meta;
    uint32_t key_at;
    uint32_t size; /* everything, padding included */
};

/* Where a blob item's value is. */
struct item_blob {
    struct blob *blob;
    const uint8_t *data;
    size_t len;
};

/* Bytes of the meta word and of what it says is behind it. */
static inline uint32_t item_meta_size(uint32_t meta)
{
    return 4u + (meta & ITEM_META_EXPIRY ? 8u : 0u) + (meta & ITEM_META_GRACE ? 8u : 0u) +
           (meta & ITEM_META_LEASE ? 16u : 0u);
}
static inline uint8_t item_db(const struct item_shape *s)
{
    return (uint8_t)(s->meta >> ITEM_META_DB_SHIFT);
}
static inline uint32_t item_round(uint32_t n)
{
    return (n + ITEM_GRANULE - 1) & ~(uint32_t)(ITEM_GRANULE - 1);
}
static inline uint32_t word0_flags(uint32_t word0)
{
    return word0 >> 25;
}
static inline uint32_t word0_make(uint32_t key_len, uint32_t value_len, uint32_t flags)
{
    return (key_len < ITEM_KEY_LONG ? key_len : ITEM_KEY_LONG) | value_len << 8 | flags << 25;
}

/* Reads the shape. Under the shard's lock it is the truth; without it, it may
 * be nonsense, but `size` then still says how far it reaches. */
static inline void item_read(const uint8_t *item, struct item_shape *s)
{
    uint32_t at = ITEM_HEADER, flags;

    s->word0 = racy_load32(item);
    s->expiry = racy_load32(item + 4);
    s->key_len = s->word0 & 0xff;
    s->value_len = (s->word0 >> 8) & ITEM_VALUE_MAX;
    s->meta = 0;
    flags = word0_flags(s->word0);
    if (__builtin_expect(s->key_len == ITEM_KEY_LONG, 0)) {
        s->key_len = racy_load32(item + at) & 0xffff;
        at += 4;
    }
    if (__builtin_expect(flags & (ITEM_HAS_META | ITEM_HAS_FLAGS | ITEM_HAS_CAS), 0)) {
        if (flags & ITEM_HAS_META) {
            s->meta = racy_load32(item + at);
            at += item_meta_size(s->meta);
        }
        at += flags & ITEM_HAS_FLAGS ? 4u : 0u;
        at += flags & ITEM_HAS_CAS ? 8u : 0u;
    }
    s->key_at = at;
    s->size = item_round(at + s->key_len + s->value_len);
}

static inline uint64_t racy_load64(const uint8_t *at)
{
    uint64_t v;
    racy_read(&v, at, sizeof v);
    return v;
}

/* The extensions, counted back from the key. */
static inline uint64_t item_cas(const uint8_t *item, const struct item_shape *s)
{
    return word0_flags(s->word0) & ITEM_HAS_CAS ? racy_load64(item + s->key_at - 8) : 0;
}
static inline uint32_t item_flags_at(const struct item_shape *s)
{
    return s->key_at - (word0_flags(s->word0) & ITEM_HAS_CAS ? 8u : 0u) - 4u;
}
static inline uint32_t item_client_flags(const uint8_t *item, const struct item_shape *s)
{
    return word0_flags(s->word0) & ITEM_HAS_FLAGS ? racy_load32(item + item_flags_at(s)) : 0;
}
static inline bool item_has_expiry(const struct item_shape *s)
{
    return s->expiry != 0 || (s->meta & ITEM_META_EXPIRY) != 0;
}
/* When it expires; ms == 0 for never. `base` is its segment's. */
static inline instant item_expires(const uint8_t *item, const struct item_shape *s, int64_t base)
{
    if (s->expiry != 0)
        return (instant){base + s->expiry};
    if (s->meta & ITEM_META_EXPIRY)
        return (instant){
            (int64_t)racy_load64(item + ITEM_HEADER + ((s->word0 & 0xff) == ITEM_KEY_LONG ? 4 : 0) + 4)};
    return (instant){0};
}

/* What ITEM_META_HERD says is there; zeroes for the rest. */
static inline struct store_herd item_herd(const uint8_t *item, const struct item_shape *s)
{
    const uint8_t *at = item + ITEM_HEADER + ((s->word0 & 0xff) == ITEM_KEY_LONG ? 4 : 0) + 4 +
                        (s->meta & ITEM_META_EXPIRY ? 8 : 0);
    struct store_herd herd = {0};

    if (s->meta & ITEM_META_GRACE) {
        herd.grace_ms = racy_load32(at);
        herd.fill_ms = racy_load32(at + 4);
        at += 8;
    }
    if (s->meta & ITEM_META_LEASE) {
        uint64_t term = racy_load64(at + 8);
        herd.token = racy_load64(at);
        herd.granted = (instant){(int64_t)(term >> STORE_LEASE_BITS)};
        herd.length_ms = (uint32_t)term & STORE_LEASE_MAX_MS;
    }
    return herd;
}

/* A new item, before it has a place. */
struct item_plan {
    struct slice key, head, tail; /* head + tail is the value, or the item_blob */
    uint32_t client_flags;
    uint32_t meta;
    uint64_t cas;
    instant expires;        /* the grace included: when it is gone */
    struct store_herd herd; /* as far as meta says that there is any */
    uint32_t flags;         /* enum item_flag */
    uint32_t size;
};

/* Fills in plan->flags, meta and size for an item that goes to a segment of that base. */
void item_plan(struct item_plan *plan, int64_t base);
/* Writes it at `to`, which has plan->size bytes. Readers may be looking. */
void item_write(uint8_t *to, const struct item_plan *plan, int64_t base);

#endif
