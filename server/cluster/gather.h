/* gather.h - one request that several nodes answer: who was asked what, and what has come.
 *
 * A gather hangs on the session while its request is parked at the head of the
 * connection. Whenever that is run again, the caller looks at what is still open,
 * asks for it by the routes of then, and either waits on or uses the answers. So
 * a key that changes hands meanwhile is asked for again where it is now, and what
 * has been answered stays.
 *
 * Rules: (1) only requests that may be executed twice are gathered; (2) nothing is
 * asked again after `cluster-forward-timeout`; what is open then is lost, and the
 * caller says so; (3) a call under way is waited for, since calls end by
 * themselves, in time or stretched by a node where the request waits for a fill;
 * (4) what is gathered is bounded by what a reply may hold. */
#ifndef CORRAL_GATHER_H
#define CORRAL_GATHER_H

#include "server/cluster/call.h"
#include "server/cluster/routes.h"

enum part_state {
    PART_ASKED,
    PART_ANSWERED,
    PART_AGAIN, /* no answer yet: to be asked anew */
    PART_GONE   /* that node has left meanwhile, and is not to be asked */
};

struct part {
    struct gather *gather;
    struct call *call; /* PART_ASKED */
    struct node_id to;
    enum part_state state;
    bool lost;           /* the last call may have been executed, and nobody knows */
    struct slice answer; /* PART_ANSWERED; its bytes are owned, by way of the blob if there is one */
    struct blob *blob;   /* pinned */
    struct slice left;   /* of it, while it is being used */
};

/* Where the answer for a key comes from; else the index of a part. */
enum { FROM_HERE = 0xffff, FROM_NOBODY = 0xfffe, FROM_OPEN = 0xfffd, PARTS_MAX = 0xfff0 };

struct gather {
    struct session *session;
    instant deadline;
    instant again;       /* what got no answer is asked anew: not before that, ... */
    uint64_t version;    /* ... unless there are other routes than these, by which it was asked */
    size_t limit, bytes; /* of answers */
    bool over;           /* they were longer */
    bool abandoned;      /* the client was told to wait no longer, or the node stops */
    bool here_begun;     /* the handler has run for what is here, maybe in vain */
    uint32_t under_way;
    struct part **parts;
    uint32_t parts_len, parts_cap;
    struct request words; /* room for a part of the request's words */
    uint8_t text[20];     /* a number as a word */
    /* For several.c and everywhere.c. */
    int answer;                  /* what kind of */
    bool lost;                   /* some keys nobody has answered for */
    size_t mark;                 /* in the replies, where this one begins */
    const struct request *whole; /* while the handler runs */
    uint32_t first_key;          /* word of it */
    uint32_t at;                 /* the key whose answer is used next */
    uint32_t keys;
    uint16_t from[]; /* by key, in the order of the request */
};

/* The one of the request at hand, or NULL. */
static inline struct gather *gather_of(const struct exec *x)
{
    return x->session->gather;
}
/* For so many keys, all FROM_OPEN, of a request of so many words. NULL when memory is short; answered. */
struct gather *gather_new(struct exec *x, uint32_t keys, uint32_t words);

/* One part more, for that member of the worker's routes. NULL: too many, or no memory. */
struct part *gather_part(struct exec *x, struct gather *g, uint16_t to);
/* What it is asked; a part whose call cannot be made, or not in time, stays PART_AGAIN. */
void gather_ask(struct exec *x, struct part *part, const struct request *rq, uint8_t flags);
/* The same with the body of a TRANSACTION. */
void gather_ask_body(struct exec *x, struct part *part, struct slice body);
/* True: the request is parked, until something has come. False: all there is to come has come, and when
 * `open` is still missing there is no time left for it. */
bool gather_waits(struct exec *x, struct gather *g, bool open);

/* Appends these bytes of a part's answer; large ones without copying them. */
void gather_put(struct exec *x, const struct part *part, struct slice bytes);
/* The first answer that is an error; len 0: none is. */
struct slice gather_error(const struct gather *g);
/* The sum of all answers, which are integers. False: one is not. */
bool gather_sum(const struct gather *g, int64_t *sum);

/* Answered, or the connection closes. Also when there is none. */
void gather_end(struct session *session);
/* Bytes of memory. */
size_t gather_holds(const struct session *session);

#endif
