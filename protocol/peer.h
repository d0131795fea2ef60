/* peer.h - what nodes say to each other on a data link: frames <-> structs. Pure.
 *
 * Numbers are little-endian. A frame:
 *
 *   4 bytes that follow these   1 kind   1 dialect   1 database   1 flags   4 id   4 time   8 epoch   body
 *
 *   id     of the call: chosen by who asks, the same in all that is said about it
 *   time   request: milliseconds of patience left;  PARKED: for how long it may wait
 *   body of a REQUEST: 4 argc   4 bytes of data   argc * 4 bytes of each word   the words   the data
 *   body of an ANSWER: 1 status, then the reply as the client is to get it
 *
 * Every frame has one encoding, and nothing else decodes. */
#ifndef CORRAL_PEER_H
#define CORRAL_PEER_H

#include "protocol/request.h"

enum { PEER_VERSION = 1, PEER_HEADER = 24 };

enum peer_kind {
    PEER_HELLO = 1, /* the handshake: see server/cluster/handshake.h */
    PEER_CHALLENGE,
    PEER_PROOF,
    PEER_REQUEST,
    PEER_ANSWER,
    PEER_PARKED,      /* about a call: it waits at the other side, so have patience */
    PEER_FORGET,      /* about a call: nobody waits for the answer any more */
    PEER_TRANSACTION, /* several requests to be executed as one: a body of REQUEST bodies, each with its
                         length before it */
    PEER_TAKE = 16,   /* hand-over.h */
    PEER_BATCH,
    PEER_TAKEN,
};

enum peer_dialect { PEER_RESP2, PEER_RESP3, PEER_TEXT, PEER_BINARY };

enum peer_flags {
    PEER_HOPS = 3,     /* mask: how often it was passed on */
    PEER_NO_TOUCH = 4, /* leaves no trace for the policy */
    PEER_LOCAL = 8,    /* about what this node holds, whoever holds the key: DBSIZE, FLUSHALL, PUBLISH */
    PEER_DEPUTY = 16,  /* in place of a holder that cannot be reached */
};

enum peer_status { PEER_OK, PEER_NOT_MINE, PEER_OVERLOADED, PEER_CLOSING };

struct peer_header {
    uint32_t length; /* of what follows the first four bytes */
    uint8_t kind, dialect, db, flags;
    uint32_t id, time_ms;
    uint64_t epoch;
};

#endif
