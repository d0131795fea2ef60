/* changes.h - who hears of changes to keys, and whether anybody listens at all.
 *
 * The store has one observer and charges every change for it, so it is
 * installed while somebody wants to hear and taken off some seconds after
 * nobody does: a client that watches, executes and watches again does not
 * make it flap. Three kinds of listeners exist: WATCH (watch.h), which is called
 * directly, as are those who wait for another's fill (herd.h), and client
 * tracking, which sets a hook. */
#ifndef CORRAL_CHANGES_H
#define CORRAL_CHANGES_H

#include "server/exec.h"

enum changes_kind { CHANGES_WATCH, CHANGES_TRACKING, CHANGES_HERD, CHANGES_KINDS };

/* Before the workers start, and after they have ended. False when memory is short. */
bool changes_init(struct server *server);
void changes_free(struct server *server);

/* Counts references: as often as it is wanted it has to be unwanted. Once
 * changes_want() returns, nothing goes unheard (see store_observe()). It takes
 * every shard's lock in turn now and then: not to be called under one of them. */
void changes_want(struct server *server, enum changes_kind kind);
void changes_unwant(struct server *server, enum changes_kind kind);
/* The same from within an edit, for changes to what its shard holds. */
void changes_want_here(struct server *server, enum changes_kind kind, const struct store_edit *edit);

/* Worker 0, now and then: stops listening when nobody has wanted to for a while. */
void changes_tick(struct server *server, instant now);

/* Tracking's ear, while CHANGES_TRACKING is wanted. Set before the workers
 * start. Called under a shard's lock, so it must not call the store, nor wait.
 * `by` is the exec of the worker whose edit it was (its session is who did it),
 * NULL for expiry and eviction. `db` is the store's number: server_db() of a
 * session's. */
void changes_set_tracking_hook(struct server *server,
                               void (*changed)(struct server *server, struct exec *by, uint8_t db,
                                               struct slice name, enum store_change change));

/* The store does not report flushes. Whoever flushed calls this afterwards,
 * under no lock. `db` is the store's number, or CHANGES_ALL_DATABASES. */
enum { CHANGES_ALL_DATABASES = -1 };
void changes_flushed(struct server *server, struct exec *by, int db);
/* After SWAPDB: who tracks knows names only, and no longer what is under which. Who watches is told by
 * watch_swapped(). */
void changes_swapped(struct server *server, struct exec *by);
/* Tracking's ear for that; set before the workers start. */
void changes_set_flush_hook(struct server *server,
                            void (*flushed)(struct server *server, struct exec *by, int db));

#endif
