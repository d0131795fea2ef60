/* writes.h - writes on their way to an origin, key by key in the order they were made.
 *
 *   through  The client waits. Once the origin has acknowledged it, the thread
 *            stores it here, too, and the client is told. If the origin does not,
 *            nothing is stored; and as nobody knows what the origin holds then,
 *            what was here goes.
 *   behind   It is stored here at once, under the key's own lock, and the client
 *            is told. It is tried until the origin has it. Of several that wait
 *            for the same key only the last is sent. A key that is asked for
 *            meanwhile and not here is answered from here, not from the origin,
 *            which has not heard of it yet.
 *
 * A key has one write under way at most, so writes reach the origin in their order. */
#ifndef CORRAL_ORIGIN_WRITES_H
#define CORRAL_ORIGIN_WRITES_H

#include "server/origin/origins_private.h"
#include "server/post.h"

struct writes;

/* What a client wants written. */
struct wanted_write {
    enum call_kind kind; /* SET or DELETE */
    struct slice value;
    instant expires; /* of a SET; ms 0: not said */
};

/* NULL when memory is short. */
struct writes *writes_new(struct origins *origins);
void writes_free(struct writes **writes);

/* ---- workers: through ---- */

/* How the writes of one client's request stand. */
struct write_result {
    unsigned left;    /* not yet ended */
    unsigned existed; /* deletes that found their key */
    bool failed;
    char why[OUTCOME_TEXT_MAX];
    char shown[128]; /* the origin that failed */
};

/* All n keys, each with a pinned origin whose pin is taken over, and a place that was reserved there.
 * The client `who` is woken when all have ended. False when memory is short: nothing is written. */
bool writes_through(struct writes *writes, post_address who, const struct key *keys,
                    struct origin *const *origins, size_t n, const struct wanted_write *wanted);
/* False: there is none. It stays until it is forgotten. */
bool writes_result(struct writes *writes, post_address who, struct write_result *out);
/* By its own worker: it has been told, or has gone. */
void writes_forget(struct writes *writes, post_address who);
/* How many clients wait. Any thread. */
unsigned writes_waiting(struct writes *writes);

/* ---- workers: behind ---- */

enum behind { BEHIND_ACCEPTED, BEHIND_FULL, BEHIND_NO_MEMORY, BEHIND_NOT_STORED };
/* Stores it, too; BEHIND_NOT_STORED: the store would not, *why says why. *found: the key was here. */
enum behind writes_behind(struct writes *writes, struct exec *x, const struct key *key, struct origin *origin,
                          const struct wanted_write *wanted, enum store_status *why, bool *found);

/* Whether what is read of the key comes from here, and not from its origin. Any thread. */
bool writes_hold(struct writes *writes, const struct key *key);

/* ---- the thread ---- */

/* Hands what is new to the origins. */
void writes_pump(struct writes *writes);
/* A fetch is about to begin: if a write behind is newer than what the origin has, fills from that. */
bool writes_answer(struct writes *writes, struct fetch *fetch);
/* Whether any are left. */
bool writes_some(struct writes *writes);
/* The node stops: gives up what is left, and logs it. */
void writes_give_up(struct writes *writes);

/* Bytes that wait behind. Any thread. */
uint64_t writes_bytes(struct writes *writes);

#endif
