/* several.h - requests for keys of several nodes: each holder is asked for its own, and the answers become
 * one, in the order of the keys.
 *
 * So are MGET, MSET, DEL, UNLINK, EXISTS, TOUCH and INVALIDATE, and memcached's get, gets, gat, gats and
 * lease-get.
 * What other nodes hold is asked for first; when all of it has come, the ordinary handler runs for the keys
 * that are here, with a request of those words alone: so it may park, fetch from origins and pin large
 * values as ever, and what was gathered stays meanwhile. A handler that shows values puts those gathered
 * between its own; to one that answers a number or OK, the rest is added afterwards.
 *
 * Keys whose holder gives no answer in time are misses of a read, and an error of a write, part of which may
 * have been done. As within one node, other clients may come between two keys. */
#ifndef CORRAL_CLUSTER_SEVERAL_H
#define CORRAL_CLUSTER_SEVERAL_H

#include "server/command/command.h"
#include "server/exec.h"

/* Whether it is one of these. */
bool several_knows(const struct command *command);
bool several_knows_line(const struct request *rq);

/* Keys of several nodes, or such a request that is under way. True: let the handler run *rq, which may be
 * another one now, and then call several_end(). False: it is answered, or waits. */
bool several_ready(struct exec *x, const struct command *command, struct request **rq);
bool several_ready_line(struct exec *x, struct request **rq);
void several_end(struct exec *x);

/* ---- for handlers, while x->gathered is set ---- */

/* How many of the keys are answered for elsewhere. */
size_t several_elsewhere(const struct exec *x);
/* Appends the answers that stand before that of the next key that is here; and those behind the last. */
void several_before(struct exec *x);
void several_rest(struct exec *x);

#endif
