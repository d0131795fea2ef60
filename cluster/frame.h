/* frame.h - the envelope of all that nodes tell each other: who says it, and
 * that nobody else has read or written it.
 *
 *   version:1 key id:4 sender:20 salt:8 counter:8 sealed content tag:16
 *
 * XChaCha20-Poly1305 (libsodium). The nonce is salt, counter and half of the
 * sender: the salt is random in each process, so it never comes twice. Sealed
 * along, without being sent: the cluster's identity, and of a stream's message
 * the challenge that its acceptor sent first, its direction and its number.
 *
 * Rules: (1) what was sealed in another cluster, with a key that is not in the
 * ring, or changed on the way, does not open, and two clusters with a common
 * key do not either. (2) A datagram opens once: counters of a sender must rise,
 * with a window of 64 for what was overtaken. (3) A stream's messages open once,
 * in order, on that stream. (4) Nothing that does not open changes anything. */
#ifndef CORRAL_FRAME_H
#define CORRAL_FRAME_H

#include "cluster/keyring.h"
#include "cluster/transport.h"

enum {
    FRAME_VERSION = 1,
    FRAME_OVERHEAD = 1 + 4 + NODE_ID_BYTES + 8 + 8 + 16,
    FRAME_WINDOW = 64,
    CHALLENGE_BYTES = 16
};

/* Minted when a cluster is; a new generation is a new cluster. */
struct cluster_identity {
    uint8_t id[16];
    uint32_t generation;
};

enum frame_verdict {
    FRAME_GOOD,
    FRAME_SHORT,
    FRAME_OTHER_VERSION,
    FRAME_UNKNOWN_KEY,
    FRAME_FORGED,   /* or of another cluster, which is the same to us */
    FRAME_REPLAYED, /* or later than the window allows */
    FRAME_OURS,     /* we sent it ourselves */
    FRAME_VERDICTS
};
const char *frame_verdict_name(enum frame_verdict);

struct frames;

/* The ring is only looked at, and may change meanwhile. `counter` must be higher
 * than any that this node has used: the wall clock in microseconds is. `senders`
 * is how many can be told apart; of more, some could be played to us again.
 * NULL without memory. */
struct frames *frames_new(const struct keyring *, const struct cluster_identity *, const struct node_id *self,
                          uint64_t counter, uint32_t senders);
void frames_free(struct frames **);

/* Writes content.len + FRAME_OVERHEAD bytes; 0 when there is no key. */
size_t frame_seal(struct frames *, struct slice content, uint8_t *out);
/* Writes at most frame.len - FRAME_OVERHEAD bytes. */
enum frame_verdict frame_open(struct frames *, struct slice frame, uint8_t *out, size_t *len,
                              struct node_id *sender);

/* One end of a stream. All zeroes but the challenge, and at which end we are. */
struct frame_stream {
    uint8_t challenge[CHALLENGE_BYTES];
    bool opener;
    uint64_t sent, received;
};
void frame_challenge(uint8_t challenge[CHALLENGE_BYTES]);
size_t frame_seal_on(struct frames *, struct frame_stream *, struct slice content, uint8_t *out);
enum frame_verdict frame_open_on(struct frames *, struct frame_stream *, struct slice frame, uint8_t *out,
                                 size_t *len, struct node_id *sender);

#endif
