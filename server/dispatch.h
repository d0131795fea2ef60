/* dispatch.h - from bytes to replies: parse a batch, prefetch, execute in order. */
#ifndef CORRAL_DISPATCH_H
#define CORRAL_DISPATCH_H

#include "protocol/memcache_binary.h"
#include "protocol/memcache_text.h"
#include "protocol/resp.h"
#include "server/session.h"

struct worker;
struct exec;
struct command;
struct blob;
struct batch;

union dispatch_parser {
    struct resp_parser resp;
    struct memcache_parser memcache;
    struct binary_parser binary; /* with session->binary */
};

struct dispatch_input {
    uint8_t *data; /* from the first byte of a request; inline words are unquoted in place */
    size_t len;
    struct blob *blob; /* that data lies in, or NULL */
    struct session *session;
    union dispatch_parser *parser;
    /* out */
    size_t consumed; /* bytes that are done with */
    size_t wanted;   /* with DISPATCH_MORE: length of the unfinished request, as far as it is known */
    bool swallowing; /* the same: the rest of a refused request is still to come */
};

enum dispatch_status {
    DISPATCH_MORE, /* all whole requests are answered */
    DISPATCH_FULL, /* stopped because there is much to send, or more to come of one reply (session->producer):
                      flush, then call again */
    DISPATCH_PARKED, /* what is not consumed waits: session->parked says for what */
    DISPATCH_CLOSE   /* the session is over: flush, then close */
};

/* A guess at the hash of the first key in these bytes, whose bucket is asked for; 0: no key was seen. */
uint64_t dispatch_look_ahead(struct worker *worker, const struct session *session, const uint8_t *data,
                             size_t len);

/* Appends replies to the worker's out. */
enum dispatch_status dispatch(struct worker *worker, struct dispatch_input *in);

/* Runs a command whose arity and keys were found right, as if it had just
 * arrived: what EXEC does with each request of its queue. */
void dispatch_execute(struct exec *x, const struct command *command, struct request *rq);

struct batch *batch_new(void);
void batch_free(struct batch **batch);
/* Gives back memory that an unusually long request made it take. */
void batch_trim(struct batch *batch);

#endif
