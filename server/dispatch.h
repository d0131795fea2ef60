/* dispatch.h - from bytes to replies: parse a batch, prefetch, execute in order. */
#ifndef CORRAL_DISPATCH_H
#define CORRAL_DISPATCH_H

#include "protocol/memcache_text.h"
#include "protocol/resp.h"
#include "server/session.h"

struct worker;
struct blob;
struct batch;

union dispatch_parser {
    struct resp_parser resp;
    struct memcache_parser memcache;
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
    DISPATCH_FULL, /* stopped because there is much to send: flush, then call again */
    DISPATCH_CLOSE /* the session is over: flush, then close */
};

/* Appends replies to the worker's out. */
enum dispatch_status dispatch(struct worker *worker, struct dispatch_input *in);

struct batch *batch_new(void);
void batch_free(struct batch **batch);
/* Gives back memory that an unusually long request made it take. */
void batch_trim(struct batch *batch);

#endif
