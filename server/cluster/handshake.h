/* handshake.h - how two nodes make sure of each other before a data link is used.
 *
 *   asker                                      answerer
 *   HELLO version, cluster, id, nonce    ->
 *                                        <-    CHALLENGE version, id, nonce, key id, proof
 *   PROOF key id, proof                  ->
 *   requests ...
 *
 * A proof is BLAKE2b, keyed with a key of the cluster's ring, over who proves, the cluster, both ids and both
 * nonces. So each side shows that it holds the key, nothing that was heard before can be said again, and
 * nobody can send a proof back to who made it. The key is the one that the answerer uses; the asker must
 * have it in its ring, so keys can be changed while the cluster runs (cluster/keyring.h).
 *
 * This says who is at the other end when the link begins. It does not seal what follows: who can read or write
 * between the nodes can read and change what they say. */
#ifndef CORRAL_HANDSHAKE_H
#define CORRAL_HANDSHAKE_H

#include "cluster/keyring.h"
#include "cluster/node_id.h"
#include "protocol/peer.h"

/* What a node knows of itself and shares with the others: a copy, good in any thread. */
struct handshake_keys {
    uint8_t cluster[PEER_CLUSTER_BYTES];
    struct node_id self;
    unsigned len;
    struct {
        uint32_t id;
        uint8_t key[KEY_BYTES];
    } keys[KEYS_MAX]; /* the one in use first */
};

enum handshake_fault {
    HANDSHAKE_OK,
    HANDSHAKE_NO_FRAME, /* not what had to come now */
    HANDSHAKE_VERSION,
    HANDSHAKE_CLUSTER,
    HANDSHAKE_NODE, /* not who was expected, or this node itself */
    HANDSHAKE_KEY,  /* it names a key that is not in our ring, or there is none */
    HANDSHAKE_PROOF
};
const char *handshake_fault_text(enum handshake_fault fault);

/* One side of one handshake. */
struct handshake {
    struct node_id other; /* of the asker: whom it expects */
    uint8_t asker_nonce[PEER_NONCE_BYTES], answerer_nonce[PEER_NONCE_BYTES];
};

/* Each writes what is to be sent at *p, PEER_GREETING_MAX bytes at most, and moves it on. */

/* The asker: the first frame. h->other is set. */
void handshake_begin(struct handshake *h, const struct handshake_keys *keys, uint8_t **p);
/* The answerer, to the first frame. Sets h->other, who is not yet proven. */
enum handshake_fault handshake_greeted(struct handshake *h, const struct handshake_keys *keys,
                                       const struct peer_header *header, struct slice body, uint8_t **p);
/* The asker, to the answer: OK means that the other is proven. */
enum handshake_fault handshake_challenged(struct handshake *h, const struct handshake_keys *keys,
                                          const struct peer_header *header, struct slice body, uint8_t **p);
/* The answerer, to the last frame: OK means that the other is proven. */
enum handshake_fault handshake_proven(struct handshake *h, const struct handshake_keys *keys,
                                      const struct peer_header *header, struct slice body);

#endif
