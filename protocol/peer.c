#include "protocol/peer.h"

/* ---- numbers ---- */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    return p + 4;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
    return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t n)
{
    if (n > 0)
        memcpy(p, bytes, n);
    return p + n;
}

/* ---- headers ---- */

/* What each kind may say besides its id and the epoch. */
static const struct shape {
    bool known, asks, timed, greets;
    size_t least, most; /* bytes of its body */
} shapes[] = {
    [PEER_HELLO] = {.known = true, .greets = true, .least = PEER_HELLO_BYTES, .most = PEER_HELLO_BYTES},
    [PEER_CHALLENGE] = {.known = true,
                        .greets = true,
                        .least = PEER_CHALLENGE_BYTES,
                        .most = PEER_CHALLENGE_BYTES},
    [PEER_PROOF] = {.known = true,
                    .greets = true,
                    .least = PEER_PROOF_BODY_BYTES,
                    .most = PEER_PROOF_BODY_BYTES},
    [PEER_REQUEST] =
        {.known = true, .asks = true, .timed = true, .least = PEER_REQUEST_HEAD + 4, .most = PEER_BODY_MAX},
    [PEER_TRANSACTION] =
        {.known = true, .asks = true, .timed = true, .least = PEER_REQUEST_HEAD + 8, .most = PEER_BODY_MAX},
    [PEER_ANSWER] = {.known = true, .least = 1, .most = PEER_BODY_MAX},
    [PEER_PARKED] = {.known = true, .timed = true},
    [PEER_FORGET] = {.known = true},
    [PEER_TAKE] = {.known = true, .asks = true, .timed = true, .most = PEER_BODY_MAX},
    [PEER_BATCH] = {.known = true, .asks = true, .timed = true, .most = PEER_BODY_MAX},
    [PEER_TAKEN] = {.known = true, .asks = true, .timed = true, .most = PEER_BODY_MAX},
};

static const struct shape *shape_of(unsigned kind)
{
    return kind < sizeof shapes / sizeof shapes[0] && shapes[kind].known ? &shapes[kind] : NULL;
}

bool peer_header_decode(const uint8_t *head, struct peer_header *out)
{
    const struct shape *shape = shape_of(head[4]);

    *out = (struct peer_header){.length = get32(head),
                                .kind = head[4],
                                .dialect = head[5],
                                .db = head[6],
                                .flags = head[7],
                                .id = get32(head + 8),
                                .time_ms = get32(head + 12),
                                .epoch = get64(head + 16)};
    if (shape == NULL || out->length < PEER_HEADER - PEER_LENGTH || peer_body(out) < shape->least ||
        peer_body(out) > shape->most)
        return false;
    if (shape->asks ? out->dialect > PEER_BINARY || out->flags > PEER_FLAGS
                    : (out->dialect | out->db | out->flags) != 0)
        return false;
    return (shape->timed || out->time_ms == 0) && (!shape->greets || (out->id == 0 && out->epoch == 0));
}

void peer_patch_length(uint8_t *head, size_t body)
{
    put32(head, (uint32_t)(PEER_HEADER - PEER_LENGTH + body));
}

uint8_t *peer_put_header(uint8_t *p, const struct peer_header *h, size_t body)
{
    peer_patch_length(p, body);
    p += PEER_LENGTH;
    *p++ = h->kind;
    *p++ = h->dialect;
    *p++ = h->db;
    *p++ = h->flags;
    p = put32(put32(p, h->id), h->time_ms);
    return put64(p, h->epoch);
}

enum peer_cut peer_cut(const uint8_t *data, size_t len, struct peer_header *h, struct slice *body)
{
    if (len < PEER_HEADER) {
        h->length = 0;
        return PEER_MORE;
    }
    if (!peer_header_decode(data, h))
        return PEER_BROKEN;
    if (len < PEER_LENGTH + (size_t)h->length)
        return PEER_MORE;
    *body = (struct slice){data + PEER_HEADER, peer_body(h)};
    return PEER_FRAME;
}

/* ---- requests ---- */

size_t peer_request_size(const struct request *rq)
{
    size_t size = PEER_REQUEST_HEAD + 4 * (size_t)rq->argc + rq->data.len;

    for (uint32_t i = 0; i < rq->argc; i++)
        size += rq->argv[i].len;
    return size;
}

uint8_t *peer_put_request(uint8_t *p, const struct request *rq, uint64_t asker)
{
    p = put32(put32(put64(p, asker), rq->argc), (uint32_t)rq->data.len);
    for (uint32_t i = 0; i < rq->argc; i++)
        p = put32(p, (uint32_t)rq->argv[i].len);
    for (uint32_t i = 0; i < rq->argc; i++)
        p = put_bytes(p, rq->argv[i].data, rq->argv[i].len);
    return put_bytes(p, rq->data.data, rq->data.len);
}

enum parse_status peer_request_decode(struct slice body, struct request *rq, uint64_t *asker)
{
    const uint8_t *lengths = body.data + PEER_REQUEST_HEAD, *at;
    uint64_t left;

    if (body.len < PEER_REQUEST_HEAD)
        return PARSE_BROKEN;
    *asker = get64(body.data);
    rq->argc = get32(body.data + 8);
    rq->data.len = get32(body.data + 12);
    left = body.len - PEER_REQUEST_HEAD;
    if (rq->argc == 0 || rq->argc > left / 4)
        return PARSE_BROKEN;
    if (rq->argc > rq->argv_max)
        return PARSE_ARGV_FULL;
    at = lengths + 4 * (size_t)rq->argc;
    left -= 4 * (uint64_t)rq->argc;
    for (uint32_t i = 0; i < rq->argc; i++) {
        uint32_t len = get32(lengths + 4 * (size_t)i);

        if (len > left)
            return PARSE_BROKEN;
        rq->argv[i] = (struct slice){at, len};
        at += len;
        left -= len;
    }
    rq->data.data = at;
    return rq->data.len == left ? PARSE_DONE : PARSE_BROKEN;
}

bool peer_next_part(struct slice *body, struct slice *part)
{
    uint32_t len;

    if (body->len < 4 || (len = get32(body->data)) > body->len - 4)
        return false;
    *part = (struct slice){body->data + 4, len};
    *body = (struct slice){part->data + len, body->len - 4 - len};
    return true;
}

/* ---- the handshake ---- */

static uint8_t *put_greeting(uint8_t *p, enum peer_kind kind, size_t body)
{
    struct peer_header h = {.kind = (uint8_t)kind};

    return peer_put_header(p, &h, body);
}

uint8_t *peer_put_hello(uint8_t *p, const struct peer_hello *hello)
{
    p = put32(put_greeting(p, PEER_HELLO, PEER_HELLO_BYTES), hello->version);
    p = put_bytes(p, hello->cluster, sizeof hello->cluster);
    p = put_bytes(p, hello->node, sizeof hello->node);
    return put_bytes(p, hello->nonce, sizeof hello->nonce);
}

uint8_t *peer_put_challenge(uint8_t *p, const struct peer_challenge *c)
{
    p = put32(put_greeting(p, PEER_CHALLENGE, PEER_CHALLENGE_BYTES), c->version);
    p = put_bytes(p, c->node, sizeof c->node);
    p = put_bytes(p, c->nonce, sizeof c->nonce);
    return put_bytes(put32(p, c->key), c->proof, sizeof c->proof);
}

uint8_t *peer_put_proof(uint8_t *p, const struct peer_proof *proof)
{
    p = put32(put_greeting(p, PEER_PROOF, PEER_PROOF_BODY_BYTES), proof->key);
    return put_bytes(p, proof->proof, sizeof proof->proof);
}

static const uint8_t *take_bytes(const uint8_t *p, void *to, size_t n)
{
    memcpy(to, p, n);
    return p + n;
}

bool peer_hello_decode(struct slice body, struct peer_hello *out)
{
    const uint8_t *p = body.data;

    if (body.len != PEER_HELLO_BYTES)
        return false;
    out->version = get32(p);
    p = take_bytes(p + 4, out->cluster, sizeof out->cluster);
    p = take_bytes(p, out->node, sizeof out->node);
    take_bytes(p, out->nonce, sizeof out->nonce);
    return true;
}

bool peer_challenge_decode(struct slice body, struct peer_challenge *out)
{
    const uint8_t *p = body.data;

    if (body.len != PEER_CHALLENGE_BYTES)
        return false;
    out->version = get32(p);
    p = take_bytes(p + 4, out->node, sizeof out->node);
    p = take_bytes(p, out->nonce, sizeof out->nonce);
    out->key = get32(p);
    take_bytes(p + 4, out->proof, sizeof out->proof);
    return true;
}

bool peer_proof_decode(struct slice body, struct peer_proof *out)
{
    if (body.len != PEER_PROOF_BODY_BYTES)
        return false;
    out->key = get32(body.data);
    take_bytes(body.data + 4, out->proof, sizeof out->proof);
    return true;
}
