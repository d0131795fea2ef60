/* fuzz_peer.c - a frame of a data link decodes into what it says, or is refused.
 *
 * Input: what came by a link. Each whole frame that is taken is written again as the very bytes it
 * came from, and so are the requests and greetings in it. */
#include <stdio.h>
#include <stdlib.h>

#include "protocol/peer.h"

#define HOLDS(ok) ((ok) ? (void)0 : (fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #ok), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

enum { WORDS = 64, ROOM = 1 << 16 };

static void check_request(struct slice body)
{
    static uint8_t room[ROOM];
    struct slice words[WORDS];
    struct request rq = {.argv = words, .argv_max = WORDS};
    uint64_t asker;

    switch (peer_request_decode(body, &rq, &asker)) {
    case PARSE_DONE: break;
    case PARSE_ARGV_FULL: HOLDS(rq.argc > WORDS && rq.argc <= body.len / 4); return;
    default: return;
    }
    HOLDS(rq.argc > 0 && peer_request_size(&rq) == body.len);
    if (body.len <= ROOM) {
        HOLDS(peer_put_request(room, &rq, asker) == room + body.len);
        HOLDS(memcmp(room, body.data, body.len) == 0);
    }
}

static void check_parts(struct slice body)
{
    struct slice part;

    while (peer_next_part(&body, &part))
        check_request(part);
}

static void check_greeting(const struct peer_header *h, struct slice body, const uint8_t *frame)
{
    uint8_t room[PEER_GREETING_MAX], *end = room;
    struct peer_challenge challenge;
    struct peer_hello hello;
    struct peer_proof proof;

    if (h->kind == PEER_HELLO) {
        HOLDS(peer_hello_decode(body, &hello));
        end = peer_put_hello(room, &hello);
    } else if (h->kind == PEER_CHALLENGE) {
        HOLDS(peer_challenge_decode(body, &challenge));
        end = peer_put_challenge(room, &challenge);
    } else {
        HOLDS(peer_proof_decode(body, &proof));
        end = peer_put_proof(room, &proof);
    }
    HOLDS((size_t)(end - room) == PEER_HEADER + body.len && memcmp(room, frame, (size_t)(end - room)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    uint8_t head[PEER_HEADER];
    struct peer_header h;
    struct slice body;

    while (peer_cut(in, len, &h, &body) == PEER_FRAME) {
        size_t all = PEER_LENGTH + (size_t)h.length;

        HOLDS(all <= len && body.data == in + PEER_HEADER && PEER_HEADER + body.len == all);
        HOLDS(peer_put_header(head, &h, body.len) == head + PEER_HEADER &&
              memcmp(head, in, PEER_HEADER) == 0);
        if (h.kind == PEER_REQUEST)
            check_request(body);
        else if (h.kind == PEER_TRANSACTION)
            check_parts(body);
        else if (h.kind <= PEER_PROOF)
            check_greeting(&h, body, in);
        in += all;
        len -= all;
    }
    return 0;
}
