/* resp.c - RESP2 and RESP3: requests in, replies out.
 *
 *     *2\r\n  $3\r\nGET\r\n  $5\r\nhello\r\n
 *     ^       ^              ^
 *     |       word           word, and words_left counts them
 *     header
 *
 * Rules: (1) `seen` is the start of the first header not yet hopped over, 0
 * while not even "*<n>\r\n" is complete; (2) a request that came in one piece
 * is walked once and touches no state; (3) one that did not is hopped over as
 * its words arrive, without writing argv (which belongs to the worker and is
 * used by other connections in between), and walked once more when it is whole. */
#include "protocol/resp.h"

#include <math.h>
#include <stdio.h>

enum { LINE_WINDOW = RESP_INLINE_MAX + 1 }; /* a line end must show within so many bytes */

static enum parse_status broken(struct resp_parser *parser, const char *text)
{
    parser->error = text;
    return PARSE_BROKEN;
}

static enum parse_status more(struct resp_parser *parser, size_t wanted)
{
    parser->wanted = wanted;
    return PARSE_MORE;
}

static void start_over(struct resp_parser *parser)
{
    parser->wanted = 0;
    parser->seen = 0;
    parser->words = 0;
    parser->words_left = 0;
    parser->line_seen = 0;
}

/* The offset of `end` at or after pos within the window, or PARSE_MORE, or the
 * error for a line that is too long. */
static enum parse_status find_line_end(struct resp_parser *parser, const uint8_t *buf, size_t len, size_t pos,
                                       int end, const char *too_long, size_t *at)
{
    size_t window = len - pos < LINE_WINDOW ? len - pos : LINE_WINDOW;
    const uint8_t *from = buf + pos + parser->line_seen;
    const uint8_t *found = memchr(from, end, window - parser->line_seen);

    if (found != NULL) {
        *at = (size_t)(found - buf);
        return PARSE_DONE;
    }
    if (window == LINE_WINDOW)
        return broken(parser, too_long);
    parser->line_seen = (uint32_t)window;
    return more(parser, len + 1);
}

/* "<type><number>\r\n" at pos, any length. Moves pos behind it. `number` has
 * only its form checked; the type byte is the caller's to check, but it is
 * checked first, as redis does. */
static enum parse_status read_header(struct resp_parser *parser, const uint8_t *buf, size_t len, size_t *pos,
                                     char type, int64_t *number)
{
    const char *too_long = type == '*' ? "Protocol error: too big mbulk count string"
                                       : "Protocol error: too big bulk count string";
    size_t end;
    enum parse_status status = find_line_end(parser, buf, len, *pos, '\r', too_long, &end);

    if (status != PARSE_DONE)
        return status;
    parser->line_seen = (uint32_t)(end - *pos); /* finds the same \r at once if \n is missing */
    if (len - end < 2)
        return more(parser, end + 2);
    if (buf[*pos] != (uint8_t)type) {
        uint8_t got = buf[*pos];
        snprintf(parser->error_text, sizeof parser->error_text, "Protocol error: expected '%c', got '%c'",
                 type, got == '\r' || got == '\n' || got == '\0' ? ' ' : got);
        return broken(parser, parser->error_text);
    }
    if (!slice_to_i64((struct slice){buf + *pos + 1, end - *pos - 1}, number))
        *number = INT64_MIN; /* not a number */
    parser->line_seen = 0;
    *pos = end + 2;
    return PARSE_DONE;
}

/* "*<n>\r\n": sets words, moves pos. */
static enum parse_status read_word_count(struct resp_parser *parser, const struct resp_limits *limits,
                                         const uint8_t *buf, size_t len, size_t *pos)
{
    uint32_t args_max = limits->args_max != 0 ? limits->args_max : RESP_ARGS_MAX;
    int64_t n;

    if (len >= 4 && (uint8_t)(buf[1] - '0') <= 9 && buf[2] == '\r') {
        n = buf[1] - '0';
        parser->line_seen = 0;
        *pos = 4;
    } else {
        enum parse_status status = read_header(parser, buf, len, pos, '*', &n);
        if (status != PARSE_DONE)
            return status;
        if (n == INT64_MIN)
            return broken(parser, "Protocol error: invalid multibulk length");
    }
    if (n > (int64_t)args_max)
        return broken(parser, "Protocol error: invalid multibulk length");
    if (limits->stranger && n > RESP_STRANGER_ARGS_MAX)
        return broken(parser, "Protocol error: unauthenticated multibulk length");
    parser->words = n > 0 ? (uint32_t)n : 0;
    return PARSE_DONE;
}

/* Hops over `left` words from pos; writes them to argv unless that is NULL.
 * On PARSE_MORE the parser remembers where to go on, on PARSE_REFUSED what is
 * left to swallow from *from on. */
static inline __attribute__((always_inline)) enum parse_status
walk_words(struct resp_parser *parser, const struct resp_limits *limits, const uint8_t *buf, size_t len,
           size_t *from, uint32_t left, struct slice *argv)
{
    size_t bulk_max = limits->bulk_max != 0 ? limits->bulk_max : RESP_BULK_MAX_DEFAULT;
    size_t bulk_max_now =
        limits->stranger && bulk_max > RESP_STRANGER_BULK_MAX ? RESP_STRANGER_BULK_MAX : bulk_max;
    size_t bulk_keep = limits->bulk_keep != 0 ? limits->bulk_keep : bulk_max;
    size_t pos = *from;

    for (; left > 0; left--) {
        const uint8_t *p = buf + pos;
        size_t here = pos; /* of the data, once the header is read */
        size_t n;

        if (len - pos >= 6 && p[0] == '$' && (uint8_t)(p[1] - '0') <= 9 && p[2] == '\r') {
            n = (size_t)(p[1] - '0');
            parser->line_seen = 0;
            here += 4;
        } else if (len - pos >= 6 && p[0] == '$' && (uint8_t)(p[1] - '1') <= 8 &&
                   (uint8_t)(p[2] - '0') <= 9 && p[3] == '\r') {
            n = (size_t)(p[1] - '0') * 10 + (size_t)(p[2] - '0');
            parser->line_seen = 0;
            here += 5;
        } else {
            int64_t number = 0;
            enum parse_status status = PARSE_MORE;

            if (len == pos)
                more(parser, len + 1);
            else
                status = read_header(parser, buf, len, &here, '$', &number);
            if (status == PARSE_MORE) {
                parser->seen = pos;
                parser->words_left = left;
            }
            if (status != PARSE_DONE)
                return status;
            if (number < 0)
                return broken(parser, "Protocol error: invalid bulk length");
            n = (size_t)number;
        }
        if (n > bulk_max_now)
            return broken(parser, n > bulk_max ? "Protocol error: invalid bulk length"
                                               : "Protocol error: unauthenticated bulk length");
        if (n > bulk_keep) {
            parser->swallow = n + 2;
            parser->refused = n;
            parser->words_left = left - 1;
            *from = here;
            return PARSE_REFUSED;
        }
        if (len - here < n + 2) {
            parser->seen = pos;
            parser->words_left = left;
            return more(parser, here + n + 2);
        }
        if (argv != NULL)
            *argv++ = (struct slice){buf + here, n};
        pos = here + n + 2;
    }
    *from = pos;
    return PARSE_DONE;
}

static enum parse_status whole(struct request *request, uint32_t words, size_t end, size_t *consumed)
{
    request->argc = words;
    request->data = (struct slice){NULL, 0};
    *consumed = end;
    return PARSE_DONE;
}

/* Everything up to `end` is spent; what is left of the request will be. */
static enum parse_status refused(struct resp_parser *parser, struct request *request, size_t end,
                                 size_t *consumed)
{
    uint32_t left = parser->words_left;

    start_over(parser);
    parser->swallowing = true;
    parser->words_left = left;
    request->argc = 0;
    *consumed = end;
    return PARSE_REFUSED;
}

/* Past "$<n>" or "*<n>" and its line end, which a parser has accepted already. */
static const uint8_t *past_header(const uint8_t *p, const uint8_t *end, size_t *n)
{
    const uint8_t *eol = memchr(p, '\n', (size_t)(end - p));

    *n = 0;
    for (p++; eol != NULL && p < eol && *p >= '0' && *p <= '9'; p++)
        *n = *n * 10 + (size_t)(*p - '0');
    return eol != NULL ? eol + 1 : end;
}

uint32_t resp_words_before(const uint8_t *buf, size_t len, struct slice *words, uint32_t most)
{
    const uint8_t *end = buf + len, *p;
    uint32_t count = 0;
    size_t n;

    for (p = past_header(buf, end, &n); count < most && p < end; count++) {
        p = past_header(p, end, &n);
        if ((size_t)(end - p) < n + 2)
            break; /* the one that is too long: only its length has come */
        words[count] = (struct slice){p, n};
        p += n + 2;
    }
    return count;
}

/* A piece of a refused request: bytes of a word, or the header of the next. */
static enum parse_status swallow(struct resp_parser *parser, const struct resp_limits *limits,
                                 const uint8_t *buf, size_t len, size_t *consumed)
{
    size_t bulk_max = limits->bulk_max != 0 ? limits->bulk_max : RESP_BULK_MAX_DEFAULT;
    int64_t n;

    if (len == 0)
        return more(parser, 1);
    if (parser->swallow > 0) {
        *consumed = len < parser->swallow ? len : parser->swallow;
        parser->swallow -= *consumed;
    } else {
        enum parse_status status = read_header(parser, buf, len, consumed, '$', &n);

        if (status != PARSE_DONE)
            return status;
        if (n < 0 || (size_t)n > bulk_max) {
            *consumed = 0;
            return broken(parser, "Protocol error: invalid bulk length");
        }
        parser->swallow = (size_t)n + 2;
        parser->words_left--;
    }
    parser->wanted = 0;
    parser->swallowing = parser->swallow > 0 || parser->words_left > 0;
    return PARSE_NOTHING;
}

/* The request did not fit into one call: go on hopping, and when the last word
 * is there collect them all. */
static enum parse_status resume(struct resp_parser *parser, const struct resp_limits *limits,
                                const uint8_t *buf, size_t len, struct request *request, size_t *consumed)
{
    size_t end = parser->seen;
    enum parse_status status = walk_words(parser, limits, buf, len, &end, parser->words_left, NULL);

    if (status == PARSE_REFUSED)
        return refused(parser, request, end, consumed);
    if (status != PARSE_DONE)
        return status;
    parser->seen = end;
    parser->words_left = 0;
    if (parser->words > request->argv_max) {
        request->argc = parser->words;
        return PARSE_ARGV_FULL;
    }
    end = 0;
    status = read_word_count(parser, limits, buf, len, &end);
    if (status == PARSE_DONE)
        status = walk_words(parser, limits, buf, len, &end, parser->words, request->argv);
    if (status == PARSE_REFUSED) /* the limits were lowered meanwhile */
        return refused(parser, request, end, consumed);
    if (status != PARSE_DONE)
        return status; /* the same */
    whole(request, parser->words, end, consumed);
    start_over(parser);
    return PARSE_DONE;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One word of an inline line, from a byte that is no space. With `to`, its
 * unquoted bytes are written there (never ahead of what is read). Returns the
 * first byte after it, NULL when the quotes do not match; *size is its length.
 *
 * Inside "..." \n \r \t \b \a and \xHH mean what they mean in C and any other
 * escaped byte stands for itself; inside '...' only \' is special. Quotes may
 * open in mid-word; after the closing one a space or the end must follow. */
static const uint8_t *inline_word(const uint8_t *p, const uint8_t *end, uint8_t *to, size_t *size)
{
    size_t n = 0;
    uint8_t quote = 0;

    for (;; p++) {
        uint8_t c;

        if (p == end) {
            if (quote != 0)
                return NULL;
            break;
        }
        c = *p;
        if (quote == 0) {
            if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
                break;
            if (c == '"' || c == '\'') {
                quote = c;
                continue;
            }
        } else if (c == quote) {
            p++;
            if (p != end && !is_space(*p))
                return NULL;
            break;
        } else if (quote == '\'' && c == '\\' && end - p > 1 && p[1] == '\'') {
            c = *++p;
        } else if (quote == '"' && c == '\\' && end - p > 3 && p[1] == 'x' && hex_value(p[2]) >= 0 &&
                   hex_value(p[3]) >= 0) {
            c = (uint8_t)(hex_value(p[2]) * 16 + hex_value(p[3]));
            p += 3;
        } else if (quote == '"' && c == '\\' && end - p > 1) {
            c = *++p;
            switch (c) {
            case 'n': c = '\n'; break;
            case 'r': c = '\r'; break;
            case 't': c = '\t'; break;
            case 'b': c = '\b'; break;
            case 'a': c = '\a'; break;
            }
        }
        if (to != NULL)
            to[n] = c;
        n++;
    }
    *size = n;
    return p;
}

/* A line of words, as a person types it. Counted before anything is unquoted:
 * unquoting rewrites the line, so it must happen only once. */
static enum parse_status parse_inline(struct resp_parser *parser, uint8_t *buf, size_t len,
                                      struct request *request, size_t *consumed)
{
    const uint8_t *end;
    const uint8_t *p;
    size_t at;
    size_t size;
    uint32_t words = 0;
    enum parse_status status =
        find_line_end(parser, buf, len, 0, '\n', "Protocol error: too big inline request", &at);

    if (status != PARSE_DONE)
        return status;
    end = buf + at;
    for (p = buf;;) {
        while (p != end && is_space(*p))
            p++;
        if (p == end)
            break;
        p = inline_word(p, end, NULL, &size);
        if (p == NULL)
            return broken(parser, "Protocol error: unbalanced quotes in request");
        words++;
    }
    if (words > request->argv_max) {
        parser->line_seen = (uint32_t)at;
        request->argc = words;
        return PARSE_ARGV_FULL;
    }
    start_over(parser);
    if (words == 0) {
        *consumed = at + 1;
        return PARSE_NOTHING;
    }
    words = 0;
    for (p = buf;;) {
        uint8_t *to;

        while (p != end && is_space(*p))
            p++;
        if (p == end)
            break;
        to = buf + (p - buf);
        p = inline_word(p, end, to, &size);
        request->argv[words++] = (struct slice){to, size};
    }
    return whole(request, words, at + 1, consumed);
}

enum parse_status resp_parse(struct resp_parser *parser, const struct resp_limits *limits, uint8_t *buf,
                             size_t len, struct request *request, size_t *consumed)
{
    size_t pos = 0;
    enum parse_status status;

    *consumed = 0;
    if (len < parser->wanted)
        return PARSE_MORE;
    if (__builtin_expect(parser->swallowing, 0))
        return swallow(parser, limits, buf, len, consumed);
    if (parser->seen != 0)
        return resume(parser, limits, buf, len, request, consumed);
    if (len == 0)
        return more(parser, 1);
    if (buf[0] != '*')
        return parse_inline(parser, buf, len, request, consumed);

    status = read_word_count(parser, limits, buf, len, &pos);
    if (status != PARSE_DONE)
        return status;
    if (parser->words == 0) {
        start_over(parser);
        *consumed = pos;
        return PARSE_NOTHING;
    }
    if (parser->words > request->argv_max) {
        parser->seen = pos;
        parser->words_left = parser->words;
        return resume(parser, limits, buf, len, request, consumed);
    }
    status = walk_words(parser, limits, buf, len, &pos, parser->words, request->argv);
    if (status == PARSE_REFUSED)
        return refused(parser, request, pos, consumed);
    if (status != PARSE_DONE)
        return status;
    parser->wanted = 0;
    return whole(request, parser->words, pos, consumed);
}

static inline uint8_t *put_eol(uint8_t *p)
{
    p[0] = '\r';
    p[1] = '\n';
    return p + 2;
}

static inline uint8_t *put_bytes(uint8_t *p, const void *from, size_t len)
{
    if (len != 0)
        memcpy(p, from, len);
    return p + len;
}

static inline uint8_t *put_header(uint8_t *p, char type, uint64_t n)
{
    *p++ = (uint8_t)type;
    if (n < 10)
        *p++ = (uint8_t)('0' + n);
    else
        p += u64_to_text(p, n);
    return put_eol(p);
}

uint8_t *resp_put_simple(uint8_t *p, struct slice text)
{
    *p++ = '+';
    return put_eol(put_bytes(p, text.data, text.len));
}

uint8_t *resp_put_error(uint8_t *p, struct slice text)
{
    *p++ = '-';
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        *p++ = c == '\r' || c == '\n' ? ' ' : c;
    }
    return put_eol(p);
}

uint8_t *resp_put_integer(uint8_t *p, int64_t v)
{
    if (v >= 0)
        return put_header(p, ':', (uint64_t)v);
    *p++ = ':';
    p += i64_to_text(p, v);
    return put_eol(p);
}

uint8_t *resp_put_bulk_header(uint8_t *p, size_t bytes)
{
    return put_header(p, '$', bytes);
}

uint8_t *resp_put_bulk(uint8_t *p, struct slice data)
{
    p = put_header(p, '$', data.len);
    return put_eol(put_bytes(p, data.data, data.len));
}

uint8_t *resp_put_null(uint8_t *p, int proto)
{
    return proto >= 3 ? put_bytes(p, "_\r\n", 3) : put_bytes(p, "$-1\r\n", 5);
}

uint8_t *resp_put_null_array(uint8_t *p, int proto)
{
    return proto >= 3 ? put_bytes(p, "_\r\n", 3) : put_bytes(p, "*-1\r\n", 5);
}

uint8_t *resp_put_array(uint8_t *p, size_t n)
{
    return put_header(p, '*', n);
}

uint8_t *resp_put_map(uint8_t *p, int proto, size_t n)
{
    return proto >= 3 ? put_header(p, '%', n) : put_header(p, '*', 2 * n);
}

uint8_t *resp_put_set(uint8_t *p, int proto, size_t n)
{
    return put_header(p, proto >= 3 ? '~' : '*', n);
}

uint8_t *resp_put_push(uint8_t *p, int proto, size_t n)
{
    return put_header(p, proto >= 3 ? '>' : '*', n);
}

uint8_t *resp_put_boolean(uint8_t *p, int proto, bool v)
{
    if (proto >= 3)
        return put_bytes(p, v ? "#t\r\n" : "#f\r\n", 4);
    return put_bytes(p, v ? ":1\r\n" : ":0\r\n", 4);
}

uint8_t *resp_put_double(uint8_t *p, int proto, double v)
{
    char text[32];
    size_t len;

    if (isnan(v))
        len = (size_t)snprintf(text, sizeof text, "nan"); /* never "-nan" */
    else
        len = (size_t)snprintf(text, sizeof text, "%.17g", v);
    if (proto < 3)
        return resp_put_bulk(p, (struct slice){(const uint8_t *)text, len});
    *p++ = ',';
    return put_eol(put_bytes(p, text, len));
}

uint8_t *resp_put_big_number(uint8_t *p, int proto, struct slice digits)
{
    if (proto < 3)
        return resp_put_bulk(p, digits);
    *p++ = '(';
    return put_eol(put_bytes(p, digits.data, digits.len));
}

uint8_t *resp_put_verbatim(uint8_t *p, int proto, const char *format, struct slice text)
{
    if (proto < 3)
        return resp_put_bulk(p, text);
    p = put_header(p, '=', text.len + 4);
    p = put_bytes(p, format, 3);
    *p++ = ':';
    return put_eol(put_bytes(p, text.data, text.len));
}
