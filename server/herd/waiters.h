/* waiters.h - who waits for which key, in the order in which they came.
 *
 * Rules: (1) a session waits for one key at a time, and its place is embedded
 * in it, so that waiting allocates nothing. (2) It keeps its place while its
 * request is looked at, and gives it up when that is answered or the connection
 * closes. (3) The first of a key's queue is the one who acts when the lease
 * ends: so whoever was first and leaves has the next one woken. (4) One who
 * comes back to a queue gets the place that he had by his ticket.
 *
 * A waiter belongs to its worker; all about it that others touch is under the
 * lock of its key's stripe, which is inside the shards' and outside the
 * inboxes'. Keys are told apart by hash (64 bits, seeded) and database; two
 * that meet are woken in vain. */
#ifndef CORRAL_WAITERS_H
#define CORRAL_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct waiters;
struct tally;

struct waiter {
    uint64_t who;    /* a post_address */
    uint64_t ticket; /* given with the first join of a request; 0: none yet. Its worker's alone */
    bool joined;     /* and has not left. Its worker's alone; it may have been taken off the queue */
    bool granted;    /* its request got a lease: what it waited for it fetches itself. Its worker's alone */
    bool gave_up;    /* its request was answered without the value. Its worker's alone */
    struct tally *tally; /* counts it as parked; NULL: none. Its worker's alone */
    /* under the stripe's lock */
    bool queued;
    uint8_t db;
    uint64_t hash;
    struct waiter *next, *prev;
    /* of a queue's first: */
    struct waiter *last, *next_queue;
    uint32_t len;
};

/* NULL when memory is short. */
struct waiters *waiters_new(void);
void waiters_free(struct waiters **waiters);

/* Whether it has joined that key's queue. Its worker only. */
static inline bool waiters_is_at(const struct waiter *w, uint64_t hash, uint8_t db)
{
    return w->joined && w->hash == hash && w->db == db;
}

enum waiters_answer { WAITERS_FIRST, WAITERS_BEHIND, WAITERS_FULL };
/* Gets into the key's queue, or stays where it is; it is in no other. FULL: `most` wait, or `most_per_key`
 * for this key. */
enum waiters_answer waiters_join(struct waiters *waiters, struct waiter *waiter, uint64_t hash, uint8_t db,
                                 uint64_t most, uint32_t most_per_key);
/* Leaves, if it had joined. Returns who is the first now in its place, 0: nobody, or somebody else was first.
 */
uint64_t waiters_leave(struct waiters *waiters, struct waiter *waiter);

/* The first of the key's queue, who stays in it; 0: nobody. */
uint64_t waiters_first(struct waiters *waiters, uint64_t hash, uint8_t db);
/* Takes the first `most` off the key's queue, in order. Returns how many there were. */
size_t waiters_take(struct waiters *waiters, uint64_t hash, uint8_t db, uint64_t *who, size_t most);
/* The first of every queue of a database, or of all (-1). Under the stripe's lock. */
void waiters_each_first(struct waiters *waiters, int db, void (*visit)(void *arg, uint64_t who), void *arg);

/* How many are in queues now. */
uint64_t waiters_len(const struct waiters *waiters);
/* CHECKs all that must hold. For tests. */
void waiters_check(struct waiters *waiters);

#endif
