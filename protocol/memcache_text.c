/* memcache_text.c - memcached's text dialects: cuts lines into words and picks
 * up the block of data that follows a storage line.
 *
 * Rules: (1) `seen` never passes a \n, so a line is searched once however it
 * arrives; (2) words are cut only when the line is whole; (3) a line that is
 * refused before its length is believed leaves its data in the stream, to be
 * read as commands, as memcached does; after that the data is swallowed. */
#include "protocol/memcache_text.h"
#include "protocol/memcache_meta.h"

static const char bad_line[] = "CLIENT_ERROR bad command line format";

/* ---- words ---- */

/* First blank in p..end, or end. Bytes up to `readable` may be looked at. */
static inline const uint8_t *find_blank(const uint8_t *p, const uint8_t *end, const uint8_t *readable)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    /* Eight bytes at a time: a zero byte of x marks a blank. The subtraction
     * may borrow into bytes above the first zero, never below it. */
    const uint64_t ones = 0x0101010101010101u;

    while (p < end && readable - p >= 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        x ^= ones * ' ';
        x = (x - ones) & ~x & (ones * 0x80);
        if (x != 0) {
            p += __builtin_ctzll(x) >> 3;
            return p < end ? p : end;
        }
        p += 8;
    }
    if (p > end)
        return end;
#endif
    while (p < end && *p != ' ')
        p++;
    return p;
}

/* Counts all words; stores those that fit. */
static inline uint32_t cut_words(const uint8_t *p, const uint8_t *end, const uint8_t *readable,
                                 struct slice *argv, uint32_t max)
{
    uint32_t n = 0;

    for (;;) {
        const uint8_t *start;

        while (p < end && *p == ' ')
            p++;
        if (p == end)
            return n;
        start = p;
        p = find_blank(p, end, readable);
        if (n < max)
            argv[n] = (struct slice){start, (size_t)(p - start)};
        n++;
    }
}

/* ---- numbers ---- */

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The digits of a token, without sign and surrounding space. What follows the
 * first space is ignored, as strtol's callers in memcached do. */
static bool number_of(struct slice s, bool *negative, uint64_t *magnitude)
{
    size_t from = 0;
    size_t to;

    *negative = false;
    if (s.len == 1 && (uint8_t)(s.data[0] - '0') <= 9) { /* "0", nearly always */
        *magnitude = (uint64_t)(s.data[0] - '0');
        return true;
    }
    if (slice_to_u64(s, magnitude))
        return true;
    while (from < s.len && is_space(s.data[from]))
        from++;
    if (from < s.len && (s.data[from] == '-' || s.data[from] == '+'))
        *negative = s.data[from++] == '-';
    for (to = from; to < s.len && !is_space(s.data[to]);)
        to++;
    return slice_to_u64((struct slice){s.data + from, to - from}, magnitude);
}

bool memcache_i64(struct slice s, int64_t *out)
{
    bool negative;
    uint64_t v;

    if (!number_of(s, &negative, &v) || v > (uint64_t)INT64_MAX)
        return false;
    *out = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

bool memcache_u64(struct slice s, uint64_t *out)
{
    bool negative;

    return number_of(s, &negative, out) && (!negative || *out == 0);
}

bool memcache_u32(struct slice s, uint32_t *out)
{
    uint64_t v;

    if (!memcache_u64(s, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

/* ---- storage lines ---- */

enum data_kind { NO_DATA, DATA, DATA_CAS, DATA_LEASE, DATA_META };

/* Does a block of data follow a line with this verb? */
static inline enum data_kind data_kind_of(struct slice verb)
{
    const uint8_t *v = verb.data;

    switch (verb.len) {
    case 2: return memcmp(v, "ms", 2) == 0 ? DATA_META : NO_DATA;
    case 3:
        if (memcmp(v, "set", 3) == 0 || memcmp(v, "add", 3) == 0)
            return DATA;
        return memcmp(v, "cas", 3) == 0 ? DATA_CAS : NO_DATA;
    case 6: return memcmp(v, "append", 6) == 0 ? DATA : NO_DATA;
    case 7: return memcmp(v, "replace", 7) == 0 || memcmp(v, "prepend", 7) == 0 ? DATA : NO_DATA;
    case 9: return memcmp(v, "lease-set", 9) == 0 ? DATA_LEASE : NO_DATA;
    }
    return NO_DATA;
}

static bool bytes_of(struct slice s, uint32_t *out)
{
    int64_t v;

    if (!memcache_i64(s, &v) || v < 0 || v > (int64_t)MEMCACHE_VALUE_MAX_EVER)
        return false;
    *out = (uint32_t)v;
    return true;
}

const char *memcache_store_decode(const struct request *request, bool with_cas, struct memcache_store *out)
{
    const struct slice *argv = request->argv;
    uint32_t words = with_cas ? 6 : 5;

    out->cas = out->token = 0;
    if (request->argc != words && request->argc != words + 1)
        return "ERROR";
    if (argv[1].len > MEMCACHE_KEY_MAX || !memcache_u32(argv[2], &out->flags) ||
        !memcache_i64(argv[3], &out->exptime) || !bytes_of(argv[4], &out->bytes) ||
        (with_cas && !memcache_u64(argv[5], &out->cas)))
        return bad_line;
    return NULL;
}

const char *memcache_lease_decode(const struct request *request, struct memcache_store *out)
{
    const struct slice *argv = request->argv;

    out->cas = 0;
    if (request->argc != 6 && request->argc != 7)
        return "ERROR";
    if (argv[1].len > MEMCACHE_KEY_MAX || !memcache_u64(argv[2], &out->token) ||
        !memcache_u32(argv[3], &out->flags) || !memcache_i64(argv[4], &out->exptime) ||
        !bytes_of(argv[5], &out->bytes))
        return bad_line;
    return NULL;
}

/* Only what stands before the flags; they are checked when the data is there. */
static const char *meta_store_bytes(const struct request *request, uint32_t *bytes)
{
    if (request->argc < 2)
        return "ERROR";
    if (request->argv[1].len > MEMCACHE_KEY_MAX || request->argc == 2)
        return bad_line;
    if (request->argc > META_WORDS_MAX)
        return "CLIENT_ERROR options flags too long";
    return bytes_of(request->argv[2], bytes) ? NULL : bad_line;
}

/* memcached looks at the flags of `ms` before it looks at the data. This parser
 * leaves them to the executor, which decodes them anyway; so when the data is
 * bad, see first whether the flags were bad too. */
static const char *meta_flags_error(const struct request *request)
{
    uint8_t key_room[META_KEY_ROOM];
    struct meta_request meta;

    return meta_decode(request, META_SET, key_room, &meta);
}

/* ---- the parser ---- */

static enum parse_status more(struct memcache_parser *parser, size_t wanted)
{
    parser->wanted = wanted;
    return PARSE_MORE;
}

static enum parse_status refuse(struct memcache_parser *parser, const char *error)
{
    parser->error = error;
    parser->wanted = 0;
    parser->seen = 0;
    return PARSE_REFUSED;
}

static enum parse_status swallow(struct memcache_parser *parser, size_t len, size_t *consumed)
{
    if (len == 0)
        return more(parser, 1);
    *consumed = len < parser->swallow ? len : parser->swallow;
    parser->swallow -= *consumed;
    parser->wanted = 0;
    return PARSE_NOTHING;
}

/* Lines may be long only where they list keys. Looks at the first
 * MEMCACHE_LINE_MAX bytes at most, which are there. */
static bool may_be_long(const uint8_t *line)
{
    static const char *const verbs[] = {"get ", "gets ", "gat ", "gats ", "lease-get "};
    size_t i = 0;

    while (i <= 100 && line[i] == ' ')
        i++;
    if (i > 100)
        return false;
    for (size_t v = 0; v < sizeof verbs / sizeof *verbs; v++)
        if (memcmp(line + i, verbs[v], strlen(verbs[v])) == 0)
            return true;
    return false;
}

static bool line_too_long(const uint8_t *line, size_t len)
{
    return len > MEMCACHE_LINE_MAX && (len > MEMCACHE_KEY_LIST_MAX || !may_be_long(line));
}

static enum parse_status parse_data(struct memcache_parser *parser, enum data_kind kind, size_t value_max,
                                    const uint8_t *buf, size_t len, struct request *request, size_t line,
                                    size_t *consumed)
{
    struct memcache_store store;
    const char *error;
    uint32_t bytes = 0;
    bool noreply = kind != DATA_META && memcache_noreply(request);

    parser->too_large = false;
    parser->silent = false;
    if (kind == DATA_META) {
        error = meta_store_bytes(request, &bytes);
    } else {
        error = kind == DATA_LEASE ? memcache_lease_decode(request, &store)
                                   : memcache_store_decode(request, kind == DATA_CAS, &store);
        bytes = store.bytes;
        if (error != NULL)
            parser->silent = noreply && error == bad_line; /* "ERROR" comes before noreply is looked at */
    }
    if (error != NULL) {
        *consumed = line;
        return refuse(parser, error);
    }
    if (bytes > value_max) {
        error = kind == DATA_META ? meta_flags_error(request) : NULL;
        parser->too_large = error == NULL;
        parser->silent = noreply;
        parser->swallow = (size_t)bytes + 2;
        *consumed = line;
        return refuse(parser, error != NULL ? error : "SERVER_ERROR object too large for cache");
    }
    if (len - line < (size_t)bytes + 2)
        return more(parser, line + bytes + 2);
    *consumed = line + bytes + 2;
    if (buf[line + bytes] != '\r' || buf[line + bytes + 1] != '\n') {
        error = kind == DATA_META ? meta_flags_error(request) : NULL;
        parser->silent = noreply;
        return refuse(parser, error != NULL ? error : "CLIENT_ERROR bad data chunk");
    }
    request->data = (struct slice){buf + line, bytes};
    parser->wanted = 0;
    parser->seen = 0;
    return PARSE_DONE;
}

enum parse_status memcache_parse(struct memcache_parser *parser, size_t value_max, const uint8_t *buf,
                                 size_t len, struct request *request, size_t *consumed)
{
    const uint8_t *newline;
    const uint8_t *end;
    enum data_kind kind;

    *consumed = 0;
    if (parser->swallow != 0)
        return swallow(parser, len, consumed);
    if (len < parser->wanted)
        return PARSE_MORE;
    newline = len > parser->seen ? memchr(buf + parser->seen, '\n', len - parser->seen) : NULL;
    parser->seen = newline != NULL ? (size_t)(newline - buf) : len;
    if (line_too_long(buf, parser->seen)) {
        parser->error = "";
        return PARSE_BROKEN;
    }
    if (newline == NULL)
        return more(parser, len + 1);

    end = newline > buf && newline[-1] == '\r' ? newline - 1 : newline;
    request->argc = cut_words(buf, end, buf + len, request->argv, request->argv_max);
    request->data = (struct slice){NULL, 0};
    if (request->argc > request->argv_max)
        return PARSE_ARGV_FULL;
    if (request->argc == 0) {
        *consumed = (size_t)(newline - buf) + 1;
        parser->silent = false;
        parser->too_large = false;
        return refuse(parser, "ERROR");
    }
    kind = data_kind_of(request->argv[0]);
    if (kind != NO_DATA)
        return parse_data(parser, kind, value_max, buf, len, request, (size_t)(newline - buf) + 1, consumed);
    *consumed = (size_t)(newline - buf) + 1;
    parser->wanted = 0;
    parser->seen = 0;
    return PARSE_DONE;
}

/* ---- replies ---- */

static inline uint8_t *put_bytes(uint8_t *p, const void *from, size_t len)
{
    if (len != 0)
        memcpy(p, from, len);
    return p + len;
}

uint8_t *memcache_put_line(uint8_t *p, struct slice text)
{
    p = put_bytes(p, text.data, text.len);
    return put_bytes(p, "\r\n", 2);
}

static inline uint8_t *put_value_head(uint8_t *p, struct slice key, uint32_t flags, size_t bytes)
{
    p = put_bytes(p, "VALUE ", 6);
    p = put_bytes(p, key.data, key.len);
    *p++ = ' ';
    p += u64_to_text(p, flags);
    *p++ = ' ';
    return p + u64_to_text(p, bytes);
}

uint8_t *memcache_put_value(uint8_t *p, struct slice key, uint32_t flags, size_t bytes)
{
    return put_bytes(put_value_head(p, key, flags, bytes), "\r\n", 2);
}

uint8_t *memcache_put_value_cas(uint8_t *p, struct slice key, uint32_t flags, size_t bytes, uint64_t cas)
{
    p = put_value_head(p, key, flags, bytes);
    *p++ = ' ';
    p += u64_to_text(p, cas);
    return put_bytes(p, "\r\n", 2);
}

uint8_t *memcache_put_lvalue(uint8_t *p, struct slice key, uint64_t token, uint32_t flags, size_t bytes)
{
    p = put_bytes(p, "LVALUE ", 7);
    p = put_bytes(p, key.data, key.len);
    *p++ = ' ';
    p += u64_to_text(p, token);
    *p++ = ' ';
    p += u64_to_text(p, flags);
    *p++ = ' ';
    p += u64_to_text(p, bytes);
    return put_bytes(p, "\r\n", 2);
}

uint8_t *memcache_put_number(uint8_t *p, uint64_t v)
{
    p += u64_to_text(p, v);
    return put_bytes(p, "\r\n", 2);
}
