/* whole.h - requests that one other node is to execute as a whole: those of several keys that all have the
 * same holder (RENAME, COPY, MSETNX, BITOP, LCS), transactions, and what is passed on for clients of the
 * cluster port.
 *
 * What may have been executed is not sent again, unless it may be executed twice: "outcome unknown". */
#ifndef CORRAL_CLUSTER_WHOLE_H
#define CORRAL_CLUSTER_WHOLE_H

#include "server/cluster/keys.h"
#include "server/command/command.h"
#include "server/exec.h"

/* The request's keys are at `holder`, no member of which is this node, or it is under way there. True: by now
 * they are here, so let the handler run. False: it is answered, or waits. */
bool whole_ready(struct exec *x, const struct command *command, const struct request *rq,
                 const struct key_place *place);

/* EXEC, in a cluster of several nodes. True: let the handler run. A transaction whose keys all have one other
 * holder is executed there, alone as it would be here, when nothing is WATCHed and all it says is about keys.
 */
bool whole_exec_ready(struct exec *x);

/* A TRANSACTION of another node, as a guest whose session is in no MULTI. Answers as EXEC does; asked->status
 * says when its keys are not all here. It may be parked, and is then given again. */
void whole_execute(struct exec *x, struct slice body);

/* A request is about to be queued by MULTI. False: it can have no place in a transaction there; answered. */
bool whole_may_queue(struct exec *x, const struct command *command);

#endif
