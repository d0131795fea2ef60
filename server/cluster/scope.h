/* scope.h - what a client's request means in a cluster: this node's part of the keys, another's, those of
 * several nodes, or all.
 *
 * For dispatch.c, before origins and the handler, only while SERVER_CLUSTER is set, and only for what
 * forward.h leaves: it takes requests of one key to the node that has it. */
#ifndef CORRAL_SCOPE_H
#define CORRAL_SCOPE_H

#include "server/command/command.h"
#include "server/exec.h"

/* True: go on with *rq, which may be another one than it was, and call scope_end() after the handler. False:
 * it is answered, or waits. */
bool scope_ready(struct exec *x, const struct command *command, struct request **rq);
/* The same of a line of memcached's text protocol, or of a binary packet in words; `packet` is the request as
 * it came. */
bool scope_ready_line(struct exec *x, struct request **rq, const struct request *packet);
static inline bool scope_is_open(const struct exec *x)
{
    return __builtin_expect(x->gathered != NULL, 0);
}
/* Only while scope_is_open(). `command`: NULL for a line. */
void scope_end(struct exec *x, const struct command *command);

/* Slots that this node has served it serves no more: whoever tracks keys here is told that all are invalid,
 * and watched keys of those slots have changed. Any thread, when no worker acts by `before` any more. */
struct routes;
void scope_lost_slots(struct server *server, const struct routes *before, const struct routes *now);

#endif
