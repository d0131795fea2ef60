/* tracking.h - which clients keep copies of which keys (CLIENT TRACKING).
 *
 * Semantics are redis 7.0's. The promise behind them: a tracking client that
 * drops a key when it is told to, never keeps a value that a write, a delete,
 * an expiry or an eviction has made old. It holds because (1) interest in a key
 * is noted before the key is read; (2) the store reports every change after
 * that, under the shard's lock; (3) the invalidation is on its way to the
 * client's worker before the writer gets its reply, and the worker hands it
 * over after the reply with the value; (4) what cannot be noted, queued or
 * allocated becomes "everything is invalid", never silence.
 *
 * The table forgets a key when it has told of it, or, telling the same, when
 * it is full: tracking-table-max-keys and tracking-table-max-memory. */
#ifndef CORRAL_TRACKING_H
#define CORRAL_TRACKING_H

#include "server/command/command.h"
#include "server/exec.h"
#include "server/post.h"

struct tracking;
struct tracking_prefix;
struct push;

/* Before the workers start; NULL when memory is short. Also hooks itself into changes.h. */
struct tracking *tracking_new(struct server *server);
void tracking_free(struct tracking **tracking);

/* The client of x starts tracking as `push->tracking` says, which the caller filled in but for `on`. */
void tracking_on(struct exec *x, struct push *push);
void tracking_off(struct server *server, struct push *push);
/* One more prefix of a client in BCAST mode. False: there are too many. */
bool tracking_add_prefix(struct exec *x, struct push *push, struct slice prefix);
/* The i-th prefix of a client. */
struct slice tracking_prefix_name(const struct push *push, uint32_t i);
/* Puts them in order of their bytes, as they are shown. */
void tracking_sort_prefixes(struct push *push);

/* Around a command of a client that tracks. */
void tracking_before(struct exec *x, const struct command *command, const struct request *rq);
void tracking_after(struct exec *x, const struct command *command);

/* After a batch, when worker->bcast has something: what was gathered for BCAST becomes letters. */
void tracking_flush(struct worker *worker);

struct tracking_stats {
    uint64_t clients, keys, items, prefixes, bytes;
};
void tracking_stats(const struct tracking *tracking, struct tracking_stats *out);

#endif
