/* memcache_binary.c - memcached's binary packets.
 *
 * Rules: (1) nothing is believed of a header before its lengths agree; (2) a
 * value is waited for only where the opcode takes one, so that a length of
 * four gigabytes on a get costs nothing; (3) what is refused is never held. */
#include "protocol/memcache_binary.h"

enum { REPLY_MAGIC = 0x81, STORE_EXTRAS = 8 };

/* ---- numbers ---- */

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t binary_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t binary_u64(const uint8_t *p)
{
    return (uint64_t)binary_u32(p) << 32 | binary_u32(p + 4);
}

uint8_t *binary_put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
    return p + 4;
}

uint8_t *binary_put_u64(uint8_t *p, uint64_t v)
{
    p = binary_put_u32(p, (uint32_t)(v >> 32));
    return binary_put_u32(p, (uint32_t)v);
}

/* ---- packets in ---- */

struct binary_header binary_header_decode(const uint8_t *head)
{
    return (struct binary_header){
        .opcode = head[1],
        .key_len = get_u16(head + 2),
        .extras_len = head[4],
        .body_len = binary_u32(head + 8),
        .opaque = binary_u32(head + 12),
        .cas = binary_u64(head + 16),
    };
}

/* The longest value this packet may have. None where the extras are wrong already. */
static size_t value_max_of(const struct binary_header *h, size_t value_max)
{
    switch (h->opcode) {
    case BINARY_SET:
    case BINARY_SETQ:
    case BINARY_ADD:
    case BINARY_ADDQ:
    case BINARY_REPLACE:
    case BINARY_REPLACEQ: return h->extras_len == STORE_EXTRAS ? value_max : 0;
    case BINARY_APPEND:
    case BINARY_APPENDQ:
    case BINARY_PREPEND:
    case BINARY_PREPENDQ: return h->extras_len == 0 ? value_max : 0;
    case BINARY_SASL_AUTH:
    case BINARY_SASL_STEP: return BINARY_AUTH_MAX;
    default: return 0;
    }
}

static enum parse_status more(struct binary_parser *parser, size_t wanted)
{
    parser->wanted = wanted;
    return PARSE_MORE;
}

static enum parse_status swallow(struct binary_parser *parser, size_t len, size_t *consumed)
{
    if (len == 0)
        return more(parser, 1);
    *consumed = len < parser->swallow ? len : parser->swallow;
    parser->swallow -= *consumed;
    return PARSE_NOTHING;
}

static enum parse_status take(struct request *request, const uint8_t *buf, size_t head, size_t key,
                              enum parse_status status)
{
    request->argv[0] = (struct slice){buf, head};
    request->argv[1] = (struct slice){buf + head, key};
    request->argc = key > 0 ? 2 : 1;
    request->data = (struct slice){NULL, 0};
    return status;
}

enum parse_status binary_parse(struct binary_parser *parser, size_t value_max, const uint8_t *buf, size_t len,
                               struct request *request, size_t *consumed)
{
    struct binary_header h;
    size_t head, value;

    *consumed = 0;
    if (parser->swallow != 0)
        return swallow(parser, len, consumed);
    if (len == 0)
        return more(parser, 1); /* which may be enough to see that it is no packet */
    if (buf[0] != BINARY_MAGIC)
        return PARSE_BROKEN;
    if (len < BINARY_HEADER)
        return more(parser, BINARY_HEADER);
    if (request->argv_max < 2) {
        request->argc = 2;
        return PARSE_ARGV_FULL;
    }
    h = binary_header_decode(buf);
    if (!binary_header_fits(&h)) {
        *consumed = BINARY_HEADER;
        return take(request, buf, BINARY_HEADER, 0, PARSE_REFUSED);
    }
    head = BINARY_HEADER + (size_t)h.extras_len;
    if (len < head + h.key_len)
        return more(parser, head + h.key_len);
    value = (size_t)h.body_len - h.extras_len - h.key_len;
    if (value > value_max_of(&h, value_max)) {
        parser->swallow = value;
        *consumed = head + h.key_len;
        return take(request, buf, head, h.key_len, PARSE_REFUSED);
    }
    if (len < BINARY_HEADER + (size_t)h.body_len)
        return more(parser, BINARY_HEADER + (size_t)h.body_len);
    *consumed = BINARY_HEADER + (size_t)h.body_len;
    take(request, buf, head, h.key_len, PARSE_DONE);
    request->data = (struct slice){buf + head + h.key_len, value};
    return PARSE_DONE;
}

/* ---- packets out ---- */

uint8_t *binary_put_header(uint8_t *p, const struct binary_header *request, enum binary_status status,
                           size_t extras_len, size_t key_len, size_t value_len, uint64_t cas)
{
    p[0] = REPLY_MAGIC;
    p[1] = request->opcode;
    p[2] = (uint8_t)(key_len >> 8);
    p[3] = (uint8_t)key_len;
    p[4] = (uint8_t)extras_len;
    p[5] = 0;
    p[6] = (uint8_t)((unsigned)status >> 8);
    p[7] = (uint8_t)status;
    p = binary_put_u32(p + 8, (uint32_t)(extras_len + key_len + value_len));
    p = binary_put_u32(p, request->opaque);
    return binary_put_u64(p, cas);
}

static const char *words_for(enum binary_status status)
{
    switch (status) {
    case BINARY_OK: return "";
    case BINARY_NOT_FOUND: return "Not found";
    case BINARY_EXISTS: return "Data exists for key.";
    case BINARY_TOO_LARGE: return "Too large.";
    case BINARY_INVALID: return "Invalid arguments";
    case BINARY_NOT_STORED: return "Not stored.";
    case BINARY_NOT_A_NUMBER: return "Non-numeric server-side value for incr or decr";
    case BINARY_AUTH_FAILURE: return "Auth failure.";
    case BINARY_UNKNOWN: return "Unknown command";
    case BINARY_NO_MEMORY: return "Out of memory";
    case BINARY_INTERNAL: return "Internal error";
    }
    return "";
}

static uint8_t *put_slice(uint8_t *p, struct slice s)
{
    if (s.len > 0)
        memcpy(p, s.data, s.len);
    return p + s.len;
}

uint8_t *binary_put_error(uint8_t *p, const struct binary_header *request, enum binary_status status)
{
    struct slice words = slice_of(words_for(status));

    return put_slice(binary_put_header(p, request, status, 0, 0, words.len, 0), words);
}

uint8_t *binary_put_stat(uint8_t *p, const struct binary_header *request, struct slice name,
                         struct slice value)
{
    p = binary_put_header(p, request, BINARY_OK, 0, name.len, value.len, 0);
    return put_slice(put_slice(p, name), value);
}
