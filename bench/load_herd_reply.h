/* load_herd_reply.h - one answer of a server, in words all dialects share.
 *
 * Unlike load_reply.h, which counts answers as they stream by, this one wants
 * to know what they say: a value, a token, who else is filling. It reads whole
 * answers from a buffer, and says "more" until one is whole. */
#ifndef CORRAL_BENCH_LOAD_HERD_REPLY_H
#define CORRAL_BENCH_LOAD_HERD_REPLY_H

#include "protocol/bytes.h"

enum herd_dialect { HERD_RESP, HERD_MEMCACHE }; /* text and meta share a port and a grammar of lines */

enum herd_reply_kind {
    HERD_OK,         /* done as asked */
    HERD_NOT_STORED, /* understood, and nothing was changed */
    HERD_NOTHING,    /* null, missing */
    HERD_NUMBER,
    HERD_VALUE,
    HERD_LEASE,  /* from GETLEASE, lease-get, or mg with one of W, X, Z */
    HERD_REFUSED /* an error in the server's words: `text` */
};

enum herd_lease_state {
    HERD_LIVE,
    HERD_OUTDATED, /* the value is old, and the server says so */
    HERD_FILLING,  /* somebody else fetches */
    HERD_GRANTED,  /* the asker may fetch */
    HERD_NEGATIVE  /* known not to exist */
};

struct herd_reply {
    enum herd_reply_kind kind;
    bool has_value;
    struct slice value; /* a window into what was taken */
    struct slice text;  /* of HERD_REFUSED, and of a broken answer the line that broke it */
    int64_t number;
    /* of HERD_LEASE: */
    enum herd_lease_state state;
    uint64_t token; /* what the fill must carry; for mg the cas. 0: none */
};

enum herd_take { HERD_TAKEN, HERD_MORE, HERD_BROKEN };

/* Takes one answer from the front of `in`, or leaves it alone. */
enum herd_take herd_reply_take(enum herd_dialect dialect, struct slice *in, struct herd_reply *reply);

#endif
