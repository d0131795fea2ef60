/* memcache_meta.c - the flags of memcached's meta commands, and their replies.
 *
 * Which of several mistakes is reported follows memcached: a repeated or
 * unknown letter ends the reading at once, of bad tokens the last one counts,
 * and the mode and the opaque are looked at after all that. */
#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"

static const char bad_line[] = "CLIENT_ERROR bad command line format";
static const char bad_token[] = "CLIENT_ERROR bad token in command line format";

bool meta_verb_of(struct slice word, enum meta_verb *out)
{
    if (word.len != 2 || word.data[0] != 'm')
        return false;
    switch (word.data[1]) {
    case 'g': *out = META_GET; return true;
    case 's': *out = META_SET; return true;
    case 'd': *out = META_DELETE; return true;
    case 'a': *out = META_ARITHMETIC; return true;
    case 'e': *out = META_DEBUG; return true;
    case 'n': *out = META_NOOP; return true;
    }
    return false;
}

static bool decode_key(struct meta_request *out, uint8_t *key_room)
{
    size_t len = base64_decode(key_room, out->key);

    out->key = (struct slice){key_room, len};
    out->key_binary = true;
    return len != 0;
}

/* One flag. Errors of tokens go to *error and reading goes on; false when it cannot. */
static bool decode_flag(struct slice word, uint8_t *key_room, struct meta_request *out, const char **error)
{
    struct slice token = {word.data + 1, word.len - 1};

    switch (word.data[0]) {
    case 'b':
        if (!decode_key(out, key_room))
            *error = "CLIENT_ERROR error decoding key";
        break;
    case 'N':
        out->has_vivify = true;
        if (!memcache_i64(token, &out->vivify))
            *error = bad_token;
        break;
    case 'T':
        out->has_exptime = true;
        if (!memcache_i64(token, &out->exptime))
            *error = bad_token;
        break;
    case 'R':
        out->has_recache = true;
        if (!memcache_i64(token, &out->recache))
            *error = bad_token;
        break;
    case 'C':
        out->has_cas = true;
        if (!memcache_u64(token, &out->cas))
            *error = bad_token;
        break;
    case 'E':
        out->has_cas_new = true;
        if (!memcache_u64(token, &out->cas_new))
            *error = bad_token;
        break;
    case 'F':
        out->has_client_flags = true;
        if (!memcache_u32(token, &out->client_flags) && *error == NULL)
            *error = bad_line; /* memcached sets no text of its own here */
        break;
    case 'M':
        if (word.len == 2 && word.data[1] != '\0')
            out->mode = (char)word.data[1];
        else
            *error = "CLIENT_ERROR incorrect length for M token";
        break;
    case 'J':
        if (!memcache_u64(token, &out->initial))
            *error = "CLIENT_ERROR invalid numeric initial value";
        break;
    case 'D':
        if (!memcache_u64(token, &out->delta))
            *error = "CLIENT_ERROR invalid numeric delta value";
        break;
    case 'O': out->opaque = word; break;
    case 'v': out->want_value = true; break;
    case 'u': out->no_bump = true; break;
    case 'q': out->quiet = true; break;
    case 'I': out->invalidate = true; break;
    case 'x': out->empty_value = true; break;
    case 'P': /* for proxies on the way: not ours, never an error */
    case 'L':
    case 'k': /* asked for by standing in out->flags */
    case 's':
    case 't':
    case 'c':
    case 'f':
    case 'l':
    case 'h': break;
    default: *error = "CLIENT_ERROR invalid flag"; return false;
    }
    return true;
}

static const char *decode_flags(const struct slice *words, uint32_t count, uint8_t *key_room,
                                struct meta_request *out)
{
    uint64_t letters[2] = {0, 0};
    const char *error = NULL;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t letter = words[i].data[0];

        if (letter >= 127 || (letters[letter >> 6] >> (letter & 63) & 1) != 0)
            return "CLIENT_ERROR duplicate flag";
        letters[letter >> 6] |= (uint64_t)1 << (letter & 63);
        if (!decode_flag(words[i], key_room, out, &error))
            return error;
        out->flags[out->flag_count++] = letter;
    }
    return error;
}

static const char *mode_error(enum meta_verb verb, char mode)
{
    if (mode == 0)
        return NULL;
    if (verb == META_SET && strchr("EAPRS", mode) == NULL)
        return "CLIENT_ERROR invalid mode for ms M token";
    if (verb == META_ARITHMETIC && strchr("I+D-", mode) == NULL)
        return "CLIENT_ERROR invalid mode for ma M token";
    return NULL;
}

/* me takes one flag, at one place, and overlooks all others. */
static const char *decode_debug(const struct request *request, uint8_t *key_room, struct meta_request *out)
{
    if (request->argc < 2 || request->argv[1].len > MEMCACHE_KEY_MAX)
        return bad_line;
    out->key = request->argv[1];
    if (request->argc > 2 && request->argv[2].len == 1 && request->argv[2].data[0] == 'b' &&
        !decode_key(out, key_room))
        return bad_line;
    return NULL;
}

const char *meta_decode(const struct request *request, enum meta_verb verb, uint8_t key_room[META_KEY_ROOM],
                        struct meta_request *out)
{
    const struct slice *argv = request->argv;
    uint32_t first = verb == META_SET ? 3 : 2; /* flag */
    const char *error;

    memset(out, 0, sizeof *out);
    out->verb = verb;
    out->delta = 1;
    if (verb == META_NOOP)
        return NULL;
    if (verb == META_DEBUG)
        return decode_debug(request, key_room, out);
    if (request->argc < 2)
        return "ERROR";
    if (argv[1].len > MEMCACHE_KEY_MAX || request->argc < first)
        return bad_line;
    if (request->argc > META_WORDS_MAX)
        return verb == META_GET ? "CLIENT_ERROR options flags are too long"
                                : "CLIENT_ERROR options flags too long";
    out->key = argv[1];
    error = decode_flags(argv + first, request->argc - first, key_room, out);
    if (error != NULL)
        return verb == META_DELETE || verb == META_ARITHMETIC ? "CLIENT_ERROR invalid or duplicate flag"
                                                              : error;
    error = mode_error(verb, out->mode);
    if (error == NULL && out->opaque.len > META_OPAQUE_MAX)
        error = "CLIENT_ERROR opaque token too long";
    return error;
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { PAD = 64, SKIP = 65 };

static unsigned base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - (unsigned)'A';
    if (c >= 'a' && c <= 'z')
        return c - (unsigned)'a' + 26;
    if (c >= '0' && c <= '9')
        return c - (unsigned)'0' + 52;
    switch (c) {
    case '+': return 62;
    case '/': return 63;
    case '=': return PAD;
    }
    return SKIP;
}

size_t base64_decode(uint8_t *to, struct slice from)
{
    size_t symbols = 0;
    size_t n = 0;
    unsigned group = 0;
    unsigned held = 0; /* symbols in group */
    unsigned pads = 0;

    for (size_t i = 0; i < from.len; i++)
        symbols += base64_value(from.data[i]) != SKIP;
    if (symbols == 0 || symbols % 4 != 0)
        return 0;
    for (size_t i = 0; i < from.len; i++) {
        unsigned v = base64_value(from.data[i]);

        if (v == SKIP)
            continue;
        pads += v == PAD;
        group = group << 6 | (v & 63); /* a pad counts as zero bits */
        if (++held < 4)
            continue;
        if (pads > 2)
            return 0;
        to[n++] = (uint8_t)(group >> 16);
        if (pads < 2)
            to[n++] = (uint8_t)(group >> 8);
        if (pads < 1)
            to[n++] = (uint8_t)group;
        if (pads != 0)
            break; /* padding ends it, whatever follows */
        group = 0;
        held = 0;
    }
    return n;
}

size_t base64_encode(uint8_t *to, struct slice from)
{
    uint8_t *p = to;
    size_t i = 0;

    for (; i + 3 <= from.len; i += 3) {
        unsigned group = (unsigned)from.data[i] << 16 | (unsigned)from.data[i + 1] << 8 | from.data[i + 2];
        *p++ = (uint8_t)alphabet[group >> 18];
        *p++ = (uint8_t)alphabet[group >> 12 & 63];
        *p++ = (uint8_t)alphabet[group >> 6 & 63];
        *p++ = (uint8_t)alphabet[group & 63];
    }
    if (i < from.len) {
        bool two = from.len - i == 2;
        unsigned group = (unsigned)from.data[i] << 16 | (two ? (unsigned)from.data[i + 1] << 8 : 0);
        *p++ = (uint8_t)alphabet[group >> 18];
        *p++ = (uint8_t)alphabet[group >> 12 & 63];
        *p++ = two ? (uint8_t)alphabet[group >> 6 & 63] : (uint8_t)'=';
        *p++ = '=';
    }
    return (size_t)(p - to);
}

/* ---- replies ---- */

uint8_t *meta_put_code(uint8_t *p, const char *code)
{
    p[0] = (uint8_t)code[0];
    p[1] = (uint8_t)code[1];
    return p + 2;
}

static uint8_t *put_key_text(uint8_t *p, struct slice key, bool binary)
{
    if (binary)
        return p + base64_encode(p, key);
    if (key.len != 0)
        memcpy(p, key.data, key.len);
    return p + key.len;
}

uint8_t *meta_put_me(uint8_t *p, struct slice key, bool binary)
{
    memcpy(p, "ME ", 3);
    return put_key_text(p + 3, key, binary);
}

uint8_t *meta_put_va(uint8_t *p, size_t bytes)
{
    memcpy(p, "VA ", 3);
    p += 3;
    return p + u64_to_text(p, bytes);
}

uint8_t *meta_put_mark(uint8_t *p, char flag)
{
    p[0] = ' ';
    p[1] = (uint8_t)flag;
    return p + 2;
}

uint8_t *meta_put_u64(uint8_t *p, char flag, uint64_t v)
{
    p = meta_put_mark(p, flag);
    return p + u64_to_text(p, v);
}

uint8_t *meta_put_i64(uint8_t *p, char flag, int64_t v)
{
    p = meta_put_mark(p, flag);
    return p + i64_to_text(p, v);
}

uint8_t *meta_put_opaque(uint8_t *p, struct slice opaque)
{
    *p++ = ' ';
    memcpy(p, opaque.data, opaque.len);
    return p + opaque.len;
}

uint8_t *meta_put_key(uint8_t *p, struct slice key, bool binary)
{
    p = put_key_text(meta_put_mark(p, 'k'), key, binary);
    return binary ? meta_put_mark(p, 'b') : p;
}

uint8_t *meta_put_end(uint8_t *p)
{
    p[0] = '\r';
    p[1] = '\n';
    return p + 2;
}
