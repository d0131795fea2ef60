#include "server/cluster/handshake.h"

#include <sodium.h>

#include "server/cluster/control.h"

enum prover { ASKER = 'a', ANSWERER = 'b' };

struct handshake_self handshake_self_of(const struct control *control)
{
    struct handshake_self self = {.id = *control_self(control), .secrets = control_secrets(control)};

    memcpy(self.cluster, control_identity(control)->id, sizeof self.cluster);
    return self;
}

const char *handshake_fault_text(enum handshake_fault fault)
{
    switch (fault) {
    case HANDSHAKE_OK: return "none";
    case HANDSHAKE_NO_FRAME: return "it speaks something else";
    case HANDSHAKE_VERSION: return "it speaks another version of the protocol";
    case HANDSHAKE_CLUSTER: return "it belongs to another cluster";
    case HANDSHAKE_NODE: return "it is another node than expected";
    case HANDSHAKE_KEY: return "it uses a key that is not in our ring";
    case HANDSHAKE_PROOF: return "its proof is wrong: it has another key under the same id";
    }
    return "?";
}

/* The same key seals datagrams in another way: what it is used for here begins with words of its own. */
static void prove(const struct handshake *h, const struct handshake_self *self, const uint8_t *key,
                  enum prover who, const struct node_id *asker, const struct node_id *answerer,
                  uint8_t proof[PEER_PROOF_BYTES])
{
    static const char purpose[] = "corral data link 1";
    uint8_t side = (uint8_t)who;
    crypto_generichash_state state;

    crypto_generichash_init(&state, key, KEY_BYTES, PEER_PROOF_BYTES);
    crypto_generichash_update(&state, (const uint8_t *)purpose, sizeof purpose);
    crypto_generichash_update(&state, &side, 1);
    crypto_generichash_update(&state, self->cluster, sizeof self->cluster);
    crypto_generichash_update(&state, asker->bytes, sizeof asker->bytes);
    crypto_generichash_update(&state, answerer->bytes, sizeof answerer->bytes);
    crypto_generichash_update(&state, h->asker_nonce, sizeof h->asker_nonce);
    crypto_generichash_update(&state, h->answerer_nonce, sizeof h->answerer_nonce);
    crypto_generichash_final(&state, proof, PEER_PROOF_BYTES);
}

void handshake_begin(struct handshake *h, const struct handshake_self *self, uint8_t **p)
{
    struct peer_hello hello = {.version = PEER_VERSION};

    randombytes_buf(h->asker_nonce, sizeof h->asker_nonce);
    memcpy(hello.cluster, self->cluster, sizeof hello.cluster);
    memcpy(hello.node, self->id.bytes, sizeof hello.node);
    memcpy(hello.nonce, h->asker_nonce, sizeof hello.nonce);
    *p = peer_put_hello(*p, &hello);
}

enum handshake_fault handshake_greeted(struct handshake *h, const struct handshake_self *self,
                                       const struct peer_header *header, struct slice body, uint8_t **p)
{
    struct peer_challenge challenge = {.version = PEER_VERSION};
    struct peer_hello hello;
    uint8_t key[KEY_BYTES];

    if (header->kind != PEER_HELLO || !peer_hello_decode(body, &hello))
        return HANDSHAKE_NO_FRAME;
    if (hello.version != PEER_VERSION)
        return HANDSHAKE_VERSION;
    if (memcmp(hello.cluster, self->cluster, sizeof hello.cluster) != 0)
        return HANDSHAKE_CLUSTER;
    if (memcmp(hello.node, self->id.bytes, sizeof hello.node) == 0)
        return HANDSHAKE_NODE;
    memcpy(h->other.bytes, hello.node, sizeof hello.node);
    memcpy(h->asker_nonce, hello.nonce, sizeof hello.nonce);
    randombytes_buf(h->answerer_nonce, sizeof h->answerer_nonce);
    memcpy(challenge.node, self->id.bytes, sizeof challenge.node);
    memcpy(challenge.nonce, h->answerer_nonce, sizeof challenge.nonce);
    secrets_current(self->secrets, &challenge.key, key);
    prove(h, self, key, ANSWERER, &h->other, &self->id, challenge.proof);
    sodium_memzero(key, sizeof key);
    *p = peer_put_challenge(*p, &challenge);
    return HANDSHAKE_OK;
}

enum handshake_fault handshake_challenged(struct handshake *h, const struct handshake_self *self,
                                          const struct peer_header *header, struct slice body, uint8_t **p)
{
    struct peer_challenge challenge;
    struct peer_proof proof;
    uint8_t expected[PEER_PROOF_BYTES];
    uint8_t key[KEY_BYTES];

    if (header->kind != PEER_CHALLENGE || !peer_challenge_decode(body, &challenge))
        return HANDSHAKE_NO_FRAME;
    if (challenge.version != PEER_VERSION)
        return HANDSHAKE_VERSION;
    if (memcmp(challenge.node, h->other.bytes, sizeof challenge.node) != 0)
        return HANDSHAKE_NODE;
    if (!secrets_find(self->secrets, challenge.key, key))
        return HANDSHAKE_KEY;
    memcpy(h->answerer_nonce, challenge.nonce, sizeof challenge.nonce);
    prove(h, self, key, ANSWERER, &self->id, &h->other, expected);
    proof.key = challenge.key;
    prove(h, self, key, ASKER, &self->id, &h->other, proof.proof);
    sodium_memzero(key, sizeof key);
    if (sodium_memcmp(expected, challenge.proof, sizeof expected) != 0)
        return HANDSHAKE_PROOF;
    *p = peer_put_proof(*p, &proof);
    return HANDSHAKE_OK;
}

enum handshake_fault handshake_proven(struct handshake *h, const struct handshake_self *self,
                                      const struct peer_header *header, struct slice body)
{
    struct peer_proof proof;
    uint8_t expected[PEER_PROOF_BYTES];
    uint8_t key[KEY_BYTES];

    if (header->kind != PEER_PROOF || !peer_proof_decode(body, &proof))
        return HANDSHAKE_NO_FRAME;
    if (!secrets_find(self->secrets, proof.key, key))
        return HANDSHAKE_KEY;
    prove(h, self, key, ASKER, &h->other, &self->id, expected);
    sodium_memzero(key, sizeof key);
    return sodium_memcmp(expected, proof.proof, sizeof expected) == 0 ? HANDSHAKE_OK : HANDSHAKE_PROOF;
}
