/* memcache_meta.h - what the flags of memcached's meta commands ask for, and
 * how their replies are written.
 *
 *   mg <key> <flag>*            get             md <key> <flag>*   delete
 *   ms <key> <bytes> <flag>*    set             ma <key> <flag>*   arithmetic
 *   me <key> [b]                debug           mn                 no-op
 *
 * A flag is one letter with an optional token glued to it ("T30"). Follows
 * memcached's protocol.txt and the checks and error texts of memcached 1.6.18;
 * the flags E and x are those of later 1.6 versions.
 *
 * Pure, like everything here. memcache_text.h cuts the line into words. */
#ifndef CORRAL_MEMCACHE_META_H
#define CORRAL_MEMCACHE_META_H

#include "protocol/request.h"

enum {
    META_WORDS_MAX = 19,  /* words on a line, verb and key included */
    META_FLAGS_MAX = 17,  /* hence flags */
    META_OPAQUE_MAX = 32, /* bytes, the letter O included */
    META_KEY_ROOM = 250,  /* bytes for a decoded key */
};

enum meta_verb { META_GET, META_SET, META_DELETE, META_ARITHMETIC, META_DEBUG, META_NOOP };

struct meta_request {
    enum meta_verb verb;
    struct slice key;    /* as stored: base64 is undone. Empty for mn */
    struct slice opaque; /* the whole token, "O123"; empty when none */

    uint64_t cas;          /* C */
    uint64_t cas_new;      /* E: what the item's CAS shall become */
    uint64_t delta;        /* D; 1 when not given */
    uint64_t initial;      /* J */
    int64_t exptime;       /* T: seconds as the client wrote them, */
    int64_t vivify;        /* N: relative, absolute or negative */
    int64_t recache;       /* R: likewise */
    uint32_t client_flags; /* F */

    char mode;        /* M as written, valid for the verb; 0 when not given */
    bool key_binary;  /* b: the key came as base64 */
    bool quiet;       /* q */
    bool want_value;  /* v */
    bool no_bump;     /* u */
    bool invalidate;  /* I */
    bool empty_value; /* x */
    bool has_cas, has_cas_new, has_exptime, has_vivify, has_recache, has_client_flags;

    /* Every flag's letter in the order of the request: replies follow it, and
     * "t" before "T" asks for the old time, after it for the new. */
    uint8_t flag_count;
    uint8_t flags[META_FLAGS_MAX];
};

/* Is the first word one of the verbs above? */
bool meta_verb_of(struct slice word, enum meta_verb *out);

/* Decodes request->argv, whose verb meta_verb_of() found. NULL when it is well
 * formed; else the reply line, without \r\n; nothing of *out may be used then,
 * and q does not silence it. key_room takes the decoded key when b is given;
 * key points into it then, else into argv. For `ms` call it even when the
 * parser refused the value as too large: *out names the item to remove. */
const char *meta_decode(const struct request *request, enum meta_verb verb, uint8_t key_room[META_KEY_ROOM],
                        struct meta_request *out);

/* Base64 (RFC 4648 §4, padded) as memcached reads it: bytes outside the
 * alphabet are skipped, what remains must be whole groups of four. Decoding
 * needs room for 3/4 of len rounded up to threes; returns 0 when it is not
 * base64. `to` may be `from`'s own bytes. */
size_t base64_decode(uint8_t *to, struct slice from);
#define BASE64_LEN(len) (((size_t)(len) + 2) / 3 * 4)
size_t base64_encode(uint8_t *to, struct slice from); /* writes BASE64_LEN(len) bytes */

/* Replies: a code, then any number of flags, then the end of the line.
 *
 *     p = meta_put_va(p, 5);  p = meta_put_u64(p, 'c', cas);  p = meta_put_end(p);
 *
 * Each writes at p and returns the first free byte. META_REPLY_ROOM is enough
 * for any line the flags of one request can ask for. */
#define META_REPLY_ROOM 1024

uint8_t *meta_put_code(uint8_t *p, const char *code);             /* two letters: HD EN NS EX NF MN */
uint8_t *meta_put_me(uint8_t *p, struct slice key, bool binary);  /* ME <key>; the caller adds " exp=..." */
uint8_t *meta_put_va(uint8_t *p, size_t bytes);                   /* VA <bytes>; data follows the line */
uint8_t *meta_put_u64(uint8_t *p, char flag, uint64_t v);         /* " c123" */
uint8_t *meta_put_i64(uint8_t *p, char flag, int64_t v);          /* " t-1" */
uint8_t *meta_put_mark(uint8_t *p, char flag);                    /* " W" */
uint8_t *meta_put_opaque(uint8_t *p, struct slice opaque);        /* " O123" */
uint8_t *meta_put_key(uint8_t *p, struct slice key, bool binary); /* " kfoo" or " kZm9v b" */
uint8_t *meta_put_end(uint8_t *p);                                /* \r\n */

#endif
