/* resp.h - RESP2 and RESP3: requests in, replies out.
 *
 * Follows the Redis serialization protocol specification (versions 2 and 3)
 * and, where that leaves room, what redis-server 7.0.15 does: same limits,
 * same error texts, same leniency (the two bytes that end a header or a bulk
 * are skipped, not compared).
 *
 * Pure: no memory is allocated, nothing is kept but struct resp_parser. */
#ifndef CORRAL_RESP_H
#define CORRAL_RESP_H

#include "protocol/request.h"

enum {
    RESP_INLINE_MAX = 64 * 1024,    /* bytes of an inline line, or of one header */
    RESP_ARGS_MAX = 1024 * 1024,    /* words in a request, unless the limits say otherwise */
    RESP_STRANGER_ARGS_MAX = 10,    /* the same before authentication */
    RESP_STRANGER_BULK_MAX = 16384, /* bytes in a word before authentication */
};
#define RESP_BULK_MAX_DEFAULT ((size_t)512 * 1024 * 1024)

/* Shared by many connections; a zero field takes the default above. */
struct resp_limits {
    size_t bulk_max;   /* bytes in one word: proto-max-bulk-len */
    size_t bulk_keep;  /* a longer one, though legal, is not worth holding: PARSE_REFUSED */
    uint32_t args_max; /* words in one request */
    bool stranger;     /* not yet authenticated: the small limits apply */
};

/* All zeroes is a parser ready for its first request. It holds no pointer into
 * the buffer, so the buffer may move between two calls. */
struct resp_parser {
    const char
        *error;     /* set by PARSE_BROKEN; as `-ERR <text>` without the "ERR "; may point into this struct */
    size_t wanted;  /* set by PARSE_MORE: bytes, counted from the start of the request */
    size_t seen;    /* bytes of this request that need no second look */
    uint32_t words; /* announced by "*<n>" */
    uint32_t words_left;
    uint32_t line_seen; /* bytes after `seen` known to hold no line end */
    bool swallowing;    /* the rest of a refused request is being thrown away */
    size_t swallow;     /* bytes of its current word still to come */
    size_t refused;     /* set by PARSE_REFUSED: the length that was too much */
    char error_text[40];
};

/* buf..len is everything not yet consumed, from the first byte of a request.
 * Call again with the same bytes and more of them after PARSE_MORE.
 *
 * PARSE_DONE       argv and argc are set (argc >= 1); the slices point into buf.
 * PARSE_MORE       nothing consumed; no call makes sense before parser->wanted
 *                  bytes are there (calling earlier is harmless and cheap).
 *                  Always more than len. Never more than the current word needs.
 * PARSE_ARGV_FULL  nothing consumed; request->argc says how many slots are
 *                  needed. The bytes are all there: enlarge and call again.
 * PARSE_NOTHING    blank inline line, "*0" or "*-1", or a piece of a refused
 *                  request: skip and go on.
 * PARSE_REFUSED    a word is longer than bulk_keep, and parser->refused says by
 *                  what. argc is 0. Known as soon as the length is announced;
 *                  what comes after is taken piecewise as PARSE_NOTHING, so it
 *                  is never held in memory, and the next request is found.
 * PARSE_BROKEN     reply with parser->error, then close.
 *
 * buf is writable because inline words are unquoted in place. The result never
 * depends on how the bytes were cut into calls, except into how many
 * PARSE_NOTHINGs a refused request falls. The work over all calls is linear in the request: a word is hopped
 * over once when it arrives, and once more when the last one is there. *consumed is 0 unless bytes are spent.
 */
enum parse_status resp_parse(struct resp_parser *parser, const struct resp_limits *limits, uint8_t *buf,
                             size_t len, struct request *request, size_t *consumed);

/* After PARSE_REFUSED: the words in front of the one that is too long, at most
 * `most`. `buf` is where the call began, `len` what it consumed. Returns how many. */
uint32_t resp_words_before(const uint8_t *buf, size_t len, struct slice *words, uint32_t most);

/* Replies. Each writes at p, where the caller guarantees the room given by the
 * macro of the same name, and returns the first free byte. `proto` is 2 or 3. */

#define RESP_SIMPLE_MAX(len) ((size_t)(len) + 3)
uint8_t *resp_put_simple(uint8_t *p, struct slice text); /* +text; no CR or LF inside */

#define RESP_ERROR_MAX(len) ((size_t)(len) + 3)
/* -text; the text begins with its code ("ERR ...", "WRONGTYPE ..."). CR and LF
 * inside become blanks, since what a client sent may be quoted in it. */
uint8_t *resp_put_error(uint8_t *p, struct slice text);

#define RESP_INTEGER_MAX 23
uint8_t *resp_put_integer(uint8_t *p, int64_t v);

#define RESP_HEADER_MAX 23                               /* any "<type><count>\r\n" */
uint8_t *resp_put_bulk_header(uint8_t *p, size_t bytes); /* the caller adds data and \r\n */

#define RESP_BULK_MAX(len) (RESP_HEADER_MAX + (size_t)(len) + 2)
uint8_t *resp_put_bulk(uint8_t *p, struct slice data);

#define RESP_NULL_MAX 5
uint8_t *resp_put_null(uint8_t *p, int proto);       /* $-1 | _ */
uint8_t *resp_put_null_array(uint8_t *p, int proto); /* *-1 | _ */

/* Counts are of entries: a map of n has n keys and n values after it. */
uint8_t *resp_put_array(uint8_t *p, size_t n);
uint8_t *resp_put_map(uint8_t *p, int proto, size_t n);  /* *2n | %n */
uint8_t *resp_put_set(uint8_t *p, int proto, size_t n);  /* *n  | ~n */
uint8_t *resp_put_push(uint8_t *p, int proto, size_t n); /* *n  | >n */

#define RESP_BOOLEAN_MAX 4
uint8_t *resp_put_boolean(uint8_t *p, int proto, bool v); /* :1 | #t */

#define RESP_DOUBLE_MAX 40
/* 17 significant digits, as redis 7.0 prints them; inf, -inf and nan are
 * words. Bulk | ",<text>". Expects the C numeric locale, which no part of this
 * program ever changes. */
uint8_t *resp_put_double(uint8_t *p, int proto, double v);

uint8_t *resp_put_big_number(uint8_t *p, int proto,
                             struct slice digits); /* room: RESP_BULK_MAX; bulk | "(" */

#define RESP_VERBATIM_MAX(len) (RESP_BULK_MAX(len) + 4)
/* `format` is exactly three letters, such as "txt" or "mkd". Bulk | "=". */
uint8_t *resp_put_verbatim(uint8_t *p, int proto, const char *format, struct slice text);

#endif
