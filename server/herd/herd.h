/* herd.h - what command handlers need of herd protection.
 *
 * lease.h says what a lease is; here is how long one should last, who waits for
 * one, and the ledger of it all. */
#ifndef CORRAL_HERD_H
#define CORRAL_HERD_H

#include "server/exec.h"
#include "server/herd/lease.h"

struct herd;

/* Before the workers start, and after they have ended. False when memory is short. */
bool herd_init(struct server *server);
void herd_free(struct server *server);

/* How long a lease on this key should last, in ms: a little more than nearly all
 * of the latest fills of its prefix took, within lease-min-ms and lease-max-ms.
 * The prefix of a key ends with its first ':', '/', '.' or '|'. */
uint32_t herd_lease_ms(struct exec *x, struct slice name);
/* Takes the lease for as long as that, and notes it, and that the one before ran
 * out if it did: then this one lasts longer. As lease_take() otherwise. */
enum lease_answer herd_take(struct exec *x, struct store_edit *edit, uint64_t *token);

/* The same for lease_win(), and for lease_vivify(), whose lease ends with the item at the latest. */
enum lease_answer herd_win(struct exec *x, struct store_edit *edit, uint64_t *token);
enum lease_answer herd_vivify(struct exec *x, struct store_edit *edit, const struct store_value *value,
                              uint64_t *token);

/* For the ledger, and herd_lease_ms(). Cheap; also under a shard's lock. Who
 * takes leases with these needs no herd_note_granted(). */
void herd_note_granted(struct exec *x, struct slice name);
void herd_note_filled(struct exec *x, struct slice name, uint32_t took_ms);
void herd_note_late(struct exec *x, struct slice name);
void herd_note_stale_served(struct exec *x, struct slice name);

/* Lets the request wait for the key, whose lease is out: until it is filled,
 * given back or lost, or the lease ends, or most_ms have passed since the
 * request was first made to wait. Called with the key's edit open, so that no
 * change goes unheard; the caller ends the edit, writes nothing and returns.
 * False: it has waited most_ms already, or too many wait, or it may not wait
 * here (MULTI): answer without the value.
 *
 * When a lease ends unfilled, the first of those who wait is run again, finds
 * no lease out and takes the next; the others go on waiting. */
bool herd_wait(struct exec *x, const struct store_edit *edit, uint32_t most_ms);

/* ---- for dispatch.c, conn.c and changes.c ---- */

void herd_answered_slowly(struct exec *x);
/* A request that was parked has been answered. */
static inline void herd_answered(struct exec *x)
{
    if (x->session->waiter.ticket != 0)
        herd_answered_slowly(x);
}
/* The connection closes. */
void herd_leave(struct server *server, struct session *session);

/* Under the lock of the key's shard. Written: all who wait look again; else only the first. */
void herd_changed(struct server *server, uint8_t db, struct slice name, bool written);
/* Under no lock. `db` is the store's number, or CHANGES_ALL_DATABASES. */
void herd_flushed(struct server *server, int db);

#endif
