/* redirect.h - clients of the cluster-client-port: they know the slots, and are told where those are.
 *
 * As a redis cluster does: the keys of a request lie in one slot, or it is refused with CROSSSLOT; what this
 * node holds it executes, for the rest it names the node to ask (MOVED). There is one database; what has no
 * key means this node alone. In a transaction a key elsewhere spoils it, and EXEC looks at all keys once
 * more.
 *
 * One difference: MOVED is said sparingly, since a client looks at all slots when it hears it, and clients by
 * the thousand do so at the same time. What is not said is passed on to the node that has the key, and
 * answered, so answers are right either way. A connection is told at most once in REDIRECT_LEARN_MS; and when
 * the cluster has changed, connections that were there before are not told until that has been over for as
 * long: while slots go from node to node, what they would learn is old before they can use it. So a change of
 * the cluster costs each connection one MOVED. */
#ifndef CORRAL_REDIRECT_H
#define CORRAL_REDIRECT_H

#include "server/command/command.h"
#include "server/exec.h"

enum { REDIRECT_LEARN_MS = 1000 };

/* Whether a connection of that age, told at `*told` for the last time (ms 0: never), is to be told (again),
 * and if so notes that it is. `changed`: when the epoch began. */
bool redirect_tells(instant *told, instant created, instant changed, instant now);

/* True: let the handler run, or, in MULTI, queue it. False: it is answered, or waits while it is passed on.
 */
bool redirect_ready(struct exec *x, const struct command *command, const struct request *rq);

#endif
