/* shadow.h - small caches without values, beside a real one, that see a sample
 * of its requests: what would another policy miss, or another size?
 *
 * After Waldspurger, Park, Garthwaite, Ahmad: "Efficient MRC construction with
 * SHARDS", FAST 2015. A key is in the sample if a number made of its hash is
 * below a threshold, so that all requests for it are seen or none, and a cache
 * of R times the size stands for the whole. R is a power of a half and follows
 * the number of items: the shadow of the cache as it is holds `items` keys at
 * most, and more than a quarter of that once it is full. A cache that small is
 * shadowed whole, R being 1.
 *
 * What a request comes to depends on the real cache alone: a hit there tells
 * what the item weighs, and shadows that lack it take it in, as their client
 * would have stored it; of a miss nothing is known until the client stores
 * (what it stores after a miss is no further use of the key).
 *
 * Figures are counted in a window: shadows_age() lets the past fade. One lock
 * around every call is the caller's. Memory is taken when shadows are made;
 * only the policies' own ghosts grow with what they remember. */
#ifndef CORRAL_SHADOW_H
#define CORRAL_SHADOW_H

#include "server/evict/evict.h"

struct shadows;

enum { SHADOWS_MAX = 12, SHADOW_ITEMS_MIN = 64 };

/* Which items a policy may evict; the others stay, and where they fill the cache nothing more comes in. */
enum shadow_scope { SHADOW_EVICTS_NONE, SHADOW_EVICTS_EXPIRING, SHADOW_EVICTS_ALL };

/* One of the caches. */
struct shadow_kind {
    const struct evict_type *type;
    enum shadow_scope scope;
    double scale; /* its size for the real one's */
};

/* `items` keys at most in a cache of scale 1. NULL when memory is short. */
struct shadows *shadows_new(const struct shadow_kind *kinds, unsigned count, uint32_t items, uint64_t seed);
void shadows_free(struct shadows **);

/* The hash is in the sample if this is below the threshold. */
static inline uint32_t shadow_draw(uint64_t hash)
{
    return (uint32_t)((hash * UINT64_C(0x9FB21C651E98DF25)) >> 32);
}
/* At most 2^32, which stands for all keys. It falls and rises by powers of two. */
uint64_t shadows_threshold(const struct shadows *);
/* R, the share of the keys in the sample. */
double shadows_rate(const struct shadows *);

/* Weight that a real cache with this one's policy could hold, before scale and R. */
void shadows_set_capacity(struct shadows *, unsigned number, uint64_t capacity);
/* Another policy; it begins empty, and so does its window. False when memory is short: nothing changed. */
bool shadows_set_kind(struct shadows *, unsigned number, const struct shadow_kind *kind);

/* What happened to a key of the sample in the real cache; one that is not (any
 * more) in the sample is passed over. `expires` in ms, 0 for never. */
struct shadow_item {
    uint64_t hash;
    uint32_t weight;
    uint8_t db;
    int64_t expires;
};
void shadows_hit(struct shadows *, const struct shadow_item *item, int64_t now);
/* It was asked for and not there. Of the item only hash and db are known. */
void shadows_missed(struct shadows *, const struct shadow_item *item, int64_t now);
void shadows_stored(struct shadows *, const struct shadow_item *item, int64_t now);
/* The item is there, and lives longer or shorter than it was to. */
void shadows_expiry_changed(struct shadows *, const struct shadow_item *item);
void shadows_dropped(struct shadows *, uint64_t hash);
void shadows_flushed(struct shadows *);
void shadows_flushed_db(struct shadows *, uint8_t db);
/* So many reads were there, of keys in the sample or not. */
void shadows_count_reads(struct shadows *, uint64_t reads);

/* ---- the window ---- */

/* All that was counted is worth `keep` of what it was. */
void shadows_age(struct shadows *, double keep);
void shadows_forget_window(struct shadows *);

struct shadow_figures {
    double reads;        /* in the sample, hits and misses; not those of keys out of time */
    double all_reads;    /* shadows_count_reads() */
    double misses;       /* of this shadow */
    double hit_ratio;    /* 0..1, with the paper's correction for hot keys in or out of the sample */
    double error;        /* of hit_ratio, which six samples of seven come within, but for what a small
                          * cache does unlike a large one: with loops and scans it may be twice as much */
    uint64_t items;      /* held now */
    uint64_t held, room; /* weight held, and what it may hold */
    bool full;           /* it has evicted since it was made, emptied or given more room */
};
void shadows_figures(const struct shadows *, unsigned number, struct shadow_figures *out);
uint64_t shadows_items(const struct shadows *, unsigned number); /* held now */
/* Reads that only one of the two would have hit. */
double shadows_disagreed(const struct shadows *, unsigned a, unsigned b);
uint64_t shadows_bytes(const struct shadows *);
/* The policy's own heap bytes for each byte of its shadow's room, without those it has when it is new. */
double shadows_overhead(const struct shadows *, unsigned number);
void shadows_check(const struct shadows *);

#endif
