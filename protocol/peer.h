/* peer.h - what nodes say to each other on a data link: frames <-> structs. Pure.
 *
 * Numbers are little-endian. A frame:
 *
 *   4 bytes that follow these   1 kind   1 dialect   1 database   1 flags   4 id   4 time   8 epoch   body
 *
 *   id     of the call: chosen by who asks, the same in all that is said about it
 *   time   request: milliseconds of patience left;  PARKED: for how long it may wait, all ones: nobody knows
 *   epoch  of the sender's view
 *   body of a REQUEST: 8 asker   4 argc   4 bytes of data   argc * 4 bytes of each word   the words   the
 * data body of a TRANSACTION: as many times as it has parts: 4 bytes of it   a REQUEST's body body of an
 * ANSWER: 1 status, then the reply as the client is to get it body of a HELLO: 4 version   16 cluster   20
 * node id   32 nonce body of a CHALLENGE: 4 version   20 node id   32 nonce   4 key id   32 proof body of a
 * PROOF: 4 key id   32 proof of a PARKED, of a FORGET: none; of others: their own
 *
 * The asker tells the clients of one link apart; it names nobody outside of it.
 * What a kind does not use in the header is 0. Every frame has one encoding, and
 * nothing else decodes. */
#ifndef CORRAL_PEER_H
#define CORRAL_PEER_H

#include "protocol/request.h"

enum {
    PEER_VERSION = 1,
    PEER_HEADER = 24,
    PEER_LENGTH = 4, /* of these, the bytes that do not count themselves */
    PEER_CLUSTER_BYTES = 16,
    PEER_NODE_BYTES = 20,
    PEER_NONCE_BYTES = 32,
    PEER_PROOF_BYTES = 32,
    PEER_HELLO_BYTES = 4 + PEER_CLUSTER_BYTES + PEER_NODE_BYTES + PEER_NONCE_BYTES,
    PEER_CHALLENGE_BYTES = 4 + PEER_NODE_BYTES + PEER_NONCE_BYTES + 4 + PEER_PROOF_BYTES,
    PEER_PROOF_BODY_BYTES = 4 + PEER_PROOF_BYTES,
    PEER_GREETING_MAX = PEER_HEADER + PEER_CHALLENGE_BYTES, /* the longest frame of a handshake */
    PEER_REQUEST_HEAD = 16,
};
#define PEER_BODY_MAX ((size_t)1 << 30)
#define PEER_FOR_EVER UINT32_MAX /* PARKED: nobody knows for how long */

enum peer_kind {
    PEER_HELLO = 1, /* the handshake: see server/cluster/handshake.h */
    PEER_CHALLENGE,
    PEER_PROOF,
    PEER_REQUEST,
    PEER_ANSWER,
    PEER_PARKED,      /* about a call: it waits at the other side, so have patience */
    PEER_FORGET,      /* about a call: nobody waits for the answer any more */
    PEER_TRANSACTION, /* several requests to be executed as one */
    PEER_TAKE = 16,   /* server/cluster/handover.h */
    PEER_BATCH,
    PEER_TAKEN,
};

enum peer_dialect { PEER_RESP2, PEER_RESP3, PEER_TEXT, PEER_BINARY };

enum peer_flags {
    PEER_HOPS = 3,     /* mask: how often it was passed on */
    PEER_NO_TOUCH = 4, /* leaves no trace for the policy */
    PEER_LOCAL = 8,    /* about what this node holds, whoever holds the key: DBSIZE, FLUSHALL, PUBLISH */
    PEER_FLAGS = 15,
};

enum peer_status {
    PEER_OK,
    PEER_NOT_MINE,   /* not served here, and not executed */
    PEER_OVERLOADED, /* not executed */
    PEER_CLOSING,    /* the same */
    PEER_LOST,       /* passed on, and lost there: may have been executed */
    PEER_STATUSES
};

struct peer_header {
    uint32_t length; /* of what follows the first four bytes */
    uint8_t kind, dialect, db, flags;
    uint32_t id, time_ms;
    uint64_t epoch;
};

/* Bytes of its body. */
static inline size_t peer_body(const struct peer_header *h)
{
    return h->length - (PEER_HEADER - PEER_LENGTH);
}

/* `head`: PEER_HEADER bytes. False: no frame begins there. */
bool peer_header_decode(const uint8_t *head, struct peer_header *out);
/* Writes PEER_HEADER bytes and returns the first behind them; the length is put in for that body. */
uint8_t *peer_put_header(uint8_t *p, const struct peer_header *header, size_t body);
/* The same, when what was said in the header about the body turns out to be wrong. */
void peer_patch_length(uint8_t *head, size_t body);

enum peer_cut {
    PEER_FRAME, /* a whole one */
    PEER_MORE,  /* the beginning of one; header->length says of how long a one, unless it is 0 */
    PEER_BROKEN /* nothing that can be */
};
/* The frame at the beginning of these bytes. */
enum peer_cut peer_cut(const uint8_t *data, size_t len, struct peer_header *header, struct slice *body);

/* A REQUEST's body: how long it is, and its bytes; the caller has the room. */
size_t peer_request_size(const struct request *rq);
uint8_t *peer_put_request(uint8_t *p, const struct request *rq, uint64_t asker);
/* Words and data point into the body. PARSE_DONE; PARSE_ARGV_FULL: argv is too small, argc says what is
 * needed; PARSE_BROKEN: it is none. */
enum parse_status peer_request_decode(struct slice body, struct request *rq, uint64_t *asker);
/* The next part of a TRANSACTION's body, which is advanced beyond it. False: there is none, or it is cut off.
 */
bool peer_next_part(struct slice *body, struct slice *part);

struct peer_hello {
    uint32_t version;
    uint8_t cluster[PEER_CLUSTER_BYTES], node[PEER_NODE_BYTES], nonce[PEER_NONCE_BYTES];
};
struct peer_challenge {
    uint32_t version;
    uint8_t node[PEER_NODE_BYTES], nonce[PEER_NONCE_BYTES];
    uint32_t key;
    uint8_t proof[PEER_PROOF_BYTES];
};
struct peer_proof {
    uint32_t key;
    uint8_t proof[PEER_PROOF_BYTES];
};
/* Whole frames; the caller has PEER_GREETING_MAX bytes of room. */
uint8_t *peer_put_hello(uint8_t *p, const struct peer_hello *hello);
uint8_t *peer_put_challenge(uint8_t *p, const struct peer_challenge *challenge);
uint8_t *peer_put_proof(uint8_t *p, const struct peer_proof *proof);
/* Bodies, whose header has said what they are. False: they are none. */
bool peer_hello_decode(struct slice body, struct peer_hello *out);
bool peer_challenge_decode(struct slice body, struct peer_challenge *out);
bool peer_proof_decode(struct slice body, struct peer_proof *out);

#endif
