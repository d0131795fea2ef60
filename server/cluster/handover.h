/* handover.h - bringing what a granule holds from the node that served it before.
 *
 * Ownership moves first (cluster/holders.h): from the moment that routes say HERE, this node alone serves
 * the granule, and the one before passes requests on. What that one still has is brought key by key: at
 * once when a request needs it, and all the rest in the background, what was lately used first.
 *
 * Rules: (1) a request for a key that is not here waits until the key is settled (pulls.h): so nothing is
 * missed, and nothing that was written or deleted here is ever overwritten by what comes from there. (2) Who
 * is asked for an item removes it as it sends it. (3) Whatever fails on the way is a miss. (4) What a node
 * has left of granules that it does not serve any more, and nobody asks for, it drops; at the latest before
 * it serves them again.
 *
 * On the wire, as the bodies of calls (protocol/peer.h); little-endian:
 *   TAKE   2 keys   each: 1 database   2 bytes of it   key
 *          answer, for each key: 1 what: 0 there is none, 1 a parcel (parcel.h) follows, 2 ask again later
 *   BATCH  8 cursor   1 all, or only what was used   2 keys at most
 *          answer: 8 cursor to go on from; 0: that was all   2 keys   each as above */
#ifndef CORRAL_HANDOVER_H
#define CORRAL_HANDOVER_H

#include "protocol/peer.h"
#include "server/cluster/routes.h"
#include "server/exec.h"

struct handover;
struct command;

/* Before the workers start, and after they have ended. False when memory is short. */
bool handover_init(struct server *server);
void handover_free(struct server *server);

/* ---- workers ---- */

/* Before a request of this node's keys is executed; within a batch that acts by routes. False: some key is
 * being brought, and the request is parked. */
bool handover_ready(struct exec *x, const struct command *command, const struct request *rq);
bool handover_ready_memcache(struct exec *x, const struct request *rq);
/* One key of it. False: it is being brought, and after the last of its keys the request is to wait:
 * handover_park(), write nothing, return. Keys that are served elsewhere are none of its business. */
bool handover_has(struct exec *x, struct slice name);
void handover_park(struct exec *x);
/* Before the store is flushed, wholly or one database of it: nothing comes any more from where granules were
 * before, or it would come to life again. (What other databases still have there is missed, too.) */
void handover_flush(struct server *server);
/* Goes on with the background work; now and then. */
void handover_tick(struct worker *worker);
/* Another node asks: writes the answer's body. `asker` is its index in the worker's routes. */
enum peer_status handover_serve(struct worker *worker, uint16_t asker, enum peer_kind kind, struct slice body,
                                struct out *out);

/* ---- the control thread, around routes_publish() ---- */

/* Drops what is left of granules that come back to this node, all of it. */
void handover_before(struct server *server, struct store_local *local, const struct routes *before,
                     const struct routes *next);
/* Notes what has moved, and has those look again who wait for keys that are served elsewhere now. */
void handover_after(struct server *server, const struct routes *before, const struct routes *now);
/* Drops some of what is left of granules that are served elsewhere; only while nobody pulls from here. True:
 * there is more to do. */
bool handover_sweep(struct server *server, struct store_local *local);

#endif
