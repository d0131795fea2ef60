/* transaction.h - what a session has said between MULTI and EXEC, and WATCHes.
 *
 * Requests are copied into a queue, bounded by client-multi-limit and
 * client-multi-bytes-limit; a large value that came in a blob is pinned
 * instead. What cannot be queued spoils the transaction: its EXEC then refuses
 * everything (redis's EXECABORT). The handlers are in command/transaction.c. */
#ifndef CORRAL_TRANSACTION_H
#define CORRAL_TRANSACTION_H

#include "server/watch.h"

struct command;

struct queued {
    struct queued *next;
    const struct command *command;
    struct request request;
    struct blob *backing; /* holds the request's bytes, or NULL */
    struct slice words[]; /* then their bytes */
};

struct transaction {
    struct queued *first, *last;
    uint32_t len;
    size_t bytes, blobs; /* of memory; how much of it is blobs */
    bool spoilt;
    struct watch_list watched;
};

/* The session's, made at its first use. NULL when memory is short. */
struct transaction *transaction_of(struct session *session);
/* Memory of the queue and of watched keys, and how much of it is blobs. */
size_t transaction_holds(const struct session *session, size_t *blobs);
/* When the session ends. */
void transaction_free(struct server *server, struct session *session);

/* MULTI: from now on requests are queued. */
void transaction_begin(struct session *session);
/* Puts a request at the end of the queue and answers QUEUED, or says why not
 * and spoils the transaction. Its arity and keys were found right. */
void transaction_queue(struct exec *x, const struct command *command, const struct request *rq);
/* A request could not be queued. Does nothing outside of MULTI. */
void transaction_spoil(struct session *session);
/* Answers a wrong number of words; for EXEC itself, that ends the transaction there and then. */
void transaction_refuse_arity(struct exec *x, const struct command *command);
/* Leaves MULTI and hands over the queue, which the caller frees. */
struct queued *transaction_take(struct session *session);
void transaction_free_queued(struct queued **queued);
/* Forgets queue and watched keys: DISCARD, RESET. */
void transaction_end(struct server *server, struct session *session);

#endif
