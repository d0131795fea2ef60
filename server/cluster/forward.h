/* forward.h - requests of this node's clients whose keys other nodes serve: asked there, answered here in
 * order.
 *
 * Before a batch is executed, forward_ahead() asks other nodes for all in it that may be asked for ahead of
 * its turn: so a pipeline waits once, and not once per request. What was asked hangs in a queue on the
 * session, `session->calls`, each with its place in what the client has sent. When its turn comes the answer
 * is appended as it is, or the connection is parked (PARK_CALL) and woken when the answer at the head of the
 * queue has come.
 *
 * Rules: (1) answers are given in the order of the requests, whoever executed them. (2) Requests about one
 * key are executed in their order: they go to the same node by the same link, and nothing is asked ahead of a
 * request that could change what it means. (3) Nothing waits longer than `cluster-forward-timeout`, unless
 * the other node said that the request waits there (PEER_PARKED). (4) What did not reach the other node, or
 * may be executed twice, is asked again by the routes of then, as long as there is time. (5) When time is
 * over, a read is a miss, in its dialect's form, and a write an error; so is a write of which nobody knows
 * whether it was executed. (6) A client that goes away leaves calls behind whose answers are dropped.
 *
 * Requests of several keys are gather.h's. A frame of another node that turns out to be for a third one
 * is passed on by the same means, up to PEER_HOPS times; see guest.h. */
#ifndef CORRAL_FORWARD_H
#define CORRAL_FORWARD_H

#include "server/batch.h"
#include "server/cluster/routes.h"

struct forward;

/* Between routes_enter() and the first request of the batch. */
void forward_ahead(struct worker *w, const struct dispatch_input *in);

enum forward_verdict {
    FORWARD_HERE, /* it is to be executed here */
    FORWARD_DONE, /* it has been answered, or it waits: session->parked */
    FORWARD_MISS  /* nobody can tell: to be executed here, where x->db and x->first_key have been set so that
                     it  finds nothing */
};
enum { FORWARD_VOID = STORE_DATABASES_MAX - 1 }; /* the store's number of the database where nothing is */

/* Whether requests like this one are its business: those with one key. */
bool forward_takes(const struct command *command, const struct request *rq);

/* At a request's turn; it was parsed without an error, and its arity and keys are right. */
enum forward_verdict forward_resp(struct exec *x, struct entry *e);
enum forward_verdict forward_memcache(struct exec *x, struct entry *e);

/* A memcached request was refused because its value is too long: what it was to replace goes, also where
 * another node has it. Nobody waits for that. */
void forward_refused(struct exec *x, const struct entry *e);

/* Gives the answers that have come for the requests at the head of the input, without parsing these again.
 * in->consumed says how far; session->parked, whether it waits for the next. Only when session->calls. */
void forward_answer(struct worker *w, struct dispatch_input *in);

/* The request it waits for waits itself, at the other node: that may take long. */
bool forward_waits_long(const struct session *session);

/* The session ends, or what it has sent is not to be executed any more. */
void forward_leave(struct session *session);
/* Bytes of answers that wait for their turn. */
size_t forward_holds(const struct session *session);

/* There are new routes: what waits because of the old ones looks again. Not within a batch. */
void forward_routes_changed(struct worker *w);

/* Where a key is served: ROUTE_HERE, a member, or ROUTE_NOBODY. By the routes of the batch. */
uint16_t forward_holder(const struct worker *w, struct slice key);

#endif
