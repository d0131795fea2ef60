/* herd.h - what command handlers need of herd protection.
 *
 * lease.h says what a lease is; here is how long one should last, who waits for
 * one, and the ledger of it all. */
#ifndef CORRAL_HERD_H
#define CORRAL_HERD_H

#include "server/exec.h"
#include "server/herd/lease.h"

/* How long a lease on this key should last, in ms: a little more than nearly all
 * of the latest fills of its prefix took, within lease-min-ms and lease-max-ms.
 * The prefix of a key ends with its first ':', '/', '.' or '|'. */
uint32_t herd_lease_ms(struct exec *x, struct slice name);

/* For the ledger, and herd_lease_ms(). Cheap; also under a shard's lock. */
void herd_note_granted(struct exec *x, struct slice name);
void herd_note_filled(struct exec *x, struct slice name, uint32_t took_ms);
void herd_note_late(struct exec *x, struct slice name);
void herd_note_stale_served(struct exec *x, struct slice name);

/* Lets the request wait for the key, whose lease is out: until it is filled,
 * given back or lost, or the lease ends, or most_ms have passed since the
 * request was first made to wait. Called with the key's edit open, so that no
 * change goes unheard; the caller ends the edit, writes nothing and returns.
 * False: it has waited most_ms already, or too many wait, or it may not wait
 * here (MULTI): answer without the value. */
bool herd_wait(struct exec *x, const struct store_edit *edit, uint32_t most_ms);

#endif
