#include "server/cluster/handshake.h"

#include <sodium.h>

enum prover { ASKER = 'a', ANSWERER = 'b' };

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

static const uint8_t *find_key(const struct handshake_keys *keys, uint32_t id)
{
    for (unsigned i = 0; i < keys->len; i++) {
        if (keys->keys[i].id == id)
            return keys->keys[i].key;
    }
    return NULL;
}

/* The same key seals datagrams in another way: what it is used for here begins with words of its own. */
static void prove(const struct handshake *h, const struct handshake_keys *keys, const uint8_t *key,
                  enum prover who, const struct node_id *asker, const struct node_id *answerer,
                  uint8_t proof[PEER_PROOF_BYTES])
{
    static const char purpose[] = "corral data link 1";
    uint8_t side = (uint8_t)who;
    crypto_generichash_state state;

    crypto_generichash_init(&state, key, KEY_BYTES, PEER_PROOF_BYTES);
    crypto_generichash_update(&state, (const uint8_t *)purpose, sizeof purpose);
    crypto_generichash_update(&state, &side, 1);
    crypto_generichash_update(&state, keys->cluster, sizeof keys->cluster);
    crypto_generichash_update(&state, asker->bytes, sizeof asker->bytes);
    crypto_generichash_update(&state, answerer->bytes, sizeof answerer->bytes);
    crypto_generichash_update(&state, h->asker_nonce, sizeof h->asker_nonce);
    crypto_generichash_update(&state, h->answerer_nonce, sizeof h->answerer_nonce);
    crypto_generichash_final(&state, proof, PEER_PROOF_BYTES);
}

void handshake_begin(struct handshake *h, const struct handshake_keys *keys, uint8_t **p)
{
    struct peer_hello hello = {.version = PEER_VERSION};

    randombytes_buf(h->asker_nonce, sizeof h->asker_nonce);
    memcpy(hello.cluster, keys->cluster, sizeof hello.cluster);
    memcpy(hello.node, keys->self.bytes, sizeof hello.node);
    memcpy(hello.nonce, h->asker_nonce, sizeof hello.nonce);
    *p = peer_put_hello(*p, &hello);
}

enum handshake_fault handshake_greeted(struct handshake *h, const struct handshake_keys *keys,
                                       const struct peer_header *header, struct slice body, uint8_t **p)
{
    struct peer_challenge challenge = {.version = PEER_VERSION};
    struct peer_hello hello;

    if (header->kind != PEER_HELLO || !peer_hello_decode(body, &hello))
        return HANDSHAKE_NO_FRAME;
    if (hello.version != PEER_VERSION)
        return HANDSHAKE_VERSION;
    if (memcmp(hello.cluster, keys->cluster, sizeof hello.cluster) != 0)
        return HANDSHAKE_CLUSTER;
    if (memcmp(hello.node, keys->self.bytes, sizeof hello.node) == 0)
        return HANDSHAKE_NODE;
    if (keys->len == 0)
        return HANDSHAKE_KEY;
    memcpy(h->other.bytes, hello.node, sizeof hello.node);
    memcpy(h->asker_nonce, hello.nonce, sizeof hello.nonce);
    randombytes_buf(h->answerer_nonce, sizeof h->answerer_nonce);
    memcpy(challenge.node, keys->self.bytes, sizeof challenge.node);
    memcpy(challenge.nonce, h->answerer_nonce, sizeof challenge.nonce);
    challenge.key = keys->keys[0].id;
    prove(h, keys, keys->keys[0].key, ANSWERER, &h->other, &keys->self, challenge.proof);
    *p = peer_put_challenge(*p, &challenge);
    return HANDSHAKE_OK;
}

enum handshake_fault handshake_challenged(struct handshake *h, const struct handshake_keys *keys,
                                          const struct peer_header *header, struct slice body, uint8_t **p)
{
    struct peer_challenge challenge;
    struct peer_proof proof;
    uint8_t expected[PEER_PROOF_BYTES];
    const uint8_t *key;

    if (header->kind != PEER_CHALLENGE || !peer_challenge_decode(body, &challenge))
        return HANDSHAKE_NO_FRAME;
    if (challenge.version != PEER_VERSION)
        return HANDSHAKE_VERSION;
    if (memcmp(challenge.node, h->other.bytes, sizeof challenge.node) != 0)
        return HANDSHAKE_NODE;
    if ((key = find_key(keys, challenge.key)) == NULL)
        return HANDSHAKE_KEY;
    memcpy(h->answerer_nonce, challenge.nonce, sizeof challenge.nonce);
    prove(h, keys, key, ANSWERER, &keys->self, &h->other, expected);
    if (sodium_memcmp(expected, challenge.proof, sizeof expected) != 0)
        return HANDSHAKE_PROOF;
    proof.key = challenge.key;
    prove(h, keys, key, ASKER, &keys->self, &h->other, proof.proof);
    *p = peer_put_proof(*p, &proof);
    return HANDSHAKE_OK;
}

enum handshake_fault handshake_proven(struct handshake *h, const struct handshake_keys *keys,
                                      const struct peer_header *header, struct slice body)
{
    struct peer_proof proof;
    uint8_t expected[PEER_PROOF_BYTES];
    const uint8_t *key;

    if (header->kind != PEER_PROOF || !peer_proof_decode(body, &proof))
        return HANDSHAKE_NO_FRAME;
    if ((key = find_key(keys, proof.key)) == NULL)
        return HANDSHAKE_KEY;
    prove(h, keys, key, ASKER, &h->other, &keys->self, expected);
    return sodium_memcmp(expected, proof.proof, sizeof expected) == 0 ? HANDSHAKE_OK : HANDSHAKE_PROOF;
}
