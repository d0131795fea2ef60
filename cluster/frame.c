#include "cluster/frame.h"

#include <sodium.h>
#include <stdlib.h>

#include "server/check.h"

enum {
    HEADER = FRAME_OVERHEAD - crypto_aead_xchacha20poly1305_ietf_ABYTES,
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    AT_KEY = 1,
    AT_SENDER = AT_KEY + 4,
    AT_SALT = AT_SENDER + NODE_ID_BYTES,
    AT_COUNTER = AT_SALT + 8,
    STREAM_PART = CHALLENGE_BYTES + 1 + 8,
    ALONG = HEADER + 16 + 4 + 1 + STREAM_PART,
    WAYS = 4 /* senders that may share a hash before one is forgotten */
};
_Static_assert(AT_COUNTER + 8 == HEADER, "");
_Static_assert(NONCE == 8 + 8 + 8, "");

struct sender {
    struct node_id id;
    uint64_t highest; /* 0 is nobody */
    uint64_t window;  /* bit i: highest - i was there */
};

struct frames {
    const struct keyring *ring;
    struct cluster_identity identity;
    struct node_id self;
    uint8_t salt[8];
    uint64_t counter;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    uint32_t sets; /* a power of two */
    struct sender *senders;
};

const char *frame_verdict_name(enum frame_verdict verdict)
{
    static const char *const names[FRAME_VERDICTS] = {"good",   "short",    "other-version", "unknown-key",
                                                      "forged", "replayed", "ours"};

    return names[verdict];
}

struct frames *frames_new(const struct keyring *ring, const struct cluster_identity *identity,
                          const struct node_id *self, uint64_t counter, uint32_t senders)
{
    struct frames *f = calloc(1, sizeof *f);

    if (f == NULL)
        return NULL;
    f->ring = ring;
    f->identity = *identity;
    f->self = *self;
    f->counter = counter;
    for (f->sets = 1; f->sets < senders / WAYS && f->sets < UINT32_C(1) << 24;)
        f->sets *= 2;
    if ((f->senders = calloc((size_t)f->sets * WAYS, sizeof *f->senders)) == NULL)
        frames_free(&f);
    else {
        randombytes_buf(f->salt, sizeof f->salt);
        randombytes_buf(f->hash_key, sizeof f->hash_key);
    }
    return f;
}

void frames_free(struct frames **f)
{
    if (*f == NULL)
        return;
    free((*f)->senders);
    free(*f);
    *f = NULL;
}

static void put_number(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static uint64_t get_number(const uint8_t *from, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

/* What is sealed along without being secret, part of it without being sent. */
static size_t write_along(const struct frames *f, const uint8_t *header, const struct frame_stream *s,
                          bool from_opener, uint64_t number, uint8_t along[ALONG])
{
    uint8_t *to = along + HEADER + 20;

    memcpy(along, header, HEADER);
    memcpy(along + HEADER, f->identity.id, 16);
    put_number(along + HEADER + 16, f->identity.generation, 4);
    *to++ = s != NULL;
    if (s == NULL)
        return ALONG - STREAM_PART;
    memcpy(to, s->challenge, CHALLENGE_BYTES);
    to[CHALLENGE_BYTES] = from_opener;
    put_number(to + CHALLENGE_BYTES + 1, number, 8);
    return ALONG;
}

static void write_nonce(const uint8_t *header, uint8_t nonce[NONCE])
{
    memcpy(nonce, header + AT_SALT, 16);
    memcpy(nonce + 16, header + AT_SENDER, 8);
}

static size_t seal(struct frames *f, struct frame_stream *s, struct slice content, uint8_t *out)
{
    uint8_t along[ALONG], nonce[NONCE];
    unsigned long long sealed;
    uint32_t key_id;
    const uint8_t *key = keyring_current(f->ring, &key_id);
    size_t len;

    if (key == NULL)
        return 0;
    out[0] = FRAME_VERSION;
    put_number(out + AT_KEY, key_id, 4);
    memcpy(out + AT_SENDER, f->self.bytes, NODE_ID_BYTES);
    memcpy(out + AT_SALT, f->salt, 8);
    put_number(out + AT_COUNTER, ++f->counter, 8);
    len = write_along(f, out, s, s != NULL && s->opener, s != NULL ? s->sent++ : 0, along);
    write_nonce(out, nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + HEADER, &sealed, content.data, content.len, along, len,
                                               NULL, nonce, key);
    CHECK(sealed == content.len + FRAME_OVERHEAD - HEADER);
    return HEADER + (size_t)sealed;
}

static enum frame_verdict open_sealed(struct frames *f, const struct frame_stream *s, struct slice frame,
                                      uint8_t *out, size_t *len, struct node_id *sender)
{
    uint8_t along[ALONG], nonce[NONCE];
    unsigned long long opened;
    const uint8_t *key;
    size_t along_len;

    if (frame.len < FRAME_OVERHEAD)
        return FRAME_SHORT;
    if (frame.data[0] != FRAME_VERSION)
        return FRAME_OTHER_VERSION;
    if ((key = keyring_find(f->ring, (uint32_t)get_number(frame.data + AT_KEY, 4))) == NULL)
        return FRAME_UNKNOWN_KEY;
    along_len = write_along(f, frame.data, s, s != NULL && !s->opener, s != NULL ? s->received : 0, along);
    write_nonce(frame.data, nonce);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, &opened, NULL, frame.data + HEADER,
                                                   frame.len - HEADER, along, along_len, nonce, key) != 0)
        return FRAME_FORGED;
    *len = (size_t)opened;
    memcpy(sender->bytes, frame.data + AT_SENDER, sizeof sender->bytes);
    return node_id_equals(sender, &f->self) ? FRAME_OURS : FRAME_GOOD;
}

/* ---- datagrams: once each --------------------------------------------- */

/* The one of that id; else the one that was silent, or started, longest ago. */
static struct sender *sender_of(struct frames *f, const struct node_id *id)
{
    uint8_t hash[crypto_shorthash_BYTES];
    struct sender *set, *oldest;

    crypto_shorthash(hash, id->bytes, sizeof id->bytes, f->hash_key);
    set = oldest = &f->senders[(get_number(hash, 4) & (f->sets - 1)) * WAYS];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].highest != 0 && node_id_equals(&set[i].id, id))
            return &set[i];
        if (set[i].highest < oldest->highest)
            oldest = &set[i];
    }
    *oldest = (struct sender){.id = *id};
    return oldest;
}

static bool is_fresh(struct sender *s, uint64_t counter)
{
    uint64_t behind;

    if (counter > s->highest) {
        uint64_t ahead = counter - s->highest;
        s->window = ahead < FRAME_WINDOW && s->highest != 0 ? s->window << ahead | 1 : 1;
        s->highest = counter;
        return true;
    }
    behind = s->highest - counter;
    if (counter == 0 || behind >= FRAME_WINDOW || s->window >> behind & 1)
        return false;
    s->window |= UINT64_C(1) << behind;
    return true;
}

size_t frame_seal(struct frames *f, struct slice content, uint8_t *out)
{
    return seal(f, NULL, content, out);
}

enum frame_verdict frame_open(struct frames *f, struct slice frame, uint8_t *out, size_t *len,
                              struct node_id *sender)
{
    enum frame_verdict verdict = open_sealed(f, NULL, frame, out, len, sender);

    if (verdict == FRAME_GOOD && !is_fresh(sender_of(f, sender), get_number(frame.data + AT_COUNTER, 8)))
        return FRAME_REPLAYED;
    return verdict;
}

/* ---- streams: in order ------------------------------------------------ */

void frame_challenge(uint8_t challenge[CHALLENGE_BYTES])
{
    randombytes_buf(challenge, CHALLENGE_BYTES);
}

size_t frame_seal_on(struct frames *f, struct frame_stream *s, struct slice content, uint8_t *out)
{
    return seal(f, s, content, out);
}

enum frame_verdict frame_open_on(struct frames *f, struct frame_stream *s, struct slice frame, uint8_t *out,
                                 size_t *len, struct node_id *sender)
{
    enum frame_verdict verdict = open_sealed(f, s, frame, out, len, sender);

    s->received += verdict == FRAME_GOOD;
    return verdict;
}
