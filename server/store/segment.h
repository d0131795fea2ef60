/* segment.h - the log that items live in.
 *
 * The arena is a reserved range of addresses cut into segments of 256 KiB to
 * 2 MiB. Items are appended to the newest segment of a queue and never move
 * within it; a segment is given back as a whole. Each queue is a chain of
 * segments from oldest to newest, which is all the order that a queue-shaped
 * eviction policy needs.
 *
 * A freed segment may be written again at once. Readers are safe because an
 * item leaves the index (and its bucket's version moves on) before its
 * segment is freed. */
#ifndef CORRAL_SEGMENT_H
#define CORRAL_SEGMENT_H

#include "server/store/item.h"

enum segment_state { SEGMENT_FREE = 0, SEGMENT_OPEN, SEGMENT_SEALED };

struct segment {
    uint32_t used;         /* bytes appended */
    uint32_t live;         /* bytes of items that are not dead */
    uint32_t older, newer; /* neighbours in the queue; older also links free lists; 0: none */
    uint32_t generation;   /* moves on whenever the segment starts afresh */
    uint8_t queue, state;
    uint16_t visit_gap_ms; /* how long expiry waits between two walks; see expiry.c */
    int64_t visit_ms;      /* nothing in here expires before; INT64_MAX: nothing expires */
};

struct segment_queue {
    uint32_t oldest, newest; /* 0: empty */
    uint32_t oldest_at;      /* where the policy's look at the oldest segment stands */
};

struct segment_log {
    uint8_t *arena;
    void *reserved;           /* the addresses it lies in */
    struct segment *segments; /* number 0 is never used */
    int64_t *bases;           /* of each segment: the instant its 32-bit expiries count from */
    uint32_t segment_bytes, shift;
    uint32_t segments_max; /* that the arena can address */
    uint32_t limit;        /* that may be in use at a time */
    uint32_t in_use;
    uint32_t fresh;            /* the lowest number never used yet */
    uint32_t warm, warm_count; /* free, still backed by memory */
    uint32_t cold;             /* free, given back to the system */
    int64_t last_base;
    uint64_t live; /* bytes of all live items */
    struct segment_queue queues[EVICT_QUEUES_MAX];
};

bool segment_log_init(struct segment_log *log, uint32_t segment_bytes);
void segment_log_destroy(struct segment_log *log);

static inline uint8_t *segment_item(const struct segment_log *log, item_ref ref)
{
    return log->arena + (size_t)ref * ITEM_GRANULE;
}
static inline uint32_t segment_of(const struct segment_log *log, item_ref ref)
{
    return ref >> (log->shift - 2);
}
static inline uint32_t segment_offset(const struct segment_log *log, item_ref ref)
{
    return (ref << 2) & (log->segment_bytes - 1);
}
static inline item_ref segment_ref(const struct segment_log *log, uint32_t number, uint32_t offset)
{
    return number << (log->shift - 2) | offset >> 2;
}
static inline int64_t segment_base(const struct segment_log *log, uint32_t number)
{
    return __atomic_load_n(&log->bases[number], __ATOMIC_RELAXED);
}

/* Room for an item at the newest end of a queue, opening a segment if that
 * leaves at least `spare` of the limit unused. 0: compact or evict first. */
item_ref segment_append(struct segment_log *log, unsigned queue, uint32_t size, instant now, uint32_t spare);
/* The base that segment_append() would give an item of this size now. */
int64_t segment_next_base(const struct segment_log *log, unsigned queue, uint32_t size, instant now);
/* An empty segment put into the queue right before (on the older side of)
 * `newer`, over the limit if need be. 0 when the arena is full. */
uint32_t segment_insert_before(struct segment_log *log, uint32_t newer, instant now);
/* Appends to that very segment; 0 when it is full. */
item_ref segment_append_to(struct segment_log *log, uint32_t number, uint32_t size);
/* `size` bytes at ref are dead. A segment with nothing live is freed (or, if open, starts afresh). */
void segment_died(struct segment_log *log, item_ref ref, uint32_t size);
/* Notes that an item of this segment expires then. */
void segment_expires(struct segment_log *log, uint32_t number, instant when);
/* Takes a segment with nothing live out of its queue. */
void segment_release(struct segment_log *log, uint32_t number);
/* Gives up to n warm free segments back to the system, keeping `keep`. Returns how many. */
uint32_t segment_trim(struct segment_log *log, uint32_t keep, uint32_t n);
/* Frees every segment; the items must be out of the index already. */
void segment_clear(struct segment_log *log);
/* Ends a queue's open segment; the next append opens another. */
void segment_seal(struct segment_log *log, unsigned queue);
/* Queue 1 goes behind the newest end of queue 0. */
void segment_join_queues(struct segment_log *log);

static inline uint64_t segment_bytes_held(const struct segment_log *log)
{
    return (uint64_t)(log->in_use + log->warm_count) * log->segment_bytes;
}
void segment_log_check(const struct segment_log *log);

#endif
