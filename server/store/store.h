/* store.h - the only door to the cached items.
 *
 * One store is shared by all workers. It is cut into shards by key hash; a
 * shard has an index, a log of segments, an eviction policy and one lock.
 *
 *   Reading takes no lock and writes nothing shared: store_peek() finds the
 *   value in place, the caller copies it out, and store_peek_ok() says whether
 *   what was copied was whole (a seqlock per index bucket). On "no", undo the
 *   copy and peek again.
 *
 *   Writing is an edit: store_edit_begin() locks the key's shard and shows
 *   what is there, then put / drop / expire as often as need be, then
 *   store_edit_end(). Every read-modify-write is an edit, so SET NX, INCR,
 *   APPEND and cas are a few lines in their handlers and are atomic.
 *
 * Rules: (1) an expired item is never shown; (2) an acknowledged write is
 * seen by every later peek, on any thread; (3) what is held stays under the
 * memory limit; (4) only the policy decides who is evicted. */
#ifndef CORRAL_STORE_H
#define CORRAL_STORE_H

#include "protocol/bytes.h"
#include "server/clock.h"
#include "server/evict/auto.h"
#include "server/store/blob.h"

struct store;
struct store_local; /* one worker's own part: its buffers of hits */

enum {
    STORE_KEY_MAX = 32767, /* bytes of a key; memcached's own limit of 250 is the dialect's */
    STORE_SHARDS_MAX = 1024,
    STORE_DATABASES_MAX = 256,
    STORE_WRITES_TOGETHER = 128 * 1024, /* see store_edit_write() */
};

/* A key and its hash. Make it with store_key(); data must outlive the call it is passed to.
 * The same name in two databases is two keys; being in database 0 costs an item nothing. */
struct key {
    const uint8_t *data;
    uint32_t len;
    uint8_t db;
    uint64_t hash;
};

/* Herd state of an item; what the bits mean together is herd/lease.h's. */
enum item_state {
    ITEM_LIVE = 0,
    ITEM_STALE = 1,    /* invalidated, kept so that readers may choose to use it */
    ITEM_WON = 2,      /* somebody was told to refill it; bits may be combined */
    ITEM_PENDING = 4,  /* no value yet: a reader's miss made it, the winner fills it */
    ITEM_NEGATIVE = 8, /* no value, and the origin has none: an answer of its own */
};

/* Whether a plain read, one that did not ask for anything else by name, may show the value. */
static inline bool state_shows(uint8_t state)
{
    return (state & (ITEM_STALE | ITEM_PENDING | ITEM_NEGATIVE)) == 0;
}

/* What only items that a herd may come for have, and only they pay for. An item
 * with a grace is out of time at `expires`, and from then on no plain read or
 * edit finds it; but it is kept grace_ms longer for those who ask for it. */
struct store_herd {
    uint32_t grace_ms;
    uint32_t fill_ms;   /* how long the fill took that made it; 0: not known */
    uint64_t token;     /* of the lease that is out; 0: none */
    instant granted;    /* when */
    uint32_t length_ms; /* for how long */
};
enum { STORE_LEASE_BITS = 20, STORE_LEASE_MAX_MS = (1 << STORE_LEASE_BITS) - 1 };

/* ---- life ---- */

enum evict_scope { EVICT_NOTHING, EVICT_ALLKEYS, EVICT_VOLATILE };

struct store_config {
    uint64_t memory_max;    /* bytes for everything the store holds */
    uint64_t item_max;      /* bytes of key + value; larger puts are refused */
    unsigned shards;        /* a power of two; 0: chosen from memory_max and workers */
    unsigned workers;       /* how many store_locals there will be */
    uint32_t segment_bytes; /* a power of two, 256 KiB to 2 MiB; 0: chosen */
    enum evict_scope scope;
    const struct evict_type *policy; /* NULL only with EVICT_NOTHING */
    uint64_t seed;                   /* of the key hash and of the policies' dice */
};

/* NULL with a one-line reason in err when address space or memory is short. */
struct store *store_new(const struct store_config *config, char *err, size_t err_len);
void store_free(struct store **store);

struct store_local *store_local_new(struct store *store);
void store_local_free(struct store_local **local);
/* Tells what it has collected to shadows, if there are any. As often as store_tick(). */
void store_local_tick(struct store_local *local, instant now);

/* Hashes a key with the store's seed (XXH3). len <= STORE_KEY_MAX is the caller's to check. */
struct key store_key_in(const struct store *store, unsigned db, struct slice name);
static inline struct key store_key(const struct store *store, struct slice name)
{
    return store_key_in(store, 0, name);
}

/* ---- reading ---- */

/* Three-stage batches: hash all keys; prefetch_bucket all; prefetch_item all; then peek or edit. */
void store_prefetch_bucket(const struct store *store, uint64_t hash);
void store_prefetch_item(const struct store *store, uint64_t hash);

enum peek_status {
    PEEK_MISS, /* absent or expired */
    PEEK_HIT,  /* value is in the log: copy it, then ask store_peek_ok() */
    PEEK_BLOB  /* value is large: `blob` is pinned for the caller, who must blob_unpin() it; always ok */
};

/* What a peek found. For PEEK_HIT every field is a claim until store_peek_ok()
 * confirms it; value is readable memory of len bytes in any case. */
struct store_peek {
    const uint8_t *value;
    uint32_t len;
    uint32_t flags;  /* memcached client flags */
    instant expires; /* ms == 0: never */
    uint64_t cas;    /* 0: none was ever asked for; ask store_edit_cas() */
    uint8_t state;   /* enum item_state bits */
    bool key_binary; /* the key was given in base64 (meta b flag) */
    bool fetched;    /* it had been hit before this peek */
    bool expired;    /* with PEEK_MISS: it was there, but out of time */
    bool herded; /* with PEEK_HIT, PEEK_BLOB: `herd` says more; with PEEK_MISS: out of time, but in its grace
                  */
    struct blob *blob;
    struct store_herd herd; /* only if herded, and with PEEK_HIT or PEEK_BLOB */
    /* private: what store_peek_ok() checks */
    const void *seen_index;
    const void *seen_bucket;
    uint32_t seen_version, seen_generation;
};

/* `count_hit` false leaves no trace for the policy (meta u flag, EXISTS, TTL). */
enum peek_status store_peek(struct store *store, struct store_local *local, const struct key *key,
                            instant now, bool count_hit, struct store_peek *peek);
/* The same for whoever does not want the value, which is not to be read: never
 * PEEK_BLOB, and never a lock. `len` is the value's. */
enum peek_status store_look(struct store *store, struct store_local *local, const struct key *key,
                            instant now, bool count_hit, struct store_peek *peek);
/* True: everything read since the peek was one consistent item. Call once, after copying. */
bool store_peek_ok(const struct store_peek *peek);

/* ---- writing ---- */

enum store_status {
    STORE_OK,
    STORE_TOO_BIG,  /* over item_max or STORE_KEY_MAX */
    STORE_NO_SPACE, /* memory is full and the policy can evict nothing (redis: OOM) */
    STORE_LATE      /* never from the store itself: a fill that came too late; see herd/protect.h */
};

/* What to store. The value is head followed by tail, either may be empty and
 * either may point into the item being edited. If the whole value lies inside
 * `backing`, a large value is kept by taking a reference instead of copying. */
struct store_value {
    struct slice head, tail;
    uint32_t flags;
    instant expires;
    uint8_t state;
    bool key_binary;
    uint64_t cas;           /* 0: give it a new one only if it had one; else exactly this */
    bool wants_cas;         /* with cas 0: give it a new one in any case */
    struct store_herd herd; /* grace only with an expiry, and kept from before with an expiry that is kept */
    bool sets_expiry;       /* `expires` is not kept, even if it is the one there was */
    bool moves;             /* another key gives up the same bytes next: the limit does not refuse it */
    struct blob *backing;
};

/* An open edit. Public fields show the item as it is now; they are refreshed
 * by every put, drop and expire. */
struct store_observer;

struct store_edit {
    bool found;
    bool expired; /* not found, but only because it was out of time */
    bool graced;  /* and in its grace: all fields below say what is kept */
    bool lapsed;  /* not found, but something pending was there until its time was over */
    bool fetched; /* it had been hit since it was stored */
    struct slice value;
    struct blob *blob; /* holds a large value, so that it can be pinned instead of copied; else NULL */
    uint32_t flags;
    instant expires;
    uint64_t cas; /* 0: none yet */
    uint8_t state;
    bool key_binary;
    struct store_herd herd;
    /* private */
    struct store *store;
    struct store_local *local;
    struct shard *shard;
    struct key key;
    instant now;
    uint64_t seen_changes; /* where it was found, and good as long as nothing in the shard changed */
    uint32_t slot, ref;
};

/* Locks the key's shard. Between begin and end do no I/O and open no second edit. */
void store_edit_begin(struct store *store, struct store_local *local, const struct key *key, instant now,
                      struct store_edit *edit);
/* Stores or overwrites. On any refusal what was there is still there. Expiry in
 * the past stores nothing: the old item is dropped and STORE_OK returned. */
enum store_status store_edit_put(struct store_edit *edit, const struct store_value *value);
/* Writes bytes into the value, from `offset` on; the value grows as far as they
 * reach, with zeros where nothing was written. A value that no plain read would
 * show, and one that is not there, count as empty; else flags and expiry stay.
 * The bytes may not lie in the item. On any refusal nothing has changed.
 *
 * Costs what is written, not what is there, unless the value has to move: when
 * it outgrows its place, or when it is large and somebody is still reading it.
 * A growing large value is given room for more, so growing by little and little
 * does not copy it each time. Readers of a final value longer than
 * STORE_WRITES_TOGETHER bytes see all writes of one edit or none; of a shorter
 * one, each write by itself. */
enum store_status store_edit_write(struct store_edit *edit, size_t offset, struct slice bytes);
/* Removes it, if found or in its grace. */
void store_edit_drop(struct store_edit *edit);
/* Changes the expiry only (ms == 0: never). In the past: dropped. STORE_NO_SPACE is possible, and changes
 * nothing. */
enum store_status store_edit_expire(struct store_edit *edit, instant expires);
/* Changes state bits and nothing else; a lease that is out stays out. */
enum store_status store_edit_state(struct store_edit *edit, uint8_t state);
/* Gives what is found or in its grace another state, expiry, grace and lease; the
 * value stays. Observers are told only if plain reads see the difference. An
 * expiry so far in the past that the grace is over, too: dropped. */
enum store_status store_edit_mark(struct store_edit *edit, uint8_t state, instant expires,
                                  const struct store_herd *herd);
/* Where there is nothing, or something pending: a pending item without a value,
 * which lives as long as the lease. Observers are not told: there was nothing
 * to read, and there is nothing to read. */
enum store_status store_edit_reserve(struct store_edit *edit, const struct store_herd *lease);
/* The item's cas, giving it one if it has none. 0 only when memory is short. */
uint64_t store_edit_cas(struct store_edit *edit);
/* Tells the policy that the item was used. */
void store_edit_touch(struct store_edit *edit);
/* How often it was used lately, as far as the policy counts that; 0 when it does not. */
unsigned store_edit_frequency(struct store_edit *edit);
void store_edit_end(struct store_edit *edit);
/* From now on the edit's shard tells this observer; see store_observe(). False: it did already. */
bool store_edit_observe(const struct store_edit *edit, const struct store_observer *observer);

/* ---- the whole store ---- */

/* Visits items; `cursor` starts and ends at 0 as redis's SCAN: every item that
 * is there throughout is visited at least once, also while the table grows.
 * Visits at least `count` slots' worth of buckets. The callback runs under a
 * shard's lock and must not call the store. Expired items are not shown. */
struct scan_item {
    struct slice key, value;
    uint8_t db;
    instant expires;
    uint32_t flags;
    uint8_t state;
    bool fetched; /* it had been hit since it was stored */
    uint64_t cas; /* 0: none yet */
};
uint64_t store_scan(struct store *store, uint64_t cursor, size_t count, instant now,
                    void (*visit)(void *arg, const struct scan_item *item), void *arg);

/* A cursor from which a scan begins somewhere in the middle, by the dice. */
uint64_t store_scan_anywhere(const struct store *store, uint64_t dice);

/* Drops everything. Memory goes back over the next ticks. */
void store_flush(struct store *store);
/* The same for one database. At once when nothing else is held, otherwise in
 * time proportional to all items; a shard is locked while it is gone through. */
void store_flush_db(struct store *store, unsigned db, instant now);

/* ---- hearing of changes ---- */

enum store_change {
    CHANGE_WRITTEN, /* stored, overwritten, or its expiry or state set */
    CHANGE_REMOVED, /* dropped by an edit */
    CHANGE_EXPIRED,
    CHANGE_EVICTED
};

/* Is told of every change to a key after readers can see it, and before whoever
 * made it can go on; not of flushes, which their caller knows of, nor of pending
 * items that are out of time or evicted, which nobody could read. Runs under the
 * shard's lock, so it must not call the store, nor wait. `by` is the owner of
 * the store_local whose edit it was, NULL when it was nobody's (expiry, eviction). */
struct store_observer {
    void (*changed)(void *arg, void *by, uint8_t db, struct slice name, enum store_change change);
    /* May be NULL. A lease was taken off, or something pending is gone, and plain reads
     * see no difference. Also under the lock. */
    void (*lease_lost)(void *arg, uint8_t db, struct slice name);
    void *arg;
};
/* Once this returns, no change goes unheard: register your interest in a key,
 * then read it, and what you read is either current or will be reported.
 * NULL: nobody listens any more. The observer must outlive its use. */
void store_observe(struct store *store, const struct store_observer *observer);
/* Nobody listens any more, but to shards in whose turn, under their locks, `wanted`
 * says otherwise. False: there were such. */
bool store_unobserve(struct store *store, bool (*wanted)(void *arg), void *arg);
void store_local_set_owner(struct store_local *local, void *owner);

/* Is asked about every value that is about to be stored by store_edit_put() as
 * ITEM_LIVE, with its time to come, over what `before` shows, and may change its grace and fill time.
 * Runs under the shard's lock. NULL: nobody is asked. */
struct store_shaper {
    void (*shape)(void *arg, const struct store_edit *before, struct store_value *value);
    void *arg;
};
/* Once this returns, no put goes by the old one, which may be freed. */
void store_shape(struct store *store, const struct store_shaper *shaper);

/* Background work of worker `worker` (0..workers-1) for at most about `budget_us`:
 * expiry, compaction ahead of need, memory back to the system. Returns true
 * while more is waiting right now. Call about every 1/hz s, and again while true. */
bool store_tick(struct store *store, unsigned worker, instant now, unsigned budget_us);

/* Both keep everything that fits. A new policy decides at once; what is there it is
 * told of slice by slice, in the ticks to come. set_memory_max false: more than the shards can
 * address (15 GiB each), or less than they can work with (8 segments each); the
 * number of shards is fixed for the life of the store. */
bool store_set_memory_max(struct store *store, uint64_t bytes);
bool store_set_policy(struct store *store, enum evict_scope scope, const struct evict_type *policy);
/* The policy is whichever of some (server/evict/auto.h) would miss least, judged by shadows
 * of them that see a sample of the traffic; at first the one in use, if it is one of those. */
bool store_set_auto(struct store *store);
/* How many keys a shadow holds, at most and no more than one for each 64 KiB of the memory there
 * is when shadows are made, and whether the policy in use has some of other sizes
 * than its own, whatever it is. Not in two threads at once, nor during the two above. */
bool store_set_shadows(struct store *store, bool curve, uint32_t items);
/* Bytes the process holds outside the store (connections, buffers): the store gives way. */
void store_set_other_bytes(struct store *store, uint64_t bytes);
void store_set_item_max(struct store *store, uint64_t bytes);
/* How many items may be ITEM_NEGATIVE at once, shared out evenly to the shards; at
 * first there is no limit. Storing one more drops what was there, and says STORE_OK. */
void store_set_negatives_max(struct store *store, uint64_t items);

struct store_stats {
    uint64_t items, items_expiring; /* present now; the latter have an expiry */
    uint64_t value_bytes;           /* keys + values + headers of live items */
    uint64_t capacity_bytes;        /* what value_bytes may grow to before somebody is evicted */
    uint64_t memory_bytes;          /* all that the store holds from the system */
    uint64_t segment_bytes, index_bytes, policy_bytes, blob_bytes;
    uint64_t evicted, expired;
    uint64_t items_total; /* ever stored anew */
    uint64_t relocated;   /* items copied by compaction or requeue */
    uint64_t segments_compacted;
    uint64_t put_refused;
    uint64_t flushes;
    uint64_t negatives, negatives_refused; /* present now; not kept because of store_set_negatives_max() */
    uint32_t shards;
};
void store_stats(struct store *store, struct store_stats *out);
/* How many items a database holds, and how many of them have an expiry. */
struct store_db_count {
    uint64_t items, expiring;
};
struct store_db_count store_db_count(struct store *store, unsigned db);
/* What the shadows say. */
enum { STORE_CURVE_POINTS = 5, STORE_AUTO_CANDIDATES = 7 };
struct store_shadow_report {
    bool follows;              /* a policy is chosen: `chosen` and `candidates` */
    bool curve;                /* `points` */
    const char *policy;        /* in use, or about to be */
    double rate;               /* share of the keys that is sampled */
    uint64_t bytes;            /* that the shadows take */
    uint64_t handing_over;     /* residents that the policy in use was not told of yet */
    uint32_t shards_to_change; /* that still have another policy */
    struct auto_figures chosen;
    struct {
        const char *policy;
        struct shadow_figures figures;
    } candidates[STORE_AUTO_CANDIDATES];
    struct {
        double scale; /* of the memory */
        struct shadow_figures figures;
    } points[STORE_CURVE_POINTS];
};
void store_shadow_report(struct store *store, struct store_shadow_report *out);
/* CHECKs every invariant of every shard; slow. For tests and DEBUG. */
void store_check(struct store *store);

#endif
