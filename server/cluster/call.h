/* call.h - asking another node: a request or a message goes out on this worker's data link to a member,
 * and its answer comes back, or the news that there will be none.
 *
 * Rules: (1) one worker's calls are that worker's alone, no lock. (2) Calls to one member go out in the order
 * they were made, and it begins to execute them in that order. (3) Every call ends, exactly once, within its
 * deadline, which is stretched while the other side says that the request waits there. (4) `done` is called
 * from the worker's loop, never from within call_begin(). (5) What is in flight is bounded per link
 * (cluster-link-buffer bytes) and in all (cluster-calls-max): a call over that ends as CALL_REFUSED. */
#ifndef CORRAL_CALL_H
#define CORRAL_CALL_H

#include "cluster/node_id.h"
#include "protocol/peer.h"
#include "protocol/request.h"
#include "server/exec.h"

struct call;
struct worker;

enum call_end {
    CALL_ANSWERED, /* `bytes` is the reply */
    CALL_NOT_MINE, /* it does not serve the key (any more): look at the routes again */
    CALL_UNSENT,   /* no link, and nothing of it was sent */
    CALL_LOST,     /* it was sent, and the link broke, or time ran out: may have been executed */
    CALL_REFUSED   /* too much is in flight here, or there; not executed */
};

struct call_answer {
    enum call_end end;
    struct slice bytes; /* good until `done` returns */
    struct blob *blob;  /* holds them, and not much else: may be pinned instead of copying; or NULL */
};

struct call_options {
    enum peer_kind kind;       /* PEER_REQUEST for client requests; others have their own body */
    enum peer_dialect dialect; /* in which the answer is to be written */
    uint8_t db;                /* the number of the session's database as clients know it */
    uint8_t flags;             /* PEER_NO_TOUCH, PEER_LOCAL */
    uint8_t hops;              /* that the request has come already */
    uint32_t patience_ms;      /* from now */
    uint64_t asker;            /* tells clients apart at the other side; 0: none in particular */
    /* Always called once, unless the call is forgotten. May note and wake; neither begin nor forget calls. */
    void (*done)(void *arg, struct call *call, const struct call_answer *answer);
    /* May be NULL. The request waits there, for so long at most; PEER_FOR_EVER: nobody knows. */
    void (*told)(void *arg, uint32_t ms);
    void *arg;
};

/* To member `to` of the worker's current routes. The words and data are copied. NULL: memory is short. */
struct call *call_begin(struct worker *w, uint16_t to, const struct request *rq,
                        const struct call_options *options);
/* The same with a body that is no request. */
struct call *call_message(struct worker *w, uint16_t to, struct slice body,
                          const struct call_options *options);
/* Nobody wants the answer any more: `done` will not be called. */
void call_forget(struct call **call);

#endif
