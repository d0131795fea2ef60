/* protect.h - herd protection for clients that know nothing of it: the rules of
 * herd-protect, applied to plain reads and writes.
 *
 * The first who misses a key that a rule is for is told so, and holds the lease
 * without knowing; a plain set fills. Whoever comes meanwhile waits, or is
 * given the value that is in its grace. A client that holds a lease is never
 * made to wait: what it asks for next may stand before its own set, and two
 * that wait for each other would both wait in vain. When its connection closes,
 * its leases go back, and the first who waits takes over.
 *
 * Without rules all this costs a miss one look at a pointer, and a hit nothing. */
#ifndef CORRAL_PROTECT_H
#define CORRAL_PROTECT_H

#include "server/herd/herd.h"
#include "server/server.h"

/* Puts the option herd-protect into effect. NULL, or what is wrong with it.
 * From within CONFIG SET (under options_lock), or before the workers start. */
const char *protect_apply(struct server *server);
/* Worker 0, now and then, outside of a batch: frees rules that are no longer in effect. */
void protect_tick(struct server *server);

void protect_free(struct server *server);

/* Whether there are any rules. */
static inline bool protect_on(const struct exec *x)
{
    return __builtin_expect(atomic_load_explicit(&x->server->herd_rules, memory_order_acquire) != NULL, 0);
}
bool protect_has_rule(const struct exec *x, struct slice name);

enum protect_verdict {
    PROTECT_MISS,   /* tell the client so */
    PROTECT_PARKED, /* write nothing, take back what has been written, and return */
    PROTECT_RETRY,  /* there is a value now: look again */
    PROTECT_STALE,  /* answer what `edit`, which is open, shows, and end it */
};
/* A plain read found no value. */
enum protect_verdict protect_missed(struct exec *x, const struct key *key, struct store_edit *edit);

/* A plain read found one, with peek->herded: whether this reader is to be told
 * "miss", and so to refresh it, although its time is not over. */
bool protect_refresh_slowly(struct exec *x, const struct key *key, const struct store_peek *peek);
static inline bool protect_refresh(struct exec *x, const struct key *key, const struct store_peek *peek)
{
    enum { FILLS_BEFORE = 40 }; /* before that nobody is chosen in this process's life: exp(-40) */

    return peek->expires.ms != 0 &&
           since(peek->expires, x->now).ms < FILLS_BEFORE * (int64_t)peek->herd.fill_ms &&
           protect_refresh_slowly(x, key, peek);
}

/* A client that was told "miss" while a lease was out, its own most often,
 * stores a whole value under that key. True: that lease is dead, as the key was
 * deleted or stored to since, or somebody else was sent to fill it; what the
 * client has read from its database may be older than that, so it is not to be
 * stored. It might be newer, too; so another value that is there goes, and the
 * next reader asks the database. Said of a miss once, and not after
 * lease-max-ms: a fill that takes longer is taken for a write of its own. */
bool protect_is_late_slowly(struct exec *x, struct store_edit *edit, struct slice value);
static inline bool protect_is_late(struct exec *x, struct store_edit *edit, struct slice value)
{
    return __builtin_expect(x->session->held != NULL, 0) && protect_is_late_slowly(x, edit, value);
}

/* What a client would have stored was refused: the lease that it may hold goes
 * back, so that nobody waits for it any longer. In the edit, after protect_is_late()... */
static inline void protect_refused(struct exec *x, struct store_edit *edit)
{
    if (x->session->held_last != 0)
        lease_give_back(edit, x->session->held_last);
}
/* ... or when it did not come that far; outside of edits. */
void protect_give_up(struct exec *x, const struct key *key);

/* The connection closes: its leases go back. Outside of a batch. */
struct worker;
void protect_leave(struct worker *worker, struct session *session);

/* Around a request of several keys, which is answered as a whole: what has been
 * written and counted is taken back when it is parked halfway. It waits for what
 * others fetch before it takes a lease itself, as it could not wait with one. */
enum { PROTECT_PUT_OFF_MAX = 64, PROTECT_STALE_MAX = 64 };
struct protect_several {
    size_t mark, pins;
    uint64_t hits, misses, expired, mc_expired; /* the counters, as they were */
    unsigned put_off_len;                       /* leases that are free, to be taken in the end */
    struct key put_off[PROTECT_PUT_OFF_MAX];
    unsigned stale_len; /* values served in their grace, to be noted in the end */
    struct key stale[PROTECT_STALE_MAX];
};
static inline void protect_begin(struct exec *x, struct protect_several *several)
{
    several->mark = out_mark(x->out);
    several->pins = x->out->pins_len;
    several->hits = x->counters->keyspace_hits;
    several->misses = x->counters->keyspace_misses;
    several->expired = x->counters->expired_on_read;
    several->mc_expired = x->counters->mc_get_expired;
    several->put_off_len = several->stale_len = 0;
    x->several = several;
}
/* At the end, or as soon as it is parked. True: it is parked, and all is as before. */
bool protect_end(struct exec *x, struct protect_several *several);

#endif
