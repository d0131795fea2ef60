/* lease.h - the right to fill a key: one state machine for every dialect.
 *
 * A key is in one of five states, and in three of them a lease may be out: a
 * token that one client was given together with the task to fetch the value.
 * All of it lies in the item, so the look-up that finds the value finds it too.
 *
 *            | take             | good fill | dead fill  | put  | drop   | invalidate | time passes
 *   ---------+------------------+-----------+------------+------+--------+------------+------------
 *   absent   | pending          | -         | LATE       | live | -      | -          | -
 *   pending  | pending, HELD    | live      | LATE       | live | absent | absent     | absent
 *   live     | live, either     | live      | LATE       | live | absent | stale *    | stale *
 *   stale    | stale, either    | live      | LATE_STALE | live | absent | stale      | absent
 *   negative | negative, either | live      | LATE       | live | absent | absent     | absent
 *
 * either: GRANTED or HELD. *: if it has a grace, else absent.
 *
 * live: there is a value, and its time is not over. A lease on it is for an
 *   early refresh; everybody else goes on reading.
 * stale: out of time or invalidated, but kept for its grace (store_herd), or
 *   marked by memcached's md I. Only who asks for stale values sees it.
 * pending: no value; lives exactly as long as its lease.
 * negative: the origin was asked, and has no value. A key that holds a filter is
 *   negative here, too: it has no value to fill, and no lease is granted for it.
 *
 * A token is dead as soon as the key is put, dropped, invalidated, evicted or
 * filled, or the lease's time is over; a fill with a dead token changes nothing.
 * (The state machine and its words follow Nishtala et al., NSDI 2013, section
 * 3.2.1; the bounded term is Gray and Cheriton's, SOSP 1989.)
 *
 * Everything here works on an open edit, so under the shard's lock. */
#ifndef CORRAL_LEASE_H
#define CORRAL_LEASE_H

#include "server/store/store.h"

enum lease_state { LEASE_ABSENT, LEASE_PENDING, LEASE_LIVE, LEASE_STALE, LEASE_NEGATIVE };

enum lease_state lease_state(const struct store_edit *edit);
/* Whether a lease is out, and its time is not over. */
bool lease_is_out(const struct store_edit *edit);
/* When it ends by itself; only if it is out. */
instant lease_end(const struct store_edit *edit);

/* A token nobody has had: never 0 or 1, and below 2^62 (RESP's integers are
 * signed; 0 and 1 mean "a hit" and "somebody else is on it" to mcrouter). Bits
 * 48 to 61 are kept for the slot's epoch, bit 62 for where a token stands among
 * other numbers (LEASE_MARK). Any thread. */
uint64_t lease_new_token(void);
/* Set in a token that is shown as a cas number, which it would else be taken for. */
#define LEASE_MARK ((uint64_t)1 << 62)

enum lease_answer {
    LEASE_GRANTED,
    LEASE_HELD,    /* by somebody else */
    LEASE_NO_ROOM, /* memory is full, or there is a filter: no lease, and nothing has changed */
};
/* Takes the lease for length_ms (1 to STORE_LEASE_MAX_MS), from any state. A
 * value that is there stays, and as stale until the lease ends: were it gone
 * before, the lease would be gone with it, and the next to ask would fetch again.
 * Nobody is told: what can be read has not changed. */
enum lease_answer lease_take(struct store_edit *edit, uint32_t length_ms, uint64_t *token);

/* ---- as memcached's clients see it ---- */

/* A miss of theirs may ask for an item without a value that lives as long as
 * they say (meta N), and is shown to them as a value of no bytes; so it is
 * pending in another way than what lease_take() makes, which lives as long as
 * its lease and is shown to nobody. */
enum { LEASE_VIVIFIED = ITEM_PENDING | ITEM_NEGATIVE };
static inline bool lease_is_vivified(uint8_t state)
{
    return (state & LEASE_VIVIFIED) == LEASE_VIVIFIED;
}
/* Stores such an item, and takes its lease; over anything that has no value to
 * keep. Its expiry and cas are the caller's. LEASE_HELD: nothing has changed. */
enum lease_answer lease_vivify(struct store_edit *edit, uint32_t length_ms, struct store_value value,
                               uint64_t *token);
/* As lease_take(), of what was found; but the item ends when it would have ended anyway. */
enum lease_answer lease_win(struct store_edit *edit, uint32_t length_ms, uint64_t *token);
/* Marks what was found as stale, with another expiry or the same (meta I of md). A lease that is out is dead.
 */
enum store_status lease_mark_stale(struct store_edit *edit, instant expires);
/* For a value that takes the place of what was found, and is to stay in its
 * state (incr in place): the lease's time runs on, but its token is dead. */
struct store_herd lease_orphaned(const struct store_edit *edit);

enum lease_fill {
    FILL_STORED,
    FILL_LATE,       /* the token is dead */
    FILL_LATE_STALE, /* the same, and a stale value is there */
    FILL_REFUSED,    /* the token is good, and still out; but the store would not take it: *why */
};
/* Stores the value if `token` is good. The fill's time (value->herd.fill_ms) is
 * set from the grant to now, and *took_ms as well; both only with FILL_STORED. */
enum lease_fill lease_fill(struct store_edit *edit, uint64_t token, struct store_value value,
                           enum store_status *why, uint32_t *took_ms);

/* Gives it back unfilled. False: it was dead already. */
bool lease_give_back(struct store_edit *edit, uint64_t token);

/* From now on no plain read finds it, a lease that is out is dead, and the value
 * is kept for grace_ms as stale (0: not at all). False: there was nothing to invalidate. */
bool lease_invalidate(struct store_edit *edit, uint32_t grace_ms);

#endif
